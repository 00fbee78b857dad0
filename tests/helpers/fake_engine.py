"""A stand-in for the engine that is fast, exact and breaks on demand.

It takes the place of the plugin's `Engine` in a session; what it hands out are the engine's own
objects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from napari_cytodiffusion.engine import Engine

Engine().prepare()  # before anything else imports the networks: see `Engine.prepare`

from cytodiffusion.cells.crops import Crops  # noqa: E402
from cytodiffusion.classification.contradiction import mark_contradictions  # noqa: E402
from cytodiffusion.classification.levels import at_level  # noqa: E402
from cytodiffusion.classification.result import Classification  # noqa: E402
from cytodiffusion.model.bundle import CellClass  # noqa: E402
from cytodiffusion.model.validation_record import ValidationRecord  # noqa: E402
from cytodiffusion.pipeline import CellBatch  # noqa: E402
from cytodiffusion.segmentation import Segmentation  # noqa: E402
from cytodiffusion.traits import Trait, sizes_of  # noqa: E402

CLASSES = ("basophil", "neutrophil", "red cell", "artefact")
COLORS = ("#332288", "#117733", "#cc6677", "#999999")


@dataclass
class Model:
    """What the window asks of a model."""

    classes: tuple[CellClass, ...] = tuple(
        CellClass(n, c, "white cell") for n, c in zip(CLASSES, COLORS, strict=True)
    )
    class_names: tuple[str, ...] = CLASSES
    input_size: int = 32
    window_um: float = 20.0
    name: str = "fake"
    version: str = "1"
    device: str = "cpu"
    traits: tuple[Trait, ...] = ()
    slide_correction: None = None
    head: None = None  # what it was taught
    validation: ValidationRecord = field(
        default_factory=lambda: ValidationRecord(torch.linspace(0, 0.9, 50))
    )

    @property
    def untaught(self) -> Model:
        """The model without what it was taught: nothing."""
        return self

    def record(self) -> dict[str, Any]:
        """Return what a result says about the model it came from."""
        return {"name": self.name, "version": self.version, "source": "default", "sha256": "f"}


class FakeEngine(Engine):
    """What the stand-in does; tests turn its knobs.

    Segmentation is the real one unless `outlined` is given, the labels to find.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model: Any = Model()
        self.batch = 4
        self.seconds_a_batch = 0.0
        self.error: Exception | None = None
        self.error_at = 0
        self.closed = threading.Event()
        self.begun = threading.Event()
        self.requests: list[dict[str, Any]] = []
        self.refusal: Exception | None = None
        self.promises = True  #: whether it can keep an error rate
        self.corrects: int | None = None  #: class that all cells have once they are seen together
        self.outlined: np.ndarray | None = None
        self.segment_errors: list[Exception] = []
        self.segmented: list[dict[str, Any]] = []

    def load_model(self, source: str, device: str = "auto", allow_download: bool = False) -> Any:
        return self.model

    def check_promises(self, model: Any, settings: Any) -> float | None:
        if self.refusal is not None:
            raise self.refusal
        if not isinstance(model, Model):  # a real one, that a test brings
            return super().check_promises(model, settings)
        return None if not self.promises else settings.error_rate

    def segment(self, image: Any, method: str, pixel_size_um: float | None, **how: Any) -> Any:
        self.segmented.append(
            {"image": image, "method": method, "pixel_size_um": pixel_size_um, **how}
        )
        if self.segment_errors:
            raise self.segment_errors.pop(0)
        if self.outlined is None:
            return super().segment(image, method, pixel_size_um, **how)
        how["progress"](0.5, "halfway")
        source = "given" if pixel_size_um else "estimated"
        return Segmentation(self.outlined, pixel_size_um or 0.09, source, "watershed")

    def iter_classify(self, rgb: Any, labels: Any, model: Any, settings: Any, **kw: Any) -> Any:
        self.requests.append({"settings": settings, **kw})
        if not isinstance(model, Model):  # a real one, that a test brings
            return super().iter_classify(rgb, labels, model, settings, **kw)
        ids = np.unique(labels)
        # the confidence of cell i is 0.9 - 0.0065 i: 10, 11 and 12 are for review
        above = None if settings.error_rate is None or not self.promises else 0.84
        together = None if settings.alone else self.corrects
        ids, known = ids[ids > 0], kw.get("known", ())
        for batch in known:
            ids = ids[~np.isin(ids, batch.crops.ids)]
        found = self._run(labels, ids, kw["pixel_size_um"], above, together, known)
        return self._marked(found, kw.get("kinds"), settings.level)

    def _marked(self, batches: Iterator[CellBatch], kinds: Any, level: Any) -> Iterator[CellBatch]:
        kinds = None if kinds is None else np.asarray(kinds, np.uint8)
        with closing(batches):  # type: ignore[type-var]
            for batch in batches:
                coarse = at_level(batch.result, "coarse")
                result = mark_contradictions(coarse, batch.crops.ids, kinds)
                if self.model.traits:
                    result = told(result, batch.crops.ids, self.model.traits)
                yield replace(batch, result=at_level(result, level))

    def _run(
        self,
        labels: np.ndarray,
        ids: np.ndarray,
        px: float,
        above: float | None,
        together: int | None,
        known: Any = (),
    ) -> Iterator[CellBatch]:
        batches = list(known)
        before = sum(len(batch.crops) for batch in known)
        try:
            self.begun.set()
            yield from known
            for start in range(0, len(ids), self.batch):
                if self.error is not None and start // self.batch >= self.error_at:
                    raise self.error
                time.sleep(self.seconds_a_batch)
                some = ids[start : start + self.batch]
                done = before + start + len(some)
                batches.append(batch_of(labels, some, done, before + len(ids), px, above))
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
    """Classify some cells by their numbers."""
    n, k = len(ids), len(CLASSES)
    centroids = np.array([np.argwhere(labels == i).mean(axis=0) for i in ids])
    posterior = np.full((n, k), 0.1 / (k - 1))
    posterior[np.arange(n), ids % k] = 0.9
    unsure = (ids[:, None] % 50) / 100
    # the higher the id, the less certain
    posterior = posterior * (1 - unsure) + unsure / k
    score = (ids % 5) / 4.0
    crops = Crops(
        pixels=np.zeros((n, 32, 32, 3), np.uint8),
        ids=ids.astype(np.int64),
        centroids=centroids,
        areas_um2=np.array([(labels == i).sum() * px**2 for i in ids]),
        touches_border=np.zeros(n, bool),
        pixel_size_um=px,
    )
    return CellBatch(crops, result_of(posterior, score, accept_above), done, total)


