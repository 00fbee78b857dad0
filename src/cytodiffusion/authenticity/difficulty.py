"""Psychometric functions of the participants, where there is enough to fit them.

How easy a cell is is taken from somebody else: the share of the other participants who were right
about it, where three and more judged the same cells, else the model's posterior of its class. The
curve is fitted as those of an evaluation are (`cytodiffusion.evaluation.psychometric`); guessing is
right one time in two. A participant who does no better than guessing has no threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.authenticity.answers import Answers
from cytodiffusion.authenticity.statistics import share
from cytodiffusion.evaluation.psychometric import (
    FEWEST,
    LEVEL,
    NOT_INSTALLED,
    THRESHOLD_AT,
    fit_curve,
    is_available,
)
from cytodiffusion.progress import Progress, silent

#: Others who must have judged a cell for their share of right answers to be an index.
OTHERS = 2
STATED = {
    "participants": "share of the other participants who were right about the cell",
    "model": "the model's posterior of the cell's class",
}


def psychometric_curves(
    answers: Answers, seed: int = 0, progress: Progress = silent
) -> dict[str, Any]:
    """Fit a curve to the answers of each participant.

    Returns
    -------
    dict
        ``index`` (``kind`` and ``stated``), ``guess_rate``, ``threshold_at``, ``level`` and
        ``observers``, each as `fit_curve` gives it, or with ``why`` there is none; ``why`` alone
        where nothing can be fitted.
    """
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
