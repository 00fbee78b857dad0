"""Test images that a model was trained on are warned of, with the files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from cytodiffusion.datasets import find_records
from cytodiffusion.datasets.fingerprints import fingerprints
from cytodiffusion.datasets.seen import TrainingImages
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.seen_before import warn_of_overlap
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import read_report
from cytodiffusion.progress import silent
from datasets.trees import write_tree
from toys import PIXEL_SIZE_UM


@dataclass
class Model:
    training_images: TrainingImages | None = None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    names = [f"{s}/{c}/{n}.png" for s in ("train", "val", "test") for c in "xy" for n in range(3)]
    return write_tree(tmp_path / "data", names)


@pytest.fixture
def model(data: Path) -> Model:
    paths = sorted((data / "train").rglob("*.png"))
    return Model(TrainingImages.of(fingerprints(paths)))


def warnings_of(model: Model, data: Path, split: str = "test", shift: Path | None = None) -> str:
    settings = EvaluateSettings(model="m", data=data, output=data / "r", split=split)
    context = Context(settings, silent, ("x", "y"))
    context.everything = find_records(data)
    context.records = [r for r in context.everything if split in (r.split, "all")]
    context.shift = {"elsewhere": find_records(shift)} if shift else {}
    warn_of_overlap(model, context)
    return "\n".join(context.warnings)


def test_a_clean_test_set_is_nothing_to_speak_of(data: Path, model: Model) -> None:
    assert warnings_of(model, data) == ""
    assert warnings_of(Model(), data) == ""


def test_training_images_in_the_test_set_are_named(data: Path, model: Model) -> None:
    shutil.copy(data / "train" / "x" / "0.png", data / "test" / "x" / "same.png")
    image = cv2.imread(str(data / "train" / "y" / "1.png"))
    assert image is not None
    cv2.imwrite(str(data / "test" / "y" / "turned.jpg"), image[::-1])
    said = warnings_of(model, data)
    assert "trained on 2 of the test images (1 of them changed a little)" in said
    assert f"{data}/test/x/same.png" in said
    assert f"{data}/test/y/turned.jpg" in said


def test_the_training_set_as_a_whole_is_warned_of_unless_asked_for(
    data: Path, model: Model
) -> None:
    assert "trained on 6 of the test images" in warnings_of(model, data, "all")
    assert warnings_of(model, data, "train") == ""


def test_other_laboratories_are_looked_through(data: Path, model: Model, tmp_path: Path) -> None:
    for name in "xy":
        (tmp_path / "other" / name).mkdir(parents=True)
        for n in range(2):
            shutil.copy(data / "train" / name / f"{n}.png", tmp_path / "other" / name)
    said = warnings_of(model, data, shift=tmp_path / "other")
    assert said.startswith("elsewhere: The model was trained on 4 of the test images")


def test_a_model_without_a_record_is_helped_by_the_split(data: Path) -> None:
    shutil.copy(data / "train" / "x" / "0.png", data / "test" / "x" / "same.png")
    said = warnings_of(Model(), data)
    assert said.startswith("1 of the images are also in the training split")
    assert f"{data}/test/x/same.png" in said


def test_the_report_says_it(disc_model: Path, tmp_path: Path) -> None:
    test = tmp_path / "data" / "test"
    for name in ("blue", "green", "red"):
        shutil.copytree(disc_model.parent / "data" / "train" / name, test / name)
    settings = EvaluateSettings(
        model=str(disc_model), data=tmp_path / "data", output=tmp_path / "report", limit=6,
        pixel_size_um=PIXEL_SIZE_UM, resamples=10, trial_cells=0,
    )  # fmt: skip
    warned = read_report(evaluate(settings)).metrics["warnings"]
    assert any("trained on 6 of the test images (0 of them" in w for w in warned)
