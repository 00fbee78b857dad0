"""Curves of an evaluation: reliability, risk against coverage, trials against accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.metrics.intervals import rates_of_confusion

#: Equal-width bins of confidence, of the diagram and of the calibration error.
BINS = 15

#: Points that a stored curve has at most.
POINTS = 200

Floats = NDArray[np.float64]


def bin_of(confidence: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """Index ``(N,)`` of the bin of each confidence; 1 belongs to the last one."""
    return np.clip((confidence * bins).astype(np.int64), 0, bins - 1)


def reliability(
    confidence: Floats, hits: NDArray[np.bool_], bins: int = BINS
) -> list[dict[str, float]]:
    """Points of the reliability diagram (DeGroot & Fienberg 1983), one a bin that has cells."""
    where = bin_of(confidence, bins)
    points = []
    for number in range(bins):
        inside = where == number
        if inside.any():
            points.append(
                {
                    "low": number / bins,
                    "high": (number + 1) / bins,
                    "n": int(inside.sum()),
                    "confidence": float(confidence[inside].mean()),
                    "accuracy": float(hits[inside].mean()),
                }
            )
    return points


def risks(confidence: Floats, hits: NDArray[np.bool_]) -> Floats:
    """Share of errors ``(N,)`` among the 1, 2, ..., N most confident cells.

    Cells of the same confidence have no order among themselves: each counts with the mean error
    of its equals, so that the curve does not depend on the order of the cells.
    """
    if not len(hits):
        return np.zeros(0)
    order = np.argsort(-confidence, kind="stable")
    _, group = np.unique(-confidence[order], return_inverse=True)
    wrong = (~hits[order]).astype(np.float64)
    shared = np.bincount(group, wrong) / np.bincount(group)
    return np.asarray(np.cumsum(shared[group]) / np.arange(1, len(hits) + 1))


def area_under_risk(confidence: Floats, hits: NDArray[np.bool_]) -> float:
    """AURC: mean risk over all coverages (Geifman, Uziel & El-Yaniv 2019); 0 is perfect."""
    curve = risks(confidence, hits)
    return float(curve.mean()) if len(curve) else float("nan")


def risk_coverage(
    confidence: Floats, hits: NDArray[np.bool_], points: int = POINTS
) -> dict[str, list[float]]:
    """Risk when only the most confident share of the cells is decided."""
    curve = risks(confidence, hits)
    n = len(curve)
    if not n:
        return {"coverage": [], "risk": []}
    keep = np.unique(np.linspace(0, n - 1, min(n, points)).round().astype(int))
    return {"coverage": ((keep + 1) / n).tolist(), "risk": curve[keep].tolist()}


def share_decided(confidence: Floats, hits: NDArray[np.bool_], error: float) -> float:
    """Largest share of the cells, the most confident first, with at most this share of errors."""
    fine = np.flatnonzero(risks(confidence, hits) <= error)
    return float((fine[-1] + 1) / len(hits)) if len(fine) else 0.0


def accuracy_by_trials(
    all_logits: NDArray[np.floating], labels: NDArray[np.int64]
) -> list[dict[str, float]]:
    """Accuracy after 1, 2, ..., T trials of every cell, none stopped early.

    Parameters
    ----------
    all_logits : (N, T, K) array
        Of a run without early stopping.
    labels : (N,) array
        Class indices.
    """
    _, trials, k = all_logits.shape
    sums = np.cumsum(np.asarray(all_logits, np.float64), axis=1)
    rows = []
    for number in range(trials):
        rates = rates_of_confusion(confusion(labels, sums[:, number].argmax(axis=1), k))
        rows.append(
            {
                "trials": number + 1,
                "accuracy": float(rates["accuracy"]),
                "balanced_accuracy": float(rates["balanced_accuracy"]),
            }
        )
    return rows


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Count true (row) and predicted (column) classes, ``(K, K)``."""
    return np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)


def histogram_of_trials(trials: NDArray[np.int64]) -> list[dict[str, int]]:
    """How many cells took how many trials."""
    counts = np.bincount(trials)
    return [{"trials": int(t), "n": int(counts[t])} for t in np.flatnonzero(counts)]
