"""Trivial problems and tiny networks for tests of training and classification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cytodiffusion.baselines import Baseline, build_network, save_baseline
from cytodiffusion.model.bundle import CellClass
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.training.settings import TrainSettings

#: Side of the toy images and the scale at which one fills the window of 20 um.
SIDE = 48
PIXEL_SIZE_UM = 20 / SIDE
COLORS = {"blue": (70, 80, 200), "green": (60, 170, 80), "red": (200, 60, 70)}


def disc(colour: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A coloured disc on a bright background, ``(SIDE, SIDE, 3)``."""
    image = np.full((SIDE, SIDE, 3), 235, np.uint8)
    centre = tuple(int(SIDE // 2 + d) for d in rng.integers(-2, 3, 2))
    cv2.circle(image, centre, int(rng.integers(9, 13)), colour, -1, cv2.LINE_AA)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def write_discs(
    folder: Path, counts: dict[str, int] | None = None, names: tuple[str, ...] = tuple(COLORS)
) -> Path:
    """Write discs as ``split/class/number.png`` and return the folder."""
    rng = np.random.default_rng(0)
    for split, count in (counts or {"train": 24, "val": 12}).items():
        for name in names:
            target = folder / split / name
            target.mkdir(parents=True)
            for number in range(count):
                image = disc(COLORS[name], rng)
                cv2.imwrite(str(target / f"{number:03d}.png"), image[..., ::-1])
    return folder


def toy_settings(data: Path, output: Path, **changes: Any) -> TrainSettings:
    """Settings of a run that takes a second."""
    small: dict[str, Any] = {
        "pixel_size_um": PIXEL_SIZE_UM,
        "input_size": 32,
        "widths": (8, 16),
        "blocks": (1, 1),
        "head_channels": 8,
        "steps": 6,
        "batch_size": 16,
        "warmup": 2,
        "checkpoint_every": 3,
        "validate_every": 3,
        "device": "cpu",
        "duplicates": "allow",  # discs that were drawn alike are near copies of each other
    }
    return TrainSettings(data=data, output=output, **(small | changes))


def tiny_baseline(
    folder: Path, names: tuple[str, ...] = tuple(COLORS), kind: str = "resnet18"
) -> Path:
    """Write a baseline with random weights; it is called as its folder is."""
    torch.manual_seed(1)
    baseline = Baseline(
        name=folder.name,
        version="0",
        kind=kind,
        classes=tuple(CellClass(n, f"#{i}{i}8040") for i, n in enumerate(names)),
        input_size=48,
        window_um=20.0,
        network=build_network(kind, len(names), 48).eval(),
        validation=ValidationRecord(torch.linspace(0, 0.9, 40)),
        anomaly_threshold=0.9,
        false_alarms=0.02,
        device=torch.device("cpu"),
        card=f"# {folder.name}\n",
        training={"steps": 3},
    )
    return save_baseline(folder, baseline)


def train_on_discs(folder: Path) -> Path:
    """Train on discs for some seconds; return the bundle."""
    from cytodiffusion.training.train import train

    data = write_discs(folder / "data", {"train": 40, "val": 24, "test": 30})
    learning: dict[str, Any] = {
        "steps": 90,
        "batch_size": 32,
        "learning_rate": 4e-3,
        "class_loss": 0.5,
        "ema_decay": 0.95,
        "warmup": 20,
        "dropout": 0.0,
        "validate_every": 90,
        "checkpoint_every": 1000,
        "augment": {"palette_share": 0.0},  # the classes differ in colour alone
    }
    settings = toy_settings(
        data, folder / "model", name="discs", attribution="Drawn by the tests, CC0.", **learning
    )
    return train(settings)
