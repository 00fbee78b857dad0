"""All figures of one classifier on one set of labelled cells, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.decision import prediction_sets, record_of
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.evaluation.cells import ScoredCells
from cytodiffusion.metrics.curves import (
    area_under_risk,
    confusion,
    histogram_of_trials,
    reliability,
    risk_coverage,
    share_decided,
)
from cytodiffusion.metrics.intervals import (
    confusion_intervals,
    interval_of_share,
    rates_of_confusion,
    resampled_intervals,
)
from cytodiffusion.metrics.scores import (
    balanced_accuracy,
    expected_calibration_error,
    predicted_among,
    summarise,
)
from cytodiffusion.taxonomy import Taxonomy, group_scores

#: Coverages that prediction sets are measured at, besides the one of the run.
COVERAGES = (0.8, 0.9, 0.95, 0.99)
#: Error rates at which the share of cells that can be decided is measured.
ERROR_RATES = (0.005, 0.01, 0.02, 0.05)
#: Keys of ``metrics.json`` that are always there, for the model and for each baseline.
CONTRACT = (
    "n",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "per_class",
    "ece",
    "coverage",
    "set_size",
    "trials_mean",
    "anomaly",
    "shift",
)


def figures(scored: ScoredCells, *, seed: int = 0, resamples: int = 1000) -> dict[str, Any]:
    """Figures of merit with 95 % bootstrap intervals."""
    result, labels = scored.result, scored.labels
    hits = result.predicted == labels
    counts = confusion(labels, result.predicted, len(result.class_names))
    ranges = confusion_intervals(counts, seed=seed, resamples=resamples)
    found = summarise(result, labels)
    del found["recall"]
    intervals = {name: ranges[name].tolist() for name in ("balanced_accuracy", "macro_f1")}
    intervals["accuracy"] = list(interval_of_share(int(hits.sum()), len(hits), ranges["accuracy"]))
    intervals |= _drawn_intervals(result, labels, seed, resamples)
    return {
        **found,
        "per_class": per_class(result, labels, counts, ranges),
        "intervals": intervals,
        "confusion": {"classes": list(result.class_names), "counts": counts.tolist()},
        "reliability": reliability(result.confidence, hits),
        "risk_coverage": risk_coverage(result.certainty, hits),
        "aurc": area_under_risk(result.certainty, hits),
        "decided": [
            {"error": rate, "share": share_decided(result.certainty, hits, rate)}
            for rate in ERROR_RATES
        ],
        "review": review_figures(result, hits),
        "trials_histogram": histogram_of_trials(result.trials),
        **alone_figures(result, labels),
    }


def review_figures(result: Classification, hits: NDArray[np.bool_]) -> dict[str, float] | None:
    """Share of cells held back for review, and errors among the others.

    None where no error rate was asked for.
    """
    if result.accept_above is None:
        return None
    accepted = ~result.review
    return {
        "accept_above": result.accept_above,
        "share": float(result.review.mean()),
        "error": float(1 - hits[accepted].mean()) if accepted.any() else 0.0,
    }


def _drawn_intervals(
    result: Classification, labels: NDArray[np.int64], seed: int, resamples: int
) -> dict[str, Any]:
    hits = result.predicted == labels
    covered = result.prediction_set[np.arange(len(labels)), labels]
    sizes = result.prediction_set.sum(axis=1)

    def statistic(index: NDArray[np.int64]) -> dict[str, float]:
        return {
            "ece": expected_calibration_error(result.confidence[index], hits[index]),
            "coverage": float(covered[index].mean()),
            "set_size": float(sizes[index].mean()),
            "trials_mean": float(result.trials[index].mean()),
        }

    drawn = resampled_intervals(statistic, len(labels), seed=seed, resamples=resamples)
    return {name: list(interval) for name, interval in drawn.items()}


def per_class(
    result: Classification,
    labels: NDArray[np.int64],
    counts: NDArray[np.int64],
    ranges: dict[str, NDArray[np.float64]],
) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and sets of each class that occurs among the labels."""
    rates = rates_of_confusion(counts)
    totals = {"recall": counts.sum(axis=1), "precision": counts.sum(axis=0)}
    found = {}
    for k in np.unique(labels):
        mine = labels == k
        sets = result.prediction_set[mine]
        intervals = {
            key: list(interval_of_share(int(counts[k, k]), int(total[k]), ranges[key][k]))
            for key, total in totals.items()
        }
        found[result.class_names[k]] = {
            "n": int(mine.sum()),
            **{key: float(rates[key][k]) for key in ("precision", "recall", "f1")},
            "coverage": float(sets[:, k].mean()),
            "set_size": float(sets.sum(axis=1).mean()),
            "intervals": {**intervals, "f1": ranges["f1"][k].tolist()},
        }
    return found


