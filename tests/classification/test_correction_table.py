"""Tables of corrections are read as people write them, and what cannot be placed is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from cytodiffusion.classification.correction_table import (
    CorrectionTable,
    from_mapping,
    lost_sentence,
    read_corrections,
)
from cytodiffusion.classification.corrections import HumanLabel
from cytodiffusion.errors import InputError

NAMES = ("neutrophil", "lymphocyte")


def read(folder: Path, text: str, encoding: str = "utf-8") -> CorrectionTable:
    path = folder / "said.csv"
    path.write_bytes(text.encode(encoding))
    return read_corrections(path)


def test_labels_and_classes_in_any_spelling(tmp_path: Path) -> None:
    table = read(tmp_path, "Label;Class;Observer\r\n7;Neutrophils;ada\r\n9.0;blast;\r\n8;;ada\r\n")
    placed, lost = table.place_labels([5, 7, 9], NAMES)
    assert placed == [HumanLabel(1, "neutrophil", "ada"), HumanLabel(2, "blast")]
    assert not lost


def test_an_exported_table_is_one(tmp_path: Path) -> None:
    text = "\ufefflabel,y,predicted,human,observer\n3,1.5,neutrophil,lymphocyte|neutrophil,a|b\n"
    placed, _ = read(tmp_path, text).place_labels([3], NAMES)
    assert {label.name for label in placed} == set(NAMES)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    table = read(tmp_path, "label,class\n1,monocyte\n400,monocyte\nx,monocyte\n")
    placed, lost = table.place_labels([1, 2], NAMES)
    assert len(placed) == 1
    assert lost_sentence(lost) == "2 corrections are of no cell that is there: 400, x."
    assert lost_sentence(lost[:1]) == "1 correction is of no cell that is there: 400."
    assert lost_sentence([]) is None
    assert lost_sentence(lost * 4, "among the images") == (
        "8 corrections are of no cell that is there among the images: 400, x, 400, x, 400 and "
        "3 more."
    )


def test_images_are_known_by_what_people_call_them(tmp_path: Path) -> None:
    table = read(
        tmp_path, "image,label,class\nfield 1,1,monocyte\nD:\\data\\b\\field 2.png,2,monocyte\n"
    )
    names = ["a/field 1.png", "b/field 2.png", "c/field 2.png"]
    assert [row.cell for row in table.of_image(names[0], names).rows] == ["1"]
    assert [row.cell for row in table.of_image(names[1], names).rows] == ["2"]
    assert not table.of_image(names[2], names).rows
    assert not table.lost(names)
    assert [row.image for row in table.lost(names[1:])] == ["field 1"]


def test_paths_of_images(tmp_path: Path) -> None:
    table = read(tmp_path, "path,class\na/1.png,monocyte\n2.png,neutrophil\n3.png,neutrophil\n")
    paths = [tmp_path / name for name in ("a/1.png", "b/1.png", "b/2.png", "c/3.png", "d/3.png")]
    placed, lost = table.place_paths(paths, NAMES)
    assert [label.row for label in placed] == [0, 2]
    assert [row.cell for row in lost] == ["3.png"]  # there are two of that name


def test_a_mapping_is_a_table() -> None:
    placed, _ = from_mapping({4: "monocyte", 5: ""}).place_labels([4, 5], NAMES)
    assert placed == [HumanLabel(0, "monocyte")]
    assert from_mapping({"a.png": "monocyte"}).by_path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "are empty"),
        ("label,kind\n1,monocyte\n", "need a column label or path, and a column class"),
        ("class\nmonocyte\n", "need a column label or path"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_corrections(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="UTF-8"):
        read(tmp_path, "label,class\n1,\u00e4\n", "latin-1")


def test_labels_and_paths_are_not_mixed_up(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column path"):
        read(tmp_path, "label,class\n1,monocyte\n").place_paths(["1.png"], NAMES)
    with pytest.raises(InputError, match="column label"):
        read(tmp_path, "path,class\n1.png,monocyte\n").of_image("a", ["a"])
    with pytest.raises(InputError, match="needs the column image"):
        read(tmp_path, "label,class\n1,monocyte\n").of_image("a", ["a", "b"])
