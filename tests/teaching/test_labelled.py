"""What there is to learn from in a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from teachable import add_classified, annotate, truth_of

from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.study import Study
from cytodiffusion.teaching import TeachSettings, survey
from cytodiffusion.teaching.labelled import check_labelled


def test_a_class_that_the_model_does_not_know_is_new(study: Study, model: ModelBundle) -> None:
    labelled = survey(study, model)

    assert labelled.new_classes == ("blast",)
    assert labelled.class_names == (*model.class_names, "blast")
    assert len(labelled) == 90
    counts = labelled.learnt
    assert sum(counts.values()) + sum(labelled.tried.values()) == 90
    assert 0.1 < labelled.held_back.mean() < 0.3


def test_held_back_cells_never_move(study: Study, model: ModelBundle, tmp_path: Path) -> None:
    before = survey(study, model)
    rest = [cell for cell in study.cells().index if cell not in set(before.cells)]
    annotate(study, rest, ["monocyte"] * len(rest), "Bob")
    after = survey(study, model)
    same = np.isin(after.cells, before.cells)
    assert np.array_equal(after.held_back[same], before.held_back)

    with Study.create(tmp_path / "elsewhere") as other:  # the same file in another study
        cells = add_classified(other, tmp_path / "copy" / "b.png", model, truth_of(120, 40))
        annotate(other, cells, truth_of(120, 40))
        assert np.array_equal(survey(other, model).keys, after.keys)


def test_more_is_held_back_of_the_same(study: Study, model: ModelBundle) -> None:
    few = survey(study, model, TeachSettings(held_back=0.1))
    many = survey(study, model, TeachSettings(held_back=0.4))

    assert few.held_back.sum() < many.held_back.sum()
    assert not (few.held_back & ~many.held_back).any()
    assert not survey(study, model, TeachSettings(held_back=0)).held_back.any()


def test_renamed_classes_are_the_models_own(study: Study, model: ModelBundle) -> None:
    study.change_class("neutrophil", new_name="Neutrophiler")

    assert survey(study, model).new_classes == ("blast",)
    assert "neutrophil" in survey(study, model).learnt


def test_merged_classes_are_learnt_as_one(study: Study, model: ModelBundle) -> None:
    study.merge_classes("blast", "monocyte")

    labelled = survey(study, model)
    assert not labelled.new_classes
    assert len(labelled) == 90


def test_disputed_cells_are_left_out(study: Study, model: ModelBundle) -> None:
    cells = list(study.cells().index[:5])
    annotate(study, cells, ["artefact"] * 5, "Bob")

    labelled = survey(study, model)
    assert labelled.disputed == 5
    assert not np.isin(labelled.cells, cells).any()
    assert "5 cells are left out: people gave different classes." in labelled.notes


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ([], "No cell of the study has a class from a person yet"),
        (["monocyte", "neutrophil"], "There are 2 cells to learn from, and at least 3"),
        (["odd", "odd"], "The new class odd has 2 cells to learn from and is left out"),
    ],
)
def test_too_little_is_said_in_a_sentence(
    empty: Study, model: ModelBundle, classes: list[str], sentence: str
) -> None:
    if classes:
        annotate(empty, list(empty.cells().index[: len(classes)]), classes)

    with pytest.raises(InputError, match=sentence):
        check_labelled(survey(empty, model, TeachSettings(held_back=0)))


def test_people_who_agree_on_nothing(empty: Study, model: ModelBundle) -> None:
    cells = list(empty.cells().index[:4])
    annotate(empty, cells, ["monocyte"] * 4)
    annotate(empty, cells, ["neutrophil"] * 4, "Bob")

    with pytest.raises(InputError, match="People disagree about all 4 labelled cells"):
        check_labelled(survey(empty, model))


def test_one_class_and_uneven_classes_are_told(empty: Study, model: ModelBundle) -> None:
    cells = list(empty.cells().index)
    annotate(empty, cells[:40], ["monocyte"] * 40)
    assert "All cells to learn from are of the class monocyte" in survey(empty, model).notes[0]

    annotate(empty, cells[40:42], ["neutrophil"] * 2)
    labelled = survey(empty, model, TeachSettings(held_back=0))
    assert "The classes are uneven: 40 cells of monocyte, 2 of neutrophil." in labelled.notes


def test_a_class_that_was_deleted_is_no_class(study: Study, model: ModelBundle) -> None:
    study.add_class("never given")
    study.delete_class("never given")

    assert "never given" not in survey(study, model).class_names
