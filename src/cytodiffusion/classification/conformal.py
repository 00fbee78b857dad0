"""Prediction sets that hold the true class as often as was asked for (split conformal)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Cells of a class that may be stranger than the asked coverage allows, at least.
ENOUGH = 2.0


def conformal_p_values(
    posterior: Floats, scores: Floats, classes: NDArray[np.int64] | None = None
) -> Floats:
    """How usual each class is for each cell, compared with validation cells.

    Split conformal prediction with the score ``1 - p(class)`` (Sadinle et al. 2019), without random
    smoothing, so that the same cell always gets the same answer.

    Parameters
    ----------
    posterior : (N, K) array
    scores : (M,) array
        ``1 - p(true class)`` of validation cells.
    classes : (M,) integer array, optional
        True classes of the validation cells. When given, each class is compared with its own
        cells only (Mondrian), and the coverage holds for every class by itself.

    Returns
    -------
    (N, K) array
        ``(1 + #{validation scores >= 1 - p}) / (M + 1)``: for a cell like the validation cells,
        that of its true class is at most ``a`` with at most the probability ``a``.
    """
    strange = 1.0 - posterior
    if classes is None:
        return _at_least(strange, scores)
    columns = [_at_least(strange[:, c], scores[classes == c]) for c in range(posterior.shape[1])]
    return np.stack(columns, axis=1)


def _at_least(strange: Floats, scores: Floats) -> Floats:
    """Share of the scores, one more in either number, that are at least as strange."""
    ordered = np.sort(np.asarray(scores, np.float64))
    stranger = len(ordered) - np.searchsorted(ordered, strange, side="left")
    return np.asarray((1 + stranger) / (len(ordered) + 1))


def conformal_sets(
    posterior: Floats,
    scores: Floats,
    coverage: float,
    classes: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Classes ``(N, K)`` that cannot be ruled out at ``coverage``.

    A set holds the true class with at least the probability ``coverage`` for cells that are
    exchangeable with the validation cells, and hardly more: it is empty where no class is usual
    enough, which happens to the least sure cells of a classifier that is right more often
    than ``coverage``.
    """
    return np.asarray(conformal_p_values(posterior, scores, classes) > 1.0 - coverage)


def enough_of_each(classes: NDArray[np.int64], n_classes: int, coverage: float) -> bool:
    """Whether every class has validation cells enough to be covered by itself.

    Twice as many as it takes to rule a class out at all: with fewer, sets are large for want of
    cells rather than of knowledge.

    Parameters
    ----------
    classes : (M,) integer array
        True classes of the validation cells.
    n_classes : int
        Classes of the model.
    coverage : float
        Between 0 and 1.
    """
    counts = np.bincount(classes, minlength=n_classes)
    return bool(counts.min() * (1.0 - coverage) >= ENOUGH - 1e-9)


def measured_coverage(
    posterior: Floats, labels: NDArray[np.int64], coverage: float, *, folds: int = 10
) -> dict[str, float]:
    """Coverage and mean size of sets on labelled cells, by cross-validation over folds.

    Parameters
    ----------
    posterior : (N, K) array
    labels : (N,) integer array
    coverage : float
        Asked for.
    folds : int
        At most; never more than cells.
    """
    n = len(labels)
    if n < 2:
        return {}
    # cells may come sorted by class: every n-th one, not blocks
    fold = np.arange(n) % min(folds, n)
    true = 1.0 - posterior[np.arange(n), labels]
    sets = {name: np.zeros(posterior.shape, bool) for name in ("", "by_class_")}
    for number in range(fold.max() + 1):
        here, rest = fold == number, fold != number
        sets[""][here] = conformal_sets(posterior[here], true[rest], coverage)
        sets["by_class_"][here] = conformal_sets(
            posterior[here], true[rest], coverage, labels[rest]
        )
    figures = {"asked": coverage}
    for name, chosen in sets.items():
        figures[f"{name}measured"] = float(chosen[np.arange(n), labels].mean())
        figures[f"{name}size"] = float(chosen.sum(axis=1).mean())
    return figures
