"""Studies with cells that no model had to find or classify."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image as Picture

from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.study import Study
from cytodiffusion.traits import Trait


class CellClass(NamedTuple):
    """A class of a model, without what brings torch."""

    name: str
    color: str
    group: str = ""


CLASSES = (
    CellClass("lymphocyte", "#0072b2", "lymphoid"),
    CellClass("monocyte", "#e69f00"),
    CellClass("neutrophil", "#d55e00"),
)
NAMES = [c.name for c in CLASSES]


class FakeModel:
    """What a study wants to know of a model."""

    classes = CLASSES
    class_names = tuple(NAMES)
    traits = ()

    def __init__(self, version: str = "1") -> None:
        self.version = version

    def record(self) -> dict[str, Any]:
        return {"name": "fake", "version": self.version, "sha256": f"f{self.version}"}


def square_labels(cells: int, columns: int = 20) -> np.ndarray:
    """Squares of 4 x 4 pixels, with a gap between them."""
    rows = -(-cells // columns)
    labels = np.zeros((rows * 6, columns * 6), np.int32)
    for number in range(cells):
        y, x = number // columns * 6 + 1, number % columns * 6 + 1
        labels[y : y + 4, x : x + 4] = number + 1
    return labels


def write_image(path: Path, labels: np.ndarray, seed: int = 0) -> Path:
    """An image of that size, unlike that of another seed."""
    rng = np.random.default_rng(seed)
    rgb = np.where(labels[..., None] > 0, (120, 40, 160), (235, 230, 232)).astype(np.int64)
    rgb = np.clip(rgb + rng.integers(-9, 9, rgb.shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(rgb).save(path, format="PNG")
    return path


def predictions(labels: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Made-up answers for each cell, with some of the columns of ``cells.csv``."""
    ids = np.unique(labels[labels > 0])
    posterior = np.random.default_rng(seed).dirichlet(np.ones(len(NAMES)), len(ids))
    frame = pd.DataFrame(
        {
            "label": ids,
            "y": 0.0,
            "x": 0.0,
            "area_um2": 1.0,
            "predicted": [NAMES[i] for i in posterior.argmax(axis=1)],
            "confidence": posterior.max(axis=1),
            "anomaly": False,
            "prediction_set": "",
            "trials": 3,
            "touches_border": False,
            "review": False,
        }
    )
    for k, name in enumerate(NAMES):
        frame[f"p_{name}"] = posterior[:, k]
    return frame


def made_up(posterior: np.ndarray, seed: int = 0) -> Classification:
    """A classification with these probabilities, an embedding by class, and an attribute."""
    rng = np.random.default_rng(seed)
    count, predicted = len(posterior), posterior.argmax(axis=1)
    score = rng.random(count)
    first = rng.random((count, 1)).astype(np.float32)
    return Classification(
        class_names=tuple(NAMES),
        posterior=posterior,
        predicted=predicted,
        confidence=posterior.max(axis=1),
        entropy=score,
        margin=score,
        prediction_set=posterior > 0.3,
        anomaly_score=score,
        anomaly=score > 0.9,
        trials=np.full(count, 3),
        errors_by_level=rng.random((count, 2, len(NAMES))).astype(np.float32),
        levels=np.array([10, 20]),
        anomaly_threshold=0.9,
        logits=np.log(posterior),
        anomaly_scores={"distance": score},
        embedding=(np.eye(16)[predicted] * 9 + rng.normal(size=(count, 16))).astype(np.float32),
        traits=(Trait("nucleus", ("round", "segmented")),),
        trait_probabilities=np.concatenate([first, 1 - first], axis=1),
    )


def fill(study: Study, path: Path, cells: int = 6, seed: int = 0, name: str | None = None) -> str:
    """Add an image with cells and answers; return its name."""
    labels = square_labels(cells)
    image = study.put_image(write_image(path, labels, seed), labels, 0.5, "file", name=name)
    study.put_predictions(image.name, predictions(labels, seed), FakeModel(), ClassifySettings())
    return image.name


def fill_classified(study: Study, path: Path, cells: int = 6, seed: int = 0) -> str:
    """Add an image whose cells the stand-in of the window's tests classified; return its name."""
    from fake_engine import Model, batch_of

    from cytodiffusion.pipeline import cells_frame

    labels = square_labels(cells)
    image = study.put_image(write_image(path, labels, seed), labels, 0.5, "file")
    batch = batch_of(labels, np.arange(1, cells + 1), cells, cells, 0.5)
    frame, model = cells_frame([batch]), Model()
    study.put_predictions(image.name, frame, model, ClassifySettings(), batch.result)
    return image.name
