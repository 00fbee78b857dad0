"""Figures of merit of a classification against known classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from cytodiffusion.classify import Classification


def summarise(result: Classification, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy and calibration of ``result`` against ``labels (N,)``, class indices.

    Returns
    -------
    dict
        ``n``, ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``recall`` (by class name),
        ``ece``, ``coverage``, ``set_size``, ``trials_mean``, ``anomaly_rate``. Classes that
        do not occur in ``labels`` count in none of the means.
    """
    known = np.unique(labels)
    hits = result.predicted == labels
    recall = recall_score(labels, result.predicted, labels=known, average=None, zero_division=0.0)
    return {
        "n": len(labels),
        "accuracy": float(hits.mean()),
        "balanced_accuracy": float(np.mean(recall)),
        "macro_f1": float(
            f1_score(labels, result.predicted, labels=known, average="macro", zero_division=0.0)
        ),
        "recall": {result.class_names[k]: float(r) for k, r in zip(known, recall, strict=True)},
        "ece": expected_calibration_error(result.confidence, hits),
        "coverage": float(result.prediction_set[np.arange(len(labels)), labels].mean()),
        "set_size": float(result.prediction_set.sum(axis=1).mean()),
        "trials_mean": float(result.trials.mean()),
        "anomaly_rate": float(result.anomaly.mean()),
    }


def expected_calibration_error(
    confidence: NDArray[np.float64], hits: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Guo et al. 2017)."""
    edges = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gap = 0.0
    for b in range(bins):
        inside = edges == b
        if inside.any():
            gap += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return float(gap)


def balanced_accuracy(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur in ``labels``."""
    known = np.unique(labels)
    if np.isin(predicted, known).all():
        return float(balanced_accuracy_score(labels, predicted))
    return float(np.mean([(predicted[labels == k] == k).mean() for k in known]))
