"""Exact intervals and tests of shares, and the measures of signal detection theory.

The signal is a synthetic cell: a hit is a synthetic cell that is recognised, a false alarm a real
one that is called synthetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest, fisher_exact, norm

from cytodiffusion.authenticity.answers import Answers
from cytodiffusion.evaluation.psychometric.curve import (
    FEWEST,
    LEVEL,
    NOT_INSTALLED,
    THRESHOLD_AT,
    fit_curve,
    is_available,
)
from cytodiffusion.metrics.intervals import exact_interval
from cytodiffusion.progress import Progress, silent


def share(k: int, n: int) -> dict[str, Any]:
    """Return a share with its exact interval (Clopper & Pearson 1934)."""
    if n == 0:
        return {"right": 0, "n": 0, "value": None, "interval": None}
    return {"right": k, "n": n, "value": k / n, "interval": list(exact_interval(k, n))}


def chance(k: int, n: int) -> float | None:
    """Exact two-sided p of so many right answers or more extreme ones by guessing."""
    return float(binomtest(k, n, 0.5).pvalue) if n else None


def detection(hits: int, signals: int, alarms: int, noises: int) -> dict[str, Any]:
    """Sensitivity and bias of a yes-no observer."""
    if not signals or not noises:
        return {"dprime": None, "dprime_interval": None, "criterion": None}
    hit, alarm = (hits + 0.5) / (signals + 1), (alarms + 0.5) / (noises + 1)
    z_hit, z_alarm = float(norm.ppf(hit)), float(norm.ppf(alarm))
    variance = sum(
        p * (1 - p) / (n * float(norm.pdf(z)) ** 2)
        for p, n, z in ((hit, signals, z_hit), (alarm, noises, z_alarm))
    )
    reach = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt(variance)
    d = z_hit - z_alarm
    return {
        "dprime": d,
        "dprime_interval": [d - reach, d + reach],
        "criterion": -(z_hit + z_alarm) / 2,
    }


def paired_p(only_first: int, only_second: int) -> float:
    """Exact McNemar test of two observers of the same cells: who of them alone was right."""
    n = only_first + only_second
    return float(binomtest(only_first, n, 0.5).pvalue) if n else 1.0


def unpaired_p(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Fisher's exact test of two observers of different cells: ``(right, all)`` of each."""
    table = [[right, n - right] for right, n in (first, second)]
    return float(fisher_exact(table).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p values of several tests (Holm 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


#: Others who must have judged a cell for their share of right answers to be an index.
OTHERS = 2

STATED = {
    "participants": "share of the other participants who were right about the cell",
    "model": "the model's posterior of the cell's class",
}


def psychometric_curves(
    answers: Answers, seed: int = 0, progress: Progress = silent
) -> dict[str, Any]:
    """Fit a curve to the answers of each participant."""
    table = answers.table
    index, kind = _by_others(table), "participants"
    if int(np.isfinite(index).sum()) < FEWEST:
        index, kind = table["confidence"].to_numpy(float), "model"
    if int(np.isfinite(index).sum()) < FEWEST:
        return {"why": f"{len(table)} answers are too few, or nothing says how easy a cell is"}
    if not is_available():
        return {"why": NOT_INSTALLED}
    observers = {}
    for number, name in enumerate(answers.participants):
        progress(number / len(answers.participants), f"psychometric curve of {name}")
        own = ((table["participant"] == name) & np.isfinite(index)).to_numpy()
        observers[name] = _fit(index[own], table["right"].to_numpy(bool)[own], seed)
    return {
        "index": {"kind": kind, "stated": STATED[kind]},
        "guess_rate": 0.5,
        "threshold_at": THRESHOLD_AT,
        "level": LEVEL,
        "observers": observers,
    }


def _fit(index: NDArray[np.float64], right: NDArray[np.bool_], seed: int) -> dict[str, Any]:
    found = share(int(right.sum()), len(right))
    if found["n"] >= FEWEST and found["interval"][0] <= 0.5:
        return {
            "n": found["n"],
            "accuracy": found["value"],
            "why": "no better than guessing: there is no threshold to find",
        }
    return fit_curve(index, right, 2, seed)


def _by_others(table: pd.DataFrame) -> NDArray[np.float64]:
    """Share of the others who were right about each answer's cell; NaN where they are few."""
    grouped = table.groupby(["test", "cell"])["right"]
    others = grouped.transform("size").to_numpy(float) - 1
    right = grouped.transform("sum").to_numpy(float) - table["right"].to_numpy(float)
    return np.where(others >= OTHERS, right / np.maximum(others, 1), np.nan)
