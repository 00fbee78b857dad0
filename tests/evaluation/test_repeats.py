"""An image that is in an evaluated set twice is told, with the files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from toys import PIXEL_SIZE_UM

from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.model.testing import tiny_bundle


def write_cells(folder: Path, seed: int) -> Path:
    """Write two red and two blue images like no others."""
    rng = np.random.default_rng(seed)
    for name in ("red", "blue"):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            image = cv2.resize(coarse, (48, 48), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / name / f"{number}.png"), image)
    return folder


def copy(source: Path, target: Path, *, mirrored: bool = False) -> None:
    image = cv2.imread(str(source))
    assert image is not None
    cv2.imwrite(str(target), image[:, ::-1] if mirrored else image)


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    return write_cells(tmp_path / "data", 1), write_cells(tmp_path / "other", 2)


def said_of(data: Path, other: Path) -> list[str]:
    model = tiny_bundle(data.parent / "model", ("blue", "red"))
    settings = EvaluateSettings(
        model=str(model), data=data, output=data.parent / "report", shift={"b": other},
        pixel_size_um=PIXEL_SIZE_UM, shift_pixel_size_um=PIXEL_SIZE_UM, resamples=10,
        trial_cells=0, split="all",
    )  # fmt: skip
    metrics = json.loads((evaluate(settings) / "metrics.json").read_text())
    return [warning for warning in metrics["warnings"] if "same image" in warning]


def test_sets_without_copies_are_nothing_to_speak_of(sets: tuple[Path, Path]) -> None:
    data, other = sets
    copy(data / "red" / "0.png", other / "red" / "7.png")  # two sets are two matters
    assert said_of(data, other) == []


def test_copies_are_told_and_contradicting_labels_by_themselves(sets: tuple[Path, Path]) -> None:
    data, other = sets
    copy(data / "red" / "0.png", data / "red" / "7.png", mirrored=True)
    copy(data / "red" / "1.png", data / "blue" / "7.png")
    copy(other / "blue" / "1.png", other / "blue" / "7.png")
    (other / "blue" / "broken.png").write_bytes(b"no image")
    assert said_of(data, other) == [
        "data: 1 pair of the same image with different classes: "
        f"{data}/blue/7.png (blue) and {data}/red/1.png (red).",
        "data: 1 pair of the same image (1 of them changed a little), counted as two cells: "
        f"{data}/red/0.png and {data}/red/7.png.",
        "b: 1 pair of the same image (0 of them changed a little), counted as two cells: "
        f"{other}/blue/1.png and {other}/blue/7.png.",
    ]
