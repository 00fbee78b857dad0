"""Class names: what the project calls them, and what the user wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from cytodiffusion.datasets.names import read_renaming, rename
from cytodiffusion.datasets.records import Record
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


def test_renaming_is_read_from_words_and_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"A": "b"}')
    (tmp_path / "a.csv").write_text("class,new\nC,d\n")
    items = [str(tmp_path / "a.json"), str(tmp_path / "a.csv"), "E = f", "G="]
    assert read_renaming(items) == {"A": "b", "C": "d", "E": "f", "G": ""}


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "not JSON"), ("[]", "not a JSON object"), ('{"a": 1}', "not a JSON object")],
)
def test_a_wrong_file_of_names_is_told(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=said):
        read_renaming([str(tmp_path / "a.json")])


def test_wrong_words_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither NAME=NEW nor"):
        read_renaming(["neutrophil"])
    with pytest.raises(InputError, match="both 'b' and 'c'"):
        read_renaming(["a=b", "a=c"])
    (tmp_path / "a.csv").write_text("class\nC\n")
    with pytest.raises(InputError, match="two columns"):
        read_renaming([str(tmp_path / "a.csv")])
