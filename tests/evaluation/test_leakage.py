"""Test images that a model was trained on are warned of, with the files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import pandas as pd
import pytest
from toys import PIXEL_SIZE_UM
from trees import write_tree

from cytodiffusion.datasets import find_records
from cytodiffusion.datasets.fingerprints import fingerprints
from cytodiffusion.datasets.seen import TrainingImages
from cytodiffusion.evaluation.candidate import MODEL, Candidate
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.leakage import mark_seen, warn_of_overlap
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import read_report
from cytodiffusion.progress import silent


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


def asked(data: Path, split: str, shift: Path | None = None) -> Context:
    settings = EvaluateSettings(model="m", data=data, output=data / "r", split=split)
    context = Context(settings, silent, ("x", "y"))
    context.everything = find_records(data)
    context.records = [r for r in context.everything if split in (r.split, "all")]
    context.shift = {"elsewhere": find_records(shift)} if shift else {}
    return context


def warnings_of(*models: Model, data: Path, split: str = "test", shift: Path | None = None) -> str:
    context = asked(data, split, shift)
    warn_of_overlap(everyone(*models), context)
    return "\n".join(context.warnings)


def everyone(*models: Model) -> list[Candidate]:
    """The model, then baselines 1, 2, ..."""
    return [Candidate(str(n) if n else MODEL, model) for n, model in enumerate(models)]


def test_a_clean_test_set_is_nothing_to_speak_of(data: Path, model: Model) -> None:
    assert warnings_of(model, data=data) == ""


def test_a_classifier_without_a_record_is_told_once(
    data: Path, model: Model, tmp_path: Path
) -> None:
    unknown = "does not record its training images: whether it has seen the test images is not"
    assert warnings_of(Model(), data=data) == f"The model {unknown} known."
    other = write_tree(tmp_path / "other", ["x/7.png", "y/8.png"])
    assert warnings_of(Model(), data=data, shift=other) == f"The model {unknown} known."
    assert warnings_of(model, Model(), data=data) == f"The baseline 1 {unknown} known."
    assert warnings_of(Model(), data=data, split="train") == ""  # they were asked for


def test_baselines_are_looked_through_as_well(data: Path, model: Model) -> None:
    shutil.copy(data / "train" / "x" / "0.png", data / "test" / "x" / "same.png")
    said = warnings_of(model, model, data=data).splitlines()
    assert [line.partition(" on 1 of")[0] for line in said] == [
        "The model was trained",
        "The baseline 1 was trained",
    ]
    only = TrainingImages.of(fingerprints([data / "train" / "y" / "0.png"]))
    assert len(warnings_of(model, Model(only), data=data).splitlines()) == 1


def test_every_file_is_in_the_record_and_in_the_table(data: Path, model: Model) -> None:
    for n in range(5):
        source = data / "train" / "xy"[n % 2] / f"{n // 2}.png"
        shutil.copy(source, data / "test" / "x" / f"same{n}.png")
    context = asked(data, "test")
    seen = warn_of_overlap(everyone(model, Model()), context)
    copies = [str(data / "test" / "x" / f"same{n}.png") for n in range(5)]
    assert seen["model"]["data"]["known"]
    assert sorted(seen["model"]["data"]["exact"]) == copies
    assert seen["model"]["data"]["near"] == []
    assert not seen["1"]["data"]["known"]
    assert sorted(seen["1"]["data"]["training_split"]) == copies
    assert context.warnings[0].count("same") == 3
    assert (
        "and 2 more (all of them in metrics.json under overlap, and in cells.csv)"
        in (context.warnings[0])
    )
    paths = [str(r.path) for r in context.records]
    table = pd.DataFrame(
        {"set": "data", "model": who, "path": path, "split": "test"}
        for who in ("model", "1")
        for path in paths
    )
    mark_seen(table, seen)
    assert list(table)[-2:] == ["split", "trained_on"]
    for who, row in table.groupby("model"):
        found = dict(zip(row["path"], row["trained_on"], strict=True))
        assert {path for path, mark in found.items() if mark is True} == set(copies)
        # of the one without a record the others are not known
        rest = [found[path] for path in set(paths) - set(copies)]
        assert all(mark is False for mark in rest) if who == "model" else pd.isna(rest).all()


def test_training_images_in_the_test_set_are_named(data: Path, model: Model) -> None:
    shutil.copy(data / "train" / "x" / "0.png", data / "test" / "x" / "same.png")
    image = cv2.imread(str(data / "train" / "y" / "1.png"))
    assert image is not None
    cv2.imwrite(str(data / "test" / "y" / "turned.jpg"), image[::-1])
    said = warnings_of(model, data=data)
    assert "trained on 2 of the test images (1 of them changed a little)" in said
    assert f"{data}/test/x/same.png" in said
    assert f"{data}/test/y/turned.jpg" in said


def test_the_training_set_as_a_whole_is_warned_of_unless_asked_for(
    data: Path, model: Model
) -> None:
    assert "trained on 6 of the test images" in warnings_of(model, data=data, split="all")
    assert warnings_of(model, data=data, split="train") == ""


def test_other_laboratories_are_looked_through(data: Path, model: Model, tmp_path: Path) -> None:
    for name in "xy":
        (tmp_path / "other" / name).mkdir(parents=True)
        for n in range(2):
            shutil.copy(data / "train" / name / f"{n}.png", tmp_path / "other" / name)
    said = warnings_of(model, data=data, shift=tmp_path / "other")
    assert said.startswith("elsewhere: The model was trained on 4 of the test images")


def test_a_model_without_a_record_is_helped_by_the_split(data: Path) -> None:
    shutil.copy(data / "train" / "x" / "0.png", data / "test" / "x" / "same.png")
    known, said = warnings_of(Model(), data=data).splitlines()
    assert "is not known" in known
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
    report = read_report(evaluate(settings))
    warned = report.metrics["warnings"]
    assert any("trained on 6 of the test images (0 of them" in w for w in warned)
    assert len(report.metrics["overlap"]["model"]["data"]["exact"]) == 6
    assert pd.read_csv(report.folder / "cells.csv")["trained_on"].tolist() == [True] * 6
