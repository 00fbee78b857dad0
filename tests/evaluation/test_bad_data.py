"""Test data that a new user may come with: a sentence for each oddity, and figures of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import read_report


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_discs(tmp_path / "data", {"test": 2})


#: What is said of discs: those that were drawn alike are near copies of each other.
OF_DISCS = ("was trained on", "of the same image")


def metrics_of(model: Path, data: Path, **more: Any) -> dict[str, Any]:
    settings = EvaluateSettings(
        model=str(model), data=data, output=data.parent / "report",
        pixel_size_um=PIXEL_SIZE_UM, resamples=10, trial_cells=0, **more,
    )  # fmt: skip
    found: dict[str, Any] = read_report(evaluate(settings)).metrics
    found["warnings"] = [w for w in found["warnings"] if not any(x in w for x in OF_DISCS)]
    return found


def test_labels_that_the_model_lacks_are_left_out(disc_model: Path, data: Path) -> None:
    (data / "test" / "red").rename(data / "test" / "violet")
    metrics = metrics_of(disc_model, data)
    assert metrics["warnings"] == [
        "The model does not know the class violet (2 cells): left out.",
        "The data have no cells of red: the model may still predict these classes, "
        "but no mean includes them.",
    ]
    assert metrics["n"] == 4
    assert set(metrics["per_class"]) == {"blue", "green"}


def test_only_labels_that_the_model_lacks_are_refused(disc_model: Path, data: Path) -> None:
    for old, new in {"red": "cat", "blue": "dog", "green": "bird"}.items():
        (data / "test" / old).rename(data / "test" / new)
    with pytest.raises(InputError, match=r"None of the labels \(bird, cat, dog\) is a class"):
        metrics_of(disc_model, data)


def test_one_class_with_one_image_is_measured(disc_model: Path, data: Path) -> None:
    shutil.rmtree(data / "test" / "blue")
    shutil.rmtree(data / "test" / "green")
    (data / "test" / "red" / "001.png").unlink()
    metrics = metrics_of(disc_model, data)
    assert metrics["n"] == 1
    assert metrics["balanced_accuracy"] in (0, 1)
    assert metrics["warnings"] == [
        "The data have no cells of blue, green: the model may still predict these classes, "
        "but no mean includes them."
    ]


def test_an_empty_class_is_left_out_and_said(disc_model: Path, data: Path) -> None:
    (data / "test" / "violet").mkdir()
    metrics = metrics_of(disc_model, data)
    assert metrics["n"] == 6
    assert metrics["warnings"] == [f"{data}: the folder test/violet holds no images."]


@pytest.mark.parametrize("name", ["violet", "red"])
def test_an_empty_class_of_flat_folders_too(disc_model: Path, data: Path, name: str) -> None:
    flat = data / "test"
    shutil.rmtree(flat / "red")
    (flat / name).mkdir()
    metrics = metrics_of(disc_model, flat, split="all")
    assert metrics["n"] == 4
    assert metrics["warnings"] == [
        f"{flat}: the folder {name} holds no images.",
        "The data have no cells of red: the model may still predict these classes, "
        "but no mean includes them.",
    ]


def test_an_empty_class_of_another_laboratory_is_said(disc_model: Path, data: Path) -> None:
    other = write_discs(data.parent / "other", {"test": 2}) / "test"
    (other / "violet").mkdir()
    found = metrics_of(disc_model, data, shift={"b": other}, shift_pixel_size_um=PIXEL_SIZE_UM)
    assert found["warnings"] == [f"{other}: the folder violet holds no images."]


def test_a_stray_table_beside_class_folders_hides_no_image(disc_model: Path, data: Path) -> None:
    flat = data / "test"
    (flat / "checked.csv").write_text("image,label\nred/000.png,red\nblue/000.png,blue\n")
    assert metrics_of(disc_model, flat, split="all")["n"] == 6
    taken = metrics_of(disc_model, flat, split="all", layout="cytodata")
    assert taken["n"] == 2
    assert taken["warnings"][0] == f"{flat}: 4 images that no table names (of 6) were left out."


def test_unreadable_images_and_nan_are_named_and_counted(disc_model: Path, data: Path) -> None:
    image = cv2.imread(str(data / "test" / "red" / "000.png")).astype(np.float32) / 255
    image[:] = np.nan
    tifffile.imwrite(data / "test" / "red" / "nan.tif", image, photometric="rgb")
    (data / "test" / "blue" / "000.png").write_bytes(b"no image")
    metrics = metrics_of(disc_model, data)
    assert metrics["n"] == 5
    assert len(metrics["warnings"]) == 1
    said = metrics["warnings"][0]
    assert said.startswith("data: 2 images could not be read and are left out: ")
    assert "blue/000.png is not an image" in said
    assert "red/nan.tif" in said
    assert "not finite" in said


def test_nothing_readable_is_refused(disc_model: Path, data: Path) -> None:
    for path in data.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"None of the 6 images could be read: .*000\.png"):
        metrics_of(disc_model, data)


def test_no_labels_are_refused(disc_model: Path, data: Path, tmp_path: Path) -> None:
    rows = [f"{path},,test" for path in sorted(data.rglob("*.png"))]
    (tmp_path / "cells.csv").write_text("\n".join(["path,class,split", *rows]) + "\n")
    with pytest.raises(InputError, match="has no labelled images in its test split"):
        metrics_of(disc_model, tmp_path / "cells.csv")
