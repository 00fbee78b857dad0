"""A stand-in for the engine that is fast, exact and breaks on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

CLASSES = ("basophil", "neutrophil", "red cell", "artefact")
COLORS = ("#332288", "#117733", "#cc6677", "#999999")


@dataclass(frozen=True)
class CellClass:
    name: str
    color: str
    group: str = "white cell"


@dataclass
class Model:
    classes: tuple[CellClass, ...] = tuple(
        CellClass(n, c) for n, c in zip(CLASSES, COLORS, strict=True)
    )
    class_names: tuple[str, ...] = CLASSES
    input_size: int = 32
    window_um: float = 20.0
    name: str = "fake"
    version: str = "1"
    device: str = "cpu"


@dataclass(frozen=True)
class Crops:
    pixels: np.ndarray
    ids: np.ndarray
    centroids: np.ndarray
    areas_um2: np.ndarray
    touches_border: np.ndarray
    pixel_size_um: float

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Result:
    class_names: tuple[str, ...]
    posterior: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    entropy: np.ndarray
    margin: np.ndarray
    prediction_set: np.ndarray
    anomaly_score: np.ndarray
    anomaly: np.ndarray
    trials: np.ndarray
    errors_by_level: np.ndarray
    levels: np.ndarray
    anomaly_threshold: float
    anomaly_scores: dict[str, np.ndarray] = field(default_factory=dict)
    accept_above: float | None = None

    @property
    def review(self) -> np.ndarray:
        return self.confidence <= (-1 if self.accept_above is None else self.accept_above)


@dataclass(frozen=True)
class CellBatch:
    crops: Crops
    result: Result
    done: int
    total: int
    revises: int | None = None

    def without_pixels(self) -> CellBatch:
        empty = np.broadcast_to(np.uint8(0), self.crops.pixels.shape)
        return replace(self, crops=replace(self.crops, pixels=empty))


@dataclass
class Engine:
    """What the stand-in does; tests turn its knobs."""

    batch: int = 4
    seconds_a_batch: float = 0.0
    error: Exception | None = None
    error_at: int = 0
    closed: threading.Event = field(default_factory=threading.Event)
    requests: list[dict[str, Any]] = field(default_factory=list)
    refusal: Exception | None = None
    corrects: int | None = None  #: class that all cells have once they are looked at together

    def refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def batches(self, image: Any, labels: Any, model: Model, settings: Any, **kw: Any) -> Any:
        self.requests.append({"settings": settings, **kw})
        ids = np.unique(labels)
        # the confidence of cell i is 0.9 - 0.0065 i: 10, 11 and 12 are for review
        above = None if settings.error_rate is None else 0.84
        together = None if settings.alone else self.corrects
        return self._run(labels, ids[ids > 0], kw["pixel_size_um"], above, together)

    def _run(
        self,
        labels: np.ndarray,
        ids: np.ndarray,
        px: float,
        above: float | None,
        together: int | None,
    ) -> Iterator[CellBatch]:
        batches = []
        try:
            for start in range(0, len(ids), self.batch):
                if self.error is not None and start // self.batch >= self.error_at:
                    raise self.error
                time.sleep(self.seconds_a_batch)
                some = ids[start : start + self.batch]
                batches.append(batch_of(labels, some, start + len(some), len(ids), px, above))
                yield batches[-1]
            for number, batch in enumerate(batches if together is not None else []):
                predicted = np.full(len(batch.result.predicted), together)
                result = replace(batch.result, predicted=predicted)
                yield replace(batch, result=result, revises=number)
        finally:
            self.closed.set()


def batch_of(
    labels: np.ndarray,
    ids: np.ndarray,
    done: int,
    total: int,
    px: float,
    accept_above: float | None = None,
) -> CellBatch:
    n, k = len(ids), len(CLASSES)
    centroids = np.array([np.argwhere(labels == i).mean(axis=0) for i in ids])
    posterior = np.full((n, k), 0.1 / (k - 1))
    posterior[np.arange(n), ids % k] = 0.9
    unsure = (ids[:, None] % 50) / 100
    # the higher the id, the less certain
    posterior = posterior * (1 - unsure) + unsure / k
    entropy = -(posterior * np.log(posterior)).sum(axis=1)
    score = (ids % 5) / 4.0
    crops = Crops(
        pixels=np.zeros((n, 32, 32, 3), np.uint8),
        ids=ids.astype(np.int64),
        centroids=centroids,
        areas_um2=np.array([(labels == i).sum() * px**2 for i in ids]),
        touches_border=np.zeros(n, bool),
        pixel_size_um=px,
    )
    top = np.sort(posterior, axis=1)
    result = Result(
        class_names=CLASSES,
        posterior=posterior,
        predicted=posterior.argmax(axis=1),
        confidence=posterior.max(axis=1),
        entropy=entropy,
        margin=top[:, -1] - top[:, -2],
        prediction_set=posterior > 0.05,
        anomaly_score=score,
        anomaly=score > 0.9,
        trials=np.full(n, 3),
        errors_by_level=np.random.default_rng(0).random((n, 3, k)).astype(np.float32),
        levels=np.array([0.2, 0.4, 0.6]),
        anomaly_threshold=0.9,
        anomaly_scores={"combined": score, "error_level": 2 * score + 0.5},
        accept_above=accept_above,
    )
    return CellBatch(crops, result, done, total)


def cells_frame(batches: list[CellBatch]) -> pd.DataFrame:
    rows = []
    for batch in batches:
        crops, result = batch.crops, batch.result
        for i, label in enumerate(crops.ids):
            row = {
                "label": int(label),
                "y": crops.centroids[i, 0],
                "x": crops.centroids[i, 1],
                "predicted": CLASSES[result.predicted[i]],
                "confidence": result.confidence[i],
                "anomaly": bool(result.anomaly[i]),
                "review": bool(result.review[i]),
                "trials": int(result.trials[i]),
            }
            row |= {f"p_{n}": p for n, p in zip(CLASSES, result.posterior[i], strict=True)}
            rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Settings:
    trials: int = 16
    seed: int = 0
    batch_size: int = 256
    error_rate: float | None = None
    alone: bool = False
