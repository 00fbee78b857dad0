"""Observers of a study: who agrees with whom, and which cells need a talk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score
from studies import NAMES, fill

from cytodiffusion.errors import InputError
from cytodiffusion.study import Study
from cytodiffusion.study.agreement import answers_of, observer_agreement, write_shared_cells
from cytodiffusion.study.check import study_info

Make = Callable[..., Study]


def label(study: Study, observer: str, classes: dict[int, str]) -> None:
    for cell, name in classes.items():
        study.annotate(("a.png", cell), name, observer)


@pytest.fixture
def study(make: Make) -> Study:
    """Ada, Bob and Cem, who agree on 1 and 4, of whom two agree on 2, and none on 3."""
    study = make()
    label(study, "Ada", {1: "monocyte", 2: "monocyte", 3: "lymphocyte", 4: "neutrophil"})
    label(study, "Bob", {1: "monocyte", 2: "neutrophil", 3: "monocyte", 4: "neutrophil"})
    label(study, "Cem", {1: "monocyte", 2: "monocyte", 3: "neutrophil", 5: "lymphocyte"})
    return study


def test_kappas_and_the_cells_that_need_a_talk(study: Study) -> None:
    found = observer_agreement(study)
    assert found.observers == {"Ada": 4, "Bob": 4, "Cem": 4}
    assert [cell.label for cell in found.cells] == [3, 2, 1, 4]
    assert [cell.label for cell in found.disputed] == [3, 2]
    assert [cell.consensus for cell in found.cells] == ["", "monocyte", "monocyte", "neutrophil"]
    assert found.disputed[0].classes == dict(
        zip(("Ada", "Bob", "Cem"), ("lymphocyte", "monocyte", "neutrophil"), strict=True)
    )
    kappas = {(a, b): one for a, b, one in found.pairs}
    assert list(kappas) == [("Ada", "Bob"), ("Ada", "Cem"), ("Bob", "Cem")]
    first = kappas["Ada", "Bob"]
    assert first.cells == 4
    assert first.kappa == pytest.approx(
        cohen_kappa_score(["m", "m", "l", "n"], ["m", "n", "m", "n"])
    )
    assert found.together is not None
    assert found.together.share == pytest.approx(np.mean([1, 1 / 3, 0, 1]))
    assert list(found.classes) == NAMES
    assert found.classes["monocyte"].cells == 3
    said = found.sentences
    assert said[0] == (
        "Of 4 cells with several labels, 2 are disputed; 1 of these has no majority, so that the "
        "model's class counts."
    )
    assert said[1].startswith("Ada and Bob agree in 50% (")
    assert "Fleiss' kappa" in said[-1]


def test_a_majority_counts_and_a_draw_does_not(study: Study) -> None:
    frame = study.cells().set_index("label")
    assert frame.loc[2, "human"] == "monocyte|neutrophil"
    assert frame.loc[2, "observer"] == "Ada|Bob|Cem"
    assert (frame.loc[2, "effective"], frame.loc[2, "effective_source"]) == ("monocyte", "human")
    assert (frame.loc[3, "effective"], frame.loc[3, "effective_source"]) == (
        frame.loc[3, "predicted"],
        "disputed",
    )
    assert study_info(study)["disputed"] == 1
    study.annotate(("a.png", 2), None, "Cem")  # one against one
    assert study.cells().set_index("label").loc[2, "effective_source"] == "disputed"


def test_merged_classes_are_one_opinion(study: Study) -> None:
    study.merge_classes("neutrophil", "monocyte")
    found = observer_agreement(study)
    assert [cell.label for cell in found.disputed] == [3]
    assert found.disputed[0].consensus == "monocyte"
    assert list(found.classes) == ["lymphocyte", "monocyte"]


def test_one_observer_or_none_in_common_is_told(make: Make) -> None:
    study = make()
    assert observer_agreement(study).sentences == [
        "Nothing can be said of agreement yet: it takes two observers."
    ]
    label(study, "Ada", {1: "monocyte"})
    label(study, "Bob", {2: "monocyte"})
    found = observer_agreement(study)
    assert found.sentences == [
        "Nothing can be said of agreement yet: no cell was labelled by two of them."
    ]
    assert (found.together, found.pairs, found.cells) == (None, (), ())
    label(study, "Bob", {1: "monocyte"})
    said = observer_agreement(study).sentences
    assert said[0].startswith("Of 1 cell with several labels, 0 are disputed")
    assert said[1].endswith("all gave one class only, so that kappa cannot be told.")


def test_a_table_of_what_each_says(study: Study, tmp_path: Path) -> None:
    study.annotate(("a.png", 6), "monocyte", "image")  # as a column is called
    study.annotate(("a.png", 6), "lymphocyte", "Ada")
    path = write_shared_cells(tmp_path / "shared.csv", observer_agreement(study).cells)
    frame = pd.read_csv(path, keep_default_na=False)
    assert frame["label"].tolist() == [3, 6, 2, 1, 4]
    assert frame["class by image"].tolist() == ["", "monocyte", "", "", ""]
    assert frame["consensus"].tolist() == ["", "", "monocyte", "monocyte", "neutrophil"]


def test_answers_about_images_of_one_cell(make: Make, tmp_path: Path) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    with pytest.raises(InputError, match="Nobody labelled an image of one cell in the study"):
        answers_of(study.folder)
    name = fill(study, tmp_path / "one" / "b.png", cells=1, seed=3)
    with study.database.transaction() as connection:  # as `study add --cells` keeps it
        connection.execute("UPDATE images SET labels = NULL WHERE name = ?", (name,))
    study.annotate(("b.png", 1), "monocyte", "Ada")
    study.annotate(("b.png", 1), "lymphocyte", "Bob")
    for path in (study.folder, study.folder / "study.db"):
        found = answers_of(path)
        assert found is not None
        assert found.values.tolist() == [
            [str(tmp_path / "one" / "b.png"), "Ada", "monocyte"],
            [str(tmp_path / "one" / "b.png"), "Bob", "lymphocyte"],
        ]
    assert answers_of(tmp_path / "answers.csv") is None
    assert answers_of(tmp_path) is None
    assert answers_of(None) is None
