"""How well cells of an unknown class are distinguished from known ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from cytodiffusion.classification.result import Classification
from cytodiffusion.metrics.curves import POINTS
from cytodiffusion.metrics.intervals import interval_of_share, stratified_intervals

Floats = NDArray[np.float64]

#: Said where there was nothing to measure with.
NOT_ASKED = "no class was left out: name one with --leave-out"


def unmeasured(why: str, result: Classification | None = None) -> dict[str, Any]:
    """Figures of anomalies where none were there: only the false alarms can be counted."""
    found: dict[str, Any] = {
        "auc": None,
        "sensitivity": None,
        "specificity": None,
        "threshold": None,
        "why": why,
    }
    if result is not None and len(result):
        found["specificity"] = float(1 - result.anomaly.mean())
        found["threshold"] = float(result.anomaly_threshold)
    return found


def scores_of(result: Classification) -> dict[str, Floats]:
    """Every score by which a cell may look unusual, by name; higher is more unusual.

    ``score`` is the classifier's own, the one with a threshold. The others are what a posterior
    gives by itself, for comparison, and the parts of the classifier's own where it has any.
    """
    found = {
        "score": result.anomaly_score,
        "1 - confidence": 1 - result.confidence,
        "1 - gap": 1 - result.margin,
        "entropy": result.entropy,
    }
    parts = {k: v for k, v in result.anomaly_scores.items() if k != name_of_score(result)}
    return {**found, **parts}


def name_of_score(result: Classification) -> str | None:
    """Name of the classifier's own score among its parts; None where it has no parts."""
    for name, values in result.anomaly_scores.items():
        if np.array_equal(values, result.anomaly_score):
            return name
    return None


def anomaly_figures(
    known: Classification,
    unknown: Classification,
    *,
    false_alarms: float,
    thresholds: Mapping[str, float] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Figures of telling ``unknown`` cells from ``known`` ones."""
    negative, positive = scores_of(known), scores_of(unknown)
    stated = {"score": known.anomaly_threshold, **(thresholds or {})}
    own = {
        "auc": auc(negative["score"], positive["score"]),
        "sensitivity": float(unknown.anomaly.mean()),
        "specificity": float(1 - known.anomaly.mean()),
    }

    def statistic(first: NDArray[np.int64], second: NDArray[np.int64]) -> dict[str, float]:
        return {
            "auc": auc(negative["score"][first], positive["score"][second]),
            "sensitivity": float(unknown.anomaly[second].mean()),
            "specificity": float(1 - known.anomaly[first].mean()),
        }

    ranges = stratified_intervals(
        statistic, (len(known), len(unknown)), seed=seed, resamples=resamples
    )
    return {
        **own,
        "why": None,
        "intervals": {
            "auc": list(ranges["auc"]),
            "sensitivity": _of_share(unknown.anomaly, ranges["sensitivity"]),
            "specificity": _of_share(~known.anomaly, ranges["specificity"]),
        },
        "n_known": len(known),
        "n_unknown": len(unknown),
        "threshold": float(known.anomaly_threshold),
        "false_alarms": false_alarms,
        "roc": roc(negative["score"], positive["score"]),
        "score_name": name_of_score(known),
        "scores": {
            name: {
                "auc": auc(negative[name], positive[name]),
                **_at_threshold(negative[name], positive[name], stated.get(name)),
                "sensitivity_here": sensitivity_at(negative[name], positive[name], false_alarms),
            }
            for name in negative
        },
    }


def _of_share(right: NDArray[np.bool_], drawn: tuple[float, float]) -> list[float]:
    return list(interval_of_share(int(right.sum()), len(right), np.array(drawn)))


def _at_threshold(
    negative: Floats, positive: Floats, threshold: float | None
) -> dict[str, float | None]:
    if threshold is None:
        return {"sensitivity": None, "specificity": None}
    return {
        "sensitivity": float((positive > threshold).mean()),
        "specificity": float((negative <= threshold).mean()),
    }


def auc(negative: Floats, positive: Floats) -> float:
    """Area under the ROC curve: the chance that an unknown cell scores above a known one."""
    truth = np.repeat([0, 1], [len(negative), len(positive)])
    return float(roc_auc_score(truth, np.concatenate([negative, positive])))


def sensitivity_at(negative: Floats, positive: Floats, false_alarms: float) -> float:
    """Share of the unknown above the score that ``false_alarms`` of the known exceed."""
    return float((positive > np.quantile(negative, 1 - false_alarms)).mean())


def roc(negative: Floats, positive: Floats, points: int = POINTS) -> dict[str, list[float]]:
    """ROC curve, thinned to ``points``: ``false_alarms`` and ``sensitivity``."""
    truth = np.repeat([0, 1], [len(negative), len(positive)])
    x, y, _ = roc_curve(truth, np.concatenate([negative, positive]))
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), points)).round().astype(int))
    return {"false_alarms": x[keep].tolist(), "sensitivity": y[keep].tolist()}
