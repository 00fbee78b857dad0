"""Which cells to decide and which to leave to a person, from an error rate the user sets.

The confidence above which cells are accepted is found on validation cells by fixed-sequence
testing of an exact binomial bound (Clopper & Pearson 1934; learn then test, Angelopoulos et al.
2021): candidate thresholds are tested from the strictest to the most lenient and the last one
before the first failure is taken, so that the many looks cost nothing.

A field has a hundred red cells for each white one, and hardly a red cell is wrong: a rate that
holds over all cells says little of the white ones. So it is asked for among white cells too, and
the stricter of the two thresholds is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError

#: Chance that the error rate of accepted cells is above the one asked for all the same.
RISK = 0.05

#: Candidate thresholds at most.
STEPS = 60


@dataclass(frozen=True)
class Acceptance:
    """Which cells are accepted, and what that rests on.

    Attributes
    ----------
    above : float
        Cells whose confidence is above it are accepted, all others are for review.
    error_rate : float
        Asked for.
    risk : float
        Chance, over the draw of the validation cells, that the rate is exceeded.
    accepted, wrong : int
        Validation cells that are accepted, and how many of these were wrong.
    share : float
        Of the validation cells that is accepted.
    """

    above: float
    error_rate: float
    risk: float
    accepted: int
    wrong: int
    share: float


def upper_bound(wrong: int, total: int, risk: float = RISK) -> float:
    """Highest error rate that ``wrong`` errors in ``total`` cells do not rule out at ``risk``."""
    return float(upper_bounds(np.array([wrong]), np.array([total]), risk)[0])


def upper_bounds(
    wrong: NDArray[np.int64], total: NDArray[np.int64], risk: float
) -> NDArray[np.float64]:
    """Return `upper_bound` of several counts; 1 where all cells are wrong."""
    right = np.maximum(total - wrong, 1)
    from scipy.special import betaincinv  # slow to import

    bounds = betaincinv(wrong + 1, right, 1.0 - risk)
    return np.asarray(np.where(wrong >= total, 1.0, bounds))


def cells_needed(error_rate: float, wrong: int = 0, risk: float = RISK) -> int:
    """Fewest accepted validation cells that promise ``error_rate`` with ``wrong`` errors."""
    if wrong == 0:
        return math.ceil(math.log(risk) / math.log1p(-error_rate))
    low, high = wrong + 1, wrong + 2
    while upper_bound(wrong, high, risk) > error_rate:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        enough = upper_bound(wrong, middle, risk) <= error_rate
        low, high = (low, middle) if enough else (middle + 1, high)
    return low


def find_acceptance(
    confidence: NDArray[np.floating],
    correct: NDArray[np.bool_],
    error_rate: float,
    risk: float = RISK,
) -> Acceptance | None:
    """Confidence above which at most ``error_rate`` of the cells are wrong.

    Parameters
    ----------
    confidence : (M,) array
        Of validation cells.
    correct : (M,) bool array
        Whether their predicted class is the true one.
    error_rate : float
        Between 0 and 1.
    risk : float
        Chance that the promise fails, over the draw of the validation cells.
    """
    order = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    sure = np.asarray(confidence, np.float64)[order]
    wrong = np.concatenate([[0], np.cumsum(~np.asarray(correct, bool)[order])])
    total = len(sure)
    ranks = np.array(_ranks(total, error_rate, risk), np.int64)
    # cells of the same confidence stand and fall together
    accepted = np.searchsorted(-sure, -sure[ranks - 1], side="right")
    kept = np.cumprod(upper_bounds(wrong[accepted], accepted, risk) <= error_rate).sum()
    if not kept:
        return None
    n = int(accepted[kept - 1])
    # strictly above a value that is not counted itself: the cells above it are then a plain
    # sample of all cells above it, and the binomial bound is exact
    above = float(sure[n]) if n < total else 0.0
    return Acceptance(above, error_rate, risk, n, int(wrong[n]), n / total)


def _ranks(total: int, error_rate: float, risk: float) -> list[int]:
    """How many cells the candidate thresholds accept, fewest first; depends on no label."""
    # starting where one error is forgiven, a single unlucky cell does not end the search
    start = cells_needed(error_rate, 1, risk)
    if start > total:
        start = cells_needed(error_rate, 0, risk)
    if start > total:
        return []
    return sorted({round(r) for r in np.linspace(start, total, STEPS)})


def find_stricter(
    confidence: NDArray[np.floating],
    correct: NDArray[np.bool_],
    error_rate: float,
    white: NDArray[np.bool_] | None,
    risk: float = RISK,
) -> Acceptance | None:
    """Find the acceptance that holds over all cells and, by itself, over the white ones.

    Parameters
    ----------
    white : (M,) bool array or None
        Which validation cells are white, or were taken for white; None where nobody knows.
    """
    found = find_acceptance(confidence, correct, error_rate, risk)
    if found is None or white is None or not white.any():
        return found
    strict = find_acceptance(confidence[white], correct[white], error_rate, risk)
    if strict is None or strict.above <= found.above:
        return None if strict is None else found
    accepted = np.asarray(confidence) > strict.above
    n, wrong = int(accepted.sum()), int((accepted & ~np.asarray(correct, bool)).sum())
    return Acceptance(strict.above, error_rate, risk, n, wrong, n / len(accepted))


def accept(
    confidence: NDArray[np.floating],
    correct: NDArray[np.bool_],
    error_rate: float,
    *,
    model: str,
    white: NDArray[np.bool_] | None = None,
    risk: float = RISK,
) -> Acceptance:
    """Find the acceptance as `find_stricter` does, or say why there is none."""
    found = find_stricter(confidence, correct, error_rate, white, risk)
    if found is not None:
        return found
    asked, kind = f"an error rate of {error_rate:.2g}", "validation cells"
    if white is not None and find_acceptance(confidence, correct, error_rate, risk) is not None:
        confidence, correct = confidence[white], correct[white]
        asked, kind = f"{asked} among white cells", "white validation cells"
    have = len(confidence)
    if have == 0:
        raise InputError(
            f"The model {model} cannot promise {asked}: it was calibrated without a record of its "
            "errors; train or calibrate it again."
        )
    needed = cells_needed(error_rate, 0, risk)
    if have < needed:
        raise InputError(
            f"The model {model} cannot promise {asked}: that needs at least {needed:,} {kind} "
            f"and it was calibrated on {have:,}."
        )
    least = lowest_error_rate(confidence, correct, risk, error_rate)
    instead = (
        f"the least it can promise is about {least:.2g}"
        if least is not None
        else "it can promise none"
    )
    raise InputError(
        f"The model {model} cannot promise {asked}: too many of its surest {kind} are "
        f"wrong; {instead}."
    )


def lowest_error_rate(
    confidence: NDArray[np.floating],
    correct: NDArray[np.bool_],
    risk: float = RISK,
    above: float = 0.0,
) -> float | None:
    """Lowest error rate that can be promised, of two digits; None where none below 1 can.

    With ``above``, the lowest that is no lower: which ones can be promised has gaps.
    """
    least = max(above, upper_bound(0, len(confidence), risk))  # if none were wrong
    for rate in (d * 10.0**e for e in range(-5, 0) for d in np.arange(1.0, 10.0, 0.1)):
        if rate >= least and find_acceptance(confidence, correct, float(rate), risk) is not None:
            return float(np.round(rate, 8))
    return None
