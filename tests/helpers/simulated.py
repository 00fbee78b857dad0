"""Made-up classifications for the tests of figures of merit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin, softmax
from cytodiffusion.datasets import Record
from cytodiffusion.evaluation.cells import ScoredCells, label_indices


def classification(n: int = 200, k: int = 4, seed: int = 0) -> Classification:
    """A random classifier's answers about ``n`` cells of the classes a, b, ..."""
    rng = np.random.default_rng(seed)
    return from_posterior(softmax(rng.normal(0, 2, (n, k))), seed)


def from_posterior(p: np.ndarray, seed: int = 0) -> Classification:
    """The rest of a classification that has this posterior."""
    n, k = p.shape
    rng = np.random.default_rng(seed + 100)
    return Classification(
        class_names=tuple("abcdefgh"[:k]),
        posterior=p,
        predicted=p.argmax(1),
        confidence=p.max(1),
        entropy=entropy(p),
        margin=margin(p),
        prediction_set=p >= np.minimum(0.2, p.max(1, keepdims=True)),
        anomaly_score=rng.normal(size=n),
        anomaly=rng.random(n) < 0.1,
        trials=rng.integers(2, 12, n),
        errors_by_level=np.zeros((n, 2, k), np.float32),
        levels=np.array([60, 200]),
        anomaly_threshold=2.0,
        logits=np.log(np.maximum(p, 1e-9)),
    )


def scored(result: Classification, labels: list[str]) -> ScoredCells:
    """Cells of these classes with what was made of them."""
    records = [Record(Path(f"{i}.png"), name, "test") for i, name in enumerate(labels)]
    return ScoredCells(records, result, label_indices(records, result.class_names))