def told(result: Classification, ids: np.ndarray, traits: tuple[Trait, ...]) -> Classification:
    """Say of each cell what its number says: value ``id % values`` of each trait, at 0.75."""
    parts = []
    for size in sizes_of(traits):
        shares = np.full((len(ids), size), 0.25 / (size - 1), np.float32)
        shares[np.arange(len(ids)), ids % size] = 0.75
        parts.append(shares)
    return replace(result, traits=traits, trait_probabilities=np.concatenate(parts, axis=1))


def result_of(
    posterior: np.ndarray, score: np.ndarray, accept_above: float | None = None
) -> Classification:
    """What a classifier says that has this posterior (N, K) and this anomaly score (N,)."""
    n, k = posterior.shape
    top = np.sort(posterior, axis=1)
    return Classification(
        class_names=CLASSES,
        posterior=posterior,
        predicted=posterior.argmax(axis=1),
        confidence=posterior.max(axis=1),
        entropy=-(posterior * np.log(posterior)).sum(axis=1),
        margin=top[:, -1] - top[:, -2],
        prediction_set=posterior > 0.05,
        anomaly_score=score,
        anomaly=score > 0.9,
        trials=np.full(n, 3),
        errors_by_level=np.random.default_rng(0).random((n, 3, k)).astype(np.float32),
        levels=np.array([200, 400, 600]),
        anomaly_threshold=0.9,
        logits=np.log(posterior),
        anomaly_scores={"combined": score, "error_level": 2 * score + 0.5},
        accept_above=accept_above,
    )
