"""Labels for a second look: both the model and similar cells must contradict them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import NAMES, FakeModel, made_up, predictions, square_labels, write_image

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import Cancelled
from cytodiffusion.study import Study
from cytodiffusion.study.suspects import suspect_labels, write_suspects
from cytodiffusion.traits import Trait

#: Cells of each class, in turn, and what the model says of them.
EACH, SURE = 12, 0.97


def add(
    study: Study,
    path: Path,
    looks: np.ndarray,
    says: np.ndarray,
    seed: int = 0,
    version: str = "1",
    **more: object,
) -> None:
    """Add an image of cells that look like some classes and that the model calls others."""
    labels = square_labels(len(looks))
    image = study.put_image(write_image(path, labels, seed), labels, 0.5, "file")
    posterior = np.full((len(looks), len(NAMES)), (1 - SURE) / 2)
    posterior[np.arange(len(looks)), says] = SURE
    rng = np.random.default_rng(seed)
    embedding = np.eye(16)[looks] * 9 + rng.normal(size=(len(looks), 16))
    result = replace(made_up(posterior), embedding=embedding.astype(np.float32), **more)
    frame = predictions(labels)
    frame["predicted"] = [NAMES[k] for k in says]
    study.put_predictions(image.name, frame, FakeModel(version), ClassifySettings(), result)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with Study.create(tmp_path / "study") as study:
        yield study


CLASSES = np.arange(3 * EACH) % 3


def test_slips_are_listed_and_right_labels_are_not(study: Study, tmp_path: Path) -> None:
    add(study, tmp_path / "a.png", CLASSES, CLASSES)
    for cell, k in enumerate(CLASSES, 1):
        study.annotate(("a.png", cell), NAMES[(k + 1) % 3] if cell in (4, 5) else NAMES[k], "Ada")
    found = suspect_labels(study)
    assert sorted(one.label for one in found) == [4, 5]
    one = next(one for one in found if one.label == 4)
    assert (one.human, one.predicted, one.similar) == (NAMES[1], NAMES[0], NAMES[0])
    assert one.observer == "Ada"
    assert one.probability == pytest.approx((1 - SURE) / 2)
    assert 0 < one.score < 1
    assert [o.score for o in found] == sorted((o.score for o in found), reverse=True)
    study.annotate(("a.png", 4), NAMES[0], "Ada")
    assert [one.label for one in suspect_labels(study)] == [5]


def test_a_model_that_gets_a_whole_class_wrong_is_no_witness(study: Study, tmp_path: Path) -> None:
    says = np.where(CLASSES == 1, 2, CLASSES)
    add(study, tmp_path / "a.png", CLASSES, says)
    for cell, k in enumerate(CLASSES, 1):
        study.annotate(("a.png", cell), NAMES[k], "Ada")
    assert suspect_labels(study) == []


def test_similar_cells_alone_are_no_witness(study: Study, tmp_path: Path) -> None:
    looks = CLASSES.copy()
    looks[3] = 2  # looks like another class, but the model sees what it is
    add(study, tmp_path / "a.png", looks, CLASSES)
    for cell, k in enumerate(CLASSES, 1):
        study.annotate(("a.png", cell), NAMES[k], "Ada")
    assert suspect_labels(study) == []


def test_unlabelled_cells_of_which_the_model_is_sure_are_compared_with(
    study: Study, tmp_path: Path
) -> None:
    add(study, tmp_path / "a.png", CLASSES, CLASSES)
    study.annotate(("a.png", 1), NAMES[1], "Ada")
    assert [one.label for one in suspect_labels(study)] == [1]


def test_what_cannot_be_judged_is_left_alone(study: Study, tmp_path: Path) -> None:
    # the first of its class, a class that the model does not know, and people who disagree
    looks, says = np.array([0, 0, 0, 0, 0]), np.array([0, 0, 0, 0, 0])
    add(study, tmp_path / "a.png", looks, says)
    study.add_class("blast")
    study.annotate(("a.png", 1), NAMES[1], "Ada")
    study.annotate(("a.png", 2), "blast", "Ada")
    study.annotate(("a.png", 3), NAMES[1], "Ada")
    study.annotate(("a.png", 3), NAMES[2], "Bob")
    assert suspect_labels(study) == []
    study.annotate(("a.png", 4), NAMES[1], "Ada")  # two of a class, and the others between them
    assert all(one.label in (1, 4) for one in suspect_labels(study))


def test_finer_classes_are_their_class_to_the_model(study: Study, tmp_path: Path) -> None:
    finer = (Trait("neutrophil", ("band", "segmented"), parent="neutrophil"),)
    chances = np.full((len(CLASSES), 2), 0.5, np.float32)
    add(study, tmp_path / "a.png", CLASSES, CLASSES, traits=finer, trait_probabilities=chances)
    study.add_class("band")
    study.annotate(("a.png", 3), "band", "Ada")  # a neutrophil
    study.annotate(("a.png", 1), "band", "Ada")  # a lymphocyte
    assert [one.label for one in suspect_labels(study)] == [1]


def test_renamed_classes_and_models_of_other_versions(study: Study, tmp_path: Path) -> None:
    add(study, tmp_path / "a.png", CLASSES, CLASSES)
    add(study, tmp_path / "b.png", CLASSES, CLASSES, seed=1, version="2")
    study.change_class(NAMES[0], new_name="small lymphocyte")
    study.annotate(("a.png", 1), "small lymphocyte", "Ada")
    study.annotate(("a.png", 2), "small lymphocyte", "Ada")
    study.annotate(("b.png", 1), NAMES[1], "Ada")
    found = {(one.image, one.label): one for one in suspect_labels(study)}
    assert sorted(found) == [("a.png", 2), ("b.png", 1)]
    assert found["b.png", 1].similar == "small lymphocyte"


def test_without_an_embedding_nothing_is_suspect(study: Study, tmp_path: Path) -> None:
    labels = square_labels(len(CLASSES))
    image = study.put_image(write_image(tmp_path / "a.png", labels), labels, 0.5, "file")
    result = replace(made_up(np.eye(3)[CLASSES] * 0.9 + 0.1 / 3), embedding=None)
    study.put_predictions(image.name, predictions(labels), FakeModel(), ClassifySettings(), result)
    study.annotate(("a.png", 1), NAMES[1], "Ada")
    assert suspect_labels(study) == []


def test_it_can_be_stopped_and_written(study: Study, tmp_path: Path) -> None:
    add(study, tmp_path / "a.png", CLASSES, CLASSES)
    study.annotate(("a.png", 1), NAMES[1], 'Ada "the first", Lovelace')

    def stop(share: float, what: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        suspect_labels(study, progress=stop)
    path = write_suspects(tmp_path / "suspects.csv", suspect_labels(study))
    frame = pd.read_csv(path)
    assert list(frame.columns) == [
        *("image", "label", "human", "observer", "predicted", "probability", "similar", "score"),
    ]
    assert frame["observer"].tolist() == ['Ada "the first", Lovelace']
    assert len(pd.read_csv(write_suspects(tmp_path / "none.csv", []))) == 0
