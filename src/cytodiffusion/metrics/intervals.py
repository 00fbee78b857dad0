"""Intervals: bootstrap (Efron & Tibshirani 1993, percentile method) and those of counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.settings import RESAMPLES as RESAMPLES

#: Level of all intervals.
LEVEL = 0.95

Interval = tuple[float, float]


def percentile_interval(samples: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """Return the central interval of bootstrap samples; NaN where no resample could tell."""
    known = samples[np.isfinite(samples)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval_of_share(
    right: int, n: int, drawn: NDArray[np.float64], level: float = LEVEL
) -> Interval:
    """Interval of a share; exact (Clopper & Pearson 1934) where the bootstrap sees no spread.

    Resamples of cells that are all right, or all wrong, are all alike: an interval of no width
    would claim a certainty that a few cells cannot give.

    Parameters
    ----------
    right, n : int
        The share is ``right / n``.
    drawn : (2,) array
        The bootstrap's interval.
    """
    if not n or 0 < right < n:
        return float(drawn[0]), float(drawn[1])
    nearest = float(((1 - level) / 2) ** (1 / n))
    return (nearest, 1.0) if right else (0.0, 1 - nearest)


def wilson_interval(count: int, n: int, level: float = LEVEL) -> Interval:
    """Interval of the share ``count / n`` (Wilson 1927); NaN where there is nothing to count."""
    if not n:
        return float("nan"), float("nan")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = count / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    low = 0.0 if count == 0 else middle - half
    return low, 1.0 if count == n else middle + half


def exact_interval(count: int, n: int, level: float = LEVEL) -> Interval:
    """Interval of the share ``count / n`` (Clopper & Pearson 1934); NaN of nothing counted."""
    if not n:
        return float("nan"), float("nan")
    from scipy.stats import binomtest  # takes long to import

    ends = binomtest(count, n).proportion_ci(level, method="exact")
    return float(ends.low), float(ends.high)


def rates_of_confusion(counts: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Figures that follow from confusion matrices.

    Parameters
    ----------
    counts : (..., K, K) array
        Cells of true class (row) and predicted class (column).
    """
    counts = np.asarray(counts, np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    true, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    occurs = true > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = np.where(occurs, right / true, np.nan)
        precision = np.where(predicted > 0, right / predicted, np.where(occurs, 0.0, np.nan))
        f1 = np.where(occurs, 2 * right / (true + predicted), np.nan)
        accuracy = right.sum(axis=-1) / counts.sum(axis=(-2, -1))
        classes = occurs.sum(axis=-1)
        balanced = np.where(occurs, recall, 0.0).sum(axis=-1) / classes
        macro = np.where(occurs, f1, 0.0).sum(axis=-1) / classes
    return {
        "accuracy": accuracy,
        "balanced_accuracy": balanced,
        "macro_f1": macro,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def confusion_intervals(
    counts: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, NDArray[np.float64]]:
    """Bootstrap intervals of everything `rates_of_confusion` gives.

    Drawing N cells with replacement and counting them into a confusion matrix is one draw of a
    multinomial distribution over the entries of the matrix, so all resamples are drawn at once.
    """
    k, total = len(counts), int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(
        total, counts.ravel() / max(total, 1), size=resamples
    )
    rates = rates_of_confusion(draws.reshape(resamples, k, k))
    found = {}
    for name, samples in rates.items():
        if samples.ndim == 1:
            found[name] = np.array(percentile_interval(samples))
        else:
            found[name] = np.array([percentile_interval(samples[:, j]) for j in range(k)])
    return found


def resampled_intervals(
    statistic: Callable[[NDArray[np.int64]], Mapping[str, float]],
    n: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Bootstrap intervals of whatever ``statistic`` computes from drawn cells."""
    rng = np.random.default_rng(seed)
    rows = [statistic(rng.integers(0, n, n)) for _ in range(resamples)]
    return {
        name: percentile_interval(np.array([row[name] for row in rows], np.float64))
        for name in (rows[0] if rows else {})
    }


def stratified_intervals(
    statistic: Callable[[NDArray[np.int64], NDArray[np.int64]], Mapping[str, float]],
    sizes: tuple[int, int],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Bootstrap intervals of a statistic of two groups, each resampled within itself."""
    rng = np.random.default_rng(seed)
    first, second = sizes
    rows = [
        statistic(rng.integers(0, first, first), rng.integers(0, second, second))
        for _ in range(resamples)
    ]
    return {
        name: percentile_interval(np.array([row[name] for row in rows], np.float64))
        for name in (rows[0] if rows else {})
    }
