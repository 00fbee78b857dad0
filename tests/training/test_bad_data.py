"""Data that a new user may come with: every oddity is said in a sentence, none ends in a crash."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from toys import toy_settings, write_discs

from cytodiffusion.datasets import find_records, read_dataset
from cytodiffusion.datasets.splits import split_by_name
from cytodiffusion.errors import InputError
from cytodiffusion.training import sets as training_sets
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.sets import load_sets


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return write_discs(tmp_path / "data", {"train": 3, "val": 2, "test": 2})


def said_of(
    data: Path, caplog: pytest.LogCaptureFixture
) -> tuple[list[str], list[str], dict[str, CellSet]]:
    """Read the sets and return the warnings about them, too."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        names, sets = load_sets(toy_settings(data, data.parent / "model"))
    return [said for said in caplog.messages if "same image" not in said], names, sets


def refusal(data: Path) -> str:
    with pytest.raises(InputError) as error:
        load_sets(toy_settings(data, data.parent / "model"))
    return str(error.value)


def test_good_data_have_no_oddities(discs: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert said_of(discs, caplog)[0] == []


def test_an_empty_class_is_refused_or_said(discs: Path) -> None:
    (discs / "val" / "violet").mkdir()
    assert any("val/violet holds no images" in note for note in read_dataset(discs).notes)
    (discs / "train" / "violet").mkdir()
    assert refusal(discs) == f"{discs}/train/violet holds no images; fill it or remove it."


def test_one_class_is_refused(discs: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("blue", "green"):
            shutil.rmtree(discs / split / name)
    assert refusal(discs) == "Training needs at least two classes of images; found: red."


def test_a_class_with_one_image_is_said(discs: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("001.png", "002.png"):
        (discs / "train" / "red" / name).unlink()
    said, names, sets = said_of(discs, caplog)
    assert said == [
        "There is only one training image of red: a model learns that image, not the class."
    ]
    assert (sets["train"].labels == names.index("red")).sum() == 1


def test_classes_of_one_image_each_cannot_validate(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 1})
    training = (f"{n}.png" for n in range(99) if split_by_name(f"{n}.png") == "train")
    for name in ("blue", "green", "red"):
        (data / "train" / name / "000.png").rename(data / "train" / name / next(training))
    assert refusal(data) == f"{data} has no images in its val split; every class needs some there."


def test_unequal_sets_of_classes_are_said(discs: Path, caplog: pytest.LogCaptureFixture) -> None:
    (discs / "val" / "red").rename(discs / "val" / "violet")
    shutil.rmtree(discs / "test" / "blue")
    said, names, sets = said_of(discs, caplog)
    assert said == [
        "The val split has classes that training has not: violet (2 images), left out.",
        "There is no image of red in the val split: uncertainty is not calibrated for it.",
        "There is no image of blue in the test split: nothing is measured of it.",
    ]
    assert names == ["blue", "green", "red"]
    assert len(sets["val"]) == 4


def test_unreadable_images_are_named_skipped_and_counted(
    discs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (discs / "train" / "red" / "000.png").write_bytes(b"no image")
    (discs / "val" / "blue" / "001.png").write_bytes(b"")
    said, _, sets = said_of(discs, caplog)
    assert said[0] == "2 of 21 images could not be read and are left out."
    assert len(said) == 3
    assert "train/red/000.png" in said[1]
    assert "val/blue/001.png is an empty file" in said[2]
    assert [len(s) for s in sets.values()] == [8, 5, 6]
    monkeypatch.setattr(training_sets, "NAMED", 1)
    assert said_of(discs, caplog)[0][1:] == [said[1], "skipped: and 1 more"]


def test_images_with_nan_are_unreadable(discs: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = np.full((48, 48, 3), 0.9, np.float32)
    image[:] = np.nan
    tifffile.imwrite(discs / "train" / "red" / "nan.tif", image, photometric="rgb")
    said, _, sets = said_of(discs, caplog)
    assert said[0].startswith("1 of 22 images")
    assert "nan.tif" in said[1]
    assert "not finite" in said[1]
    assert len(sets["train"]) == 9


def test_images_without_class_folders(discs: Path) -> None:
    with pytest.raises(InputError, match=r"red holds 3 images, but no folders of classes"):
        find_records(discs / "train" / "red")
    (discs / "train" / "red" / "000.png").rename(discs / "train" / "loose.png")
    assert any("1 images that lie beside" in note for note in read_dataset(discs).notes)


def test_a_table_with_other_columns_names_them(tmp_path: Path) -> None:
    (tmp_path / "cells.csv").write_text("name,kind\na.png,red\n")
    with pytest.raises(InputError, match="needs the columns path and class; it has name, kind"):
        find_records(tmp_path / "cells.csv")


def test_a_wrong_taxonomy_is_told_before_the_work(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no taxonomy 'none-such'"):
        load_sets(toy_settings(discs, tmp_path / "model", taxonomy="none-such"))