def set_figures(
    model: Any,
    scored: ScoredCells,
    settings: ClassifySettings,
    levels: Sequence[float] = COVERAGES,
) -> list[dict[str, Any]]:
    """Coverage and size of the prediction sets at several levels."""
    posterior, labels = scored.result.posterior, scored.labels
    kept = record_of(model, adjusted=scored.result.adjusted)
    rows = []
    for level in sorted({*levels, settings.coverage}):
        sets = (
            scored.result.prediction_set
            if level == settings.coverage
            else prediction_sets(
                posterior, kept, settings.model_copy(update={"coverage": level}), model.name
            )
        )
        covered, size = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
        rows.append(
            {
                "asked": level,
                "coverage": float(covered.mean()),
                "size": float(size.mean()),
                "singletons": float((size == 1).mean()),
                "empty": float((size == 0).mean()),
                "per_class": {
                    scored.result.class_names[k]: {
                        "coverage": float(covered[labels == k].mean()),
                        "size": float(size[labels == k].mean()),
                    }
                    for k in np.unique(labels)
                },
            }
        )
    return rows


def shift_figures(scored: ScoredCells, *, seed: int = 0, resamples: int = 1000) -> dict[str, Any]:
    """Figures on another laboratory's cells."""
    result, labels = scored.result, scored.labels
    k = len(result.class_names)
    shared = predicted_among(result.posterior, labels)
    ranges = confusion_intervals(
        confusion(labels, result.predicted, k), seed=seed, resamples=resamples
    )
    closed = confusion_intervals(confusion(labels, shared, k), seed=seed, resamples=resamples)
    return {
        **summarise(result, labels),
        "shared_accuracy": float((shared == labels).mean()),
        "shared_balanced_accuracy": balanced_accuracy(labels, shared),
        "confusion": {
            "classes": list(result.class_names),
            "counts": confusion(labels, result.predicted, k).tolist(),
        },
        "intervals": {
            "accuracy": list(
                interval_of_share(
                    int((result.predicted == labels).sum()), len(labels), ranges["accuracy"]
                )
            ),
            "balanced_accuracy": ranges["balanced_accuracy"].tolist(),
            "shared_balanced_accuracy": closed["balanced_accuracy"].tolist(),
        },
        **alone_figures(result, labels),
    }


def alone_figures(result: Classification, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Balanced accuracies of cells by themselves, where others were taken into account."""
    if not result.adjusted:
        return {}
    among = predicted_among(result.logits, labels)
    return {
        "alone": {
            "balanced_accuracy": balanced_accuracy(labels, result.logits.argmax(axis=1)),
            "shared_balanced_accuracy": balanced_accuracy(labels, among),
        }
    }


def hierarchy_figures(scored: ScoredCells, taxonomy: Taxonomy) -> dict[str, Any]:
    """Strict and tolerant scores, and scores of groups.

    A tolerant score counts a neighbouring class, such as the next stage of maturation, as right
    (Matek et al. 2021). The tolerant precision of a class is the share of the cells given that
    class that are of it or of a neighbour.
    """
    names = scored.result.class_names
    labels, predicted = scored.labels, scored.result.predicted
    tolerated = taxonomy.tolerance(names)[labels, predicted]
    hits = labels == predicted
    rows = {}
    for k in np.unique(labels):
        mine, given = labels == k, predicted == k
        rows[names[k]] = {
            "n": int(mine.sum()),
            "recall_strict": float(hits[mine].mean()),
            "recall_tolerant": float(tolerated[mine].mean()),
            "precision_strict": float(hits[given].mean()) if given.any() else 0.0,
            "precision_tolerant": float(tolerated[given].mean()) if given.any() else 0.0,
            "group": taxonomy.group_of(names[k]),
        }
    groups = group_scores([names[k] for k in labels], [names[k] for k in predicted], taxonomy)
    return {
        "taxonomy": taxonomy.name,
        "title": taxonomy.title,
        "neighbours": [
            [a, b]
            for i, a in enumerate(names)
            for b in names[i + 1 :]
            if taxonomy.are_neighbours(a, b)
        ],
        "strict": _means(hits, labels),
        "tolerant": _means(tolerated, labels),
        "groups": groups,
        "per_class": rows,
    }


def _means(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[str, float]:
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[labels == k].mean() for k in np.unique(labels)])),
    }


def difference(
    one: ScoredCells, other: ScoredCells, *, seed: int = 0, resamples: int = 1000
) -> dict[str, Any] | None:
    """How much better ``one`` is than ``other`` on the same cells, with paired intervals."""
    if [r.path for r in one.records] != [r.path for r in other.records] or not len(one):
        return None
    truth = np.array([r.label for r in one.records], dtype=object)
    _, classes = np.unique(truth.astype(str), return_inverse=True)
    hits = [
        np.array(s.result.class_names, dtype=object)[s.result.predicted] == truth
        for s in (one, other)
    ]

    def statistic(index: NDArray[np.int64]) -> dict[str, float]:
        n = np.bincount(classes[index])
        gap = hits[0][index].astype(float) - hits[1][index]
        shares = np.bincount(classes[index], gap)[n > 0] / n[n > 0]
        return {"accuracy": float(gap.mean()), "balanced_accuracy": float(shares.mean())}

    ranges = resampled_intervals(statistic, len(truth), seed=seed, resamples=resamples)
    whole = statistic(np.arange(len(truth)))
    return {name: {"difference": whole[name], "interval": list(ranges[name])} for name in whole}
