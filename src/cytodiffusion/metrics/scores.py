"""Figures of merit of a classification against known classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.result import Classification
from cytodiffusion.metrics.curves import BINS, bin_of, confusion
from cytodiffusion.metrics.intervals import rates_of_confusion


def summarise(result: Classification, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy and calibration of ``result`` against ``labels (N,)``, class indices."""
    rates = rates_of_confusion(confusion(labels, result.predicted, len(result.class_names)))
    hits = result.predicted == labels
    return {
        "n": len(labels),
        "accuracy": float(rates["accuracy"]),
        "balanced_accuracy": float(rates["balanced_accuracy"]),
        "macro_f1": float(rates["macro_f1"]),
        "recall": {result.class_names[k]: float(rates["recall"][k]) for k in np.unique(labels)},
        "ece": expected_calibration_error(result.confidence, hits),
        "coverage": float(result.prediction_set[np.arange(len(labels)), labels].mean()),
        "set_size": float(result.prediction_set.sum(axis=1).mean()),
        "trials_mean": float(result.trials.mean()),
        "anomaly_rate": float(result.anomaly.mean()),
    }


def expected_calibration_error(
    confidence: NDArray[np.float64], hits: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Guo et al. 2017)."""
    gaps = np.bincount(bin_of(confidence, bins), hits - confidence, bins)
    return float(np.abs(gaps).sum() / len(hits))


def balanced_accuracy(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur in ``labels``."""
    return float(np.mean([(predicted[labels == k] == k).mean() for k in np.unique(labels)]))


def predicted_among(
    posterior: NDArray[np.float64], open_classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Most probable class ``(N,)`` when only some classes are open."""
    chosen = np.sort(np.unique(open_classes))
    return np.asarray(chosen[posterior[:, chosen].argmax(axis=1)])
