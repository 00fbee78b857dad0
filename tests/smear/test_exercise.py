"""A smear as an exercise: the truth is hidden, the answer scored with the range of chance."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cytodiffusion.errors import InputError
from cytodiffusion.settings import make_settings
from cytodiffusion.smear import Smear, SmearSettings, synthetic_smear
from cytodiffusion.smear.exercise import (
    BY_CELL,
    BY_CLASS,
    HIDDEN,
    read_truth,
    score_cells,
    score_counts,
    score_file,
)
from cytodiffusion.smear.files import save_smear
from cytodiffusion.smear.presets import PRESETS


@pytest.fixture(scope="module")
def smear() -> Smear:
    return synthetic_smear(
        None,
        SmearSettings(
            height=512, width=512, n_white=10, n_red=5, n_platelets=2, n_artefacts=0
        ).model_copy(update={"differential": {"neutrophil": 6, "lymphocyte": 3, "monocyte": 1}}),
    )


@pytest.fixture(scope="module")
def folder(smear, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("exercise") / "smear"
    save_smear(smear, made, exercise=True, png=True)
    return made


def test_presets_fill_in_what_is_not_given() -> None:
    normal = SmearSettings(preset="normal-adult", n_white=100)
    assert normal.differential == {
        "neutrophil": 60, "lymphocyte": 30, "monocyte": 6, "eosinophil": 3, "basophil": 1
    }  # fmt: skip
    assert SmearSettings(preset="thrombocytopenia").n_platelets == 1
    assert SmearSettings(preset="thrombocytopenia", n_platelets=5).n_platelets == 5
    own = SmearSettings(preset="normal-adult", differential={"basophil": 1.0})
    assert own.differential == {"basophil": 1.0}
    with pytest.raises(InputError, match="preset cannot be 'flu'"):
        make_settings(SmearSettings, {"preset": "flu"})
    assert all(sum(blood.differential.values()) == 100 for blood in PRESETS.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_drawn(preset: str) -> None:
    drawn = synthetic_smear(
        None,
        make_settings(
            SmearSettings,
            {"preset": preset, "n_white": 20, "n_red": 0, "height": 700, "width": 900},
        ),
    )
    counts = drawn.cells["class"].value_counts()
    blood = PRESETS[preset]
    assert counts["platelet"] == blood.n_platelets
    for name, share in blood.differential.items():
        assert abs(counts.get(name, 0) - 20 * share / 100) < 1


def test_nothing_in_the_folder_gives_the_classes_away(folder: Path) -> None:
    for path in folder.iterdir():
        content = path.read_bytes()
        if path.name != BY_CLASS:  # which offers all classes there are
            assert b"neutrophil" not in content, path.name
        assert b"differential" not in content, path.name
        assert b'"seed"' not in content, path.name
    assert json.loads((folder / "provenance.json").read_text())["synthetic"] is True


def test_the_hidden_truth_is_the_whole_truth(smear: Smear, folder: Path) -> None:
    found = read_truth(folder)
    assert found["class"].tolist() == smear.cells["class"].tolist()
    assert len(pd.read_csv(folder / BY_CELL)) == 10


def test_a_count_is_laid_beside_the_truth(smear: Smear) -> None:
    found = score_counts(smear.cells, {"segmented neutrophil": 4, "Lymphocyte": 6, "basophil": 0})
    rows = {row.name: row for row in found.rows}
    assert list(rows) == ["neutrophil", "lymphocyte", "monocyte"]
    assert (rows["neutrophil"].truth, rows["neutrophil"].answer) == (6, 4)
    assert rows["neutrophil"].difference == pytest.approx(-0.2)
    # Clopper & Pearson: 4 of 10 may be 12 to 74 %
    assert rows["neutrophil"].interval == pytest.approx((0.1216, 0.7376), abs=1e-4)
    assert rows["neutrophil"].within
    assert found.wrong is None
    assert "taken for another class" in " ".join(found.remarks())
    far = score_counts(smear.cells, {"basophil": 10})
    assert not {row.name: row for row in far.rows}["basophil"].within
    assert "outside the range of neutrophil" in " ".join(far.remarks())
    more = " ".join(score_counts(smear.cells, {"neutrophil": 7}).remarks())
    assert "7 cells were counted; the field has 10 white cells" in more


def test_classes_of_cells_are_scored_one_by_one(smear: Smear) -> None:
    white = smear.cells[smear.cells["class"].isin(["neutrophil", "lymphocyte", "monocyte"])]
    given = dict(zip(white["label"], white["class"], strict=True))
    assert score_cells(smear.cells, given).wrong == ()
    first = next(label for label, name in given.items() if name == "neutrophil")
    given[first] = "eosinophil"
    assert score_cells(smear.cells, given).wrong == ((first, "neutrophil", "eosinophil"),)
    with pytest.raises(InputError, match="No white cell"):
        score_cells(smear.cells, {10_000: "neutrophil"})


def test_files_of_answers(folder: Path, tmp_path: Path) -> None:
    counts = pd.read_csv(folder / BY_CLASS)
    counts.loc[counts["class"] == "neutrophil", "count"] = 10
    counts.to_csv(tmp_path / "counts.csv", index=False, sep=";")
    assert score_file(folder, tmp_path / "counts.csv").answered == 10
    cells = pd.read_csv(folder / BY_CELL).assign(**{"class": "neutrophil"})
    cells.to_csv(tmp_path / "cells.csv", index=False)
    found = score_file(folder, tmp_path / "cells.csv")
    assert found.wrong is not None
    assert len(found.wrong) == 4
    assert found.table()["truth"].sum() == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class,count\nneutrophil,many\n", "'many' is no number of cells"),
        ("class,count\nneutrophil,-3\n", "'-3' is no number"),
        ("class,count\nneutrofil,3\n", "did you mean neutrophil"),
        ("class,count\nred cell,3\n", "white cells only"),
        ("class,count\nneutrophil,0\n", "No cell has been counted"),
        ("label,class\nfirst,neutrophil\n", "'first' is no number of a cell"),
        ("label,class\n1,neutrophil\n1,monocyte\n", "two classes"),
        ("a,b\n1,2\n", "needs the columns"),
        ("", "cannot be read"),
    ],
)
def test_answers_that_make_no_sense_are_one_sentence(folder, tmp_path, text, said) -> None:
    (tmp_path / "answer.csv").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        score_file(folder, tmp_path / "answer.csv")
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_exercise_are_said(folder, tmp_path) -> None:
    with pytest.raises(InputError, match="holds no exercise"):
        read_truth(tmp_path)
    (tmp_path / HIDDEN).write_text("not the truth")
    with pytest.raises(InputError, match="damaged"):
        read_truth(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        score_file(folder, tmp_path / "none.csv")
