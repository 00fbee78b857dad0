"""Class names: what the project calls them, and what the user wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from cytodiffusion.datasets.layouts import Record
from cytodiffusion.datasets.names import rename, spelling
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import load_taxonomy

BLOOD = load_taxonomy("peripheral-blood")


def renamed(labels: list[str | None], renaming: dict[str, str]) -> list[str | None]:
    records = [Record(Path(f"{n}.png"), label, "train") for n, label in enumerate(labels)]
    return [r.label for r in rename(records, BLOOD, renaming)[0]]


def test_known_classes_written_differently() -> None:
    assert renamed(["ig", "Neutrophils", "RED_CELL", "crystal", None], {}) == [
        *("immature granulocyte", "neutrophil", "red cell", "crystal", None),
    ]


def test_the_users_names_come_first() -> None:
    own = {"IG": "immature", "crystal": "", "dirt": "unlabelled"}
    assert renamed(["ig", "crystal", "dirt", "ig"], own) == ["immature", None, "immature"]


def test_what_was_renamed_is_said() -> None:
    records = [Record(Path("a"), "ig", "train"), Record(Path("b"), "x", "train")]
    notes = rename(records, BLOOD, {"x": ""})[1]
    assert notes == ["class names: ig is immature granulocyte, x is left out"]


def test_a_class_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match="no class 'y' to be renamed; there are x"):
        renamed(["x"], {"y": "z"})


def test_labels_get_the_spelling_of_the_names_they_mean() -> None:
    spelt = spelling(("Neutrophil", "ig", "crystal"), [BLOOD])
    said = ["neutrophils", "immature granulocytes", "IG", "CRYSTAL", "stranger"]
    assert [spelt(x) for x in said] == ["Neutrophil", "ig", "ig", "crystal", "stranger"]


def test_a_name_as_it_is_comes_before_what_a_taxonomy_makes_of_it() -> None:
    spelt = spelling(("artefact", "artifact"), [BLOOD])
    assert [spelt(x) for x in ("Artefact", "Artifact")] == ["artefact", "artifact"]
    bare = spelling(("neutrophil",), [])
    assert [bare(x) for x in ("NEUTROPHIL", "neutrophils")] == ["neutrophil", "neutrophils"]
