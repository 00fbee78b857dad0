"""How far observers agree: kappa of two or of many, and agreement class by class.

All intervals are bootstrap intervals over cells. Where everybody agrees on every cell, resamples
are all alike, and the interval is the exact one of the share (see `interval_of_share`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.metrics.curves import confusion
from cytodiffusion.metrics.intervals import Interval, interval_of_share, percentile_interval
from cytodiffusion.settings import RESAMPLES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """How far observers agree on the same cells.

    Attributes
    ----------
    cells : int
        That at least two of them labelled.
    share : float
        Share of agreement, 0 to 1: of pairs of observers of a cell, those who gave one class.
    share_interval : (float, float)
        95 %.
    kappa : float
        Agreement beyond chance: 0 for as much as by guessing, 1 for all; NaN where everybody gave
        one class only, so that nothing can be said beyond chance.
    kappa_interval : (float, float)
        95 %.
    """

    cells: int
    share: float
    share_interval: Interval
    kappa: float
    kappa_interval: Interval


@dataclass(frozen=True)
class ClassAgreement:
    """How far observers agree about a class.

    Attributes
    ----------
    cells : int
        To which at least one of several observers gave the class.
    share : float
        Where one observer gives the class, the share of the others who give it, too (specific
        agreement); NaN where nobody gave it.
    interval : (float, float)
        95 %.
    """

    cells: int
    share: float
    interval: Interval


def cohens_kappa(
    first: Ints, second: Ints, n_classes: int, *, seed: int = 0, resamples: int = RESAMPLES
) -> Agreement:
    """Agreement of two observers of the same cells (Cohen 1960, unweighted).

    Parameters
    ----------
    first, second : (N,) int64
        Class index that each of the two gave each cell.
    n_classes : int
    seed : int
        Of the resamples.
    resamples : int
        Of the bootstrap.

    Returns
    -------
    Agreement
    """
    counts = confusion(first, second, n_classes)
    share, kappa, chance = _of_confusion(counts)
    total = int(counts.sum())
    draws = _drawn(counts.ravel(), seed, resamples).reshape(-1, n_classes, n_classes)
    shares, kappas, _ = _of_confusion(draws)
    return _agreement(total, float(share), shares, float(kappa), kappas, float(chance))


def fleiss_kappa(votes: Ints, *, seed: int = 0, resamples: int = RESAMPLES) -> Agreement:
    """Agreement of many observers, of whom not all need have labelled every cell.

    With equally many labels for each cell it is the kappa of Fleiss (1971); otherwise its form for
    missing labels (Gwet, Handbook of Inter-Rater Reliability, 2014, chapter 2).

    Parameters
    ----------
    votes : (N, K) int64
        How many observers gave each class to each cell; cells with fewer than two labels count for
        nothing.
    seed : int
        Of the resamples.
    resamples : int
        Of the bootstrap.

    Returns
    -------
    Agreement
    """
    kinds, counts = _kinds(votes)
    share, kappa, chance = _of_votes(kinds, counts)
    shares, kappas, _ = _of_votes(kinds, _drawn(counts, seed, resamples))
    return _agreement(int(counts.sum()), float(share), shares, float(kappa), kappas, float(chance))


def agreement_by_class(
    votes: Ints, *, seed: int = 0, resamples: int = RESAMPLES
) -> list[ClassAgreement]:
    """Specific agreement of each class (Uebersax 1982, the proportion of specific agreement).

    Parameters
    ----------
    votes : (N, K) int64
        As `fleiss_kappa` takes them.
    seed : int
        Of the resamples.
    resamples : int
        Of the bootstrap.

    Returns
    -------
    list of ClassAgreement
        One for each of the K classes.
    """
    kinds, counts = _kinds(votes)
    shares = _specific(kinds, counts)
    drawn = _specific(kinds, _drawn(counts, seed, resamples))
    cells = counts @ (kinds > 0)
    found = []
    for k, share in enumerate(shares):
        n, interval = int(cells[k]), percentile_interval(drawn[:, k])
        if share in (0.0, 1.0):
            interval = interval_of_share(n if share else 0, n, np.array(interval))
        found.append(ClassAgreement(n, float(share), interval))
    return found


def _agreement(
    cells: int, share: float, shares: Floats, kappa: float, kappas: Floats, chance: float
) -> Agreement:
    shared, beyond = percentile_interval(shares), percentile_interval(kappas)
    if share in (0.0, 1.0):  # an interval without width would claim what a few cells cannot show
        shared = interval_of_share(cells if share else 0, cells, np.array(shared))
        if chance < 1:
            beyond = (shared[0] - chance) / (1 - chance), (shared[1] - chance) / (1 - chance)
    return Agreement(cells, share, shared, kappa, beyond)


def _drawn(counts: Ints, seed: int, resamples: int) -> Ints:
    """Draw cells with replacement, as counts ``(R, P)`` of cells of each kind."""
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / max(total, 1), size=resamples)
    return np.asarray(drawn, np.int64)


def _kinds(votes: Ints) -> tuple[Ints, Ints]:
    """Return the distinct rows of votes ``(P, K)`` with two labels or more, and how many of each.

    Cells with the same votes are alike to every statistic, and there are few kinds of them, so that
    all resamples can be counted at once.
    """
    several = votes[votes.sum(axis=1) > 1]
    kinds, counts = np.unique(several, axis=0, return_counts=True)
    return kinds.reshape(-1, votes.shape[1]), counts.astype(np.int64)


def _of_confusion(counts: NDArray[np.integer]) -> tuple[Floats, Floats, Floats]:
    """Return agreement, kappa and agreement by chance of confusion matrices ``(..., K, K)``."""
    total = counts.sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.trace(counts, axis1=-2, axis2=-1) / total
        chance = (counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1) / np.square(
            total, dtype=np.float64
        )
        return share, (share - chance) / (1 - chance), chance


def _of_votes(kinds: Ints, counts: Ints) -> tuple[Floats, Floats, Floats]:
    """Return agreement, kappa and agreement by chance; ``counts`` is ``(..., P)``."""
    labels = kinds.sum(axis=1)
    same = (np.square(kinds).sum(axis=1) - labels) / (labels * (labels - 1))
    total = counts.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = counts @ same / total
        classes = counts @ (kinds / labels[:, None]) / np.expand_dims(total, -1)
        chance = np.square(classes).sum(axis=-1)
        return share, (share - chance) / (1 - chance), chance


def _specific(kinds: Ints, counts: Ints) -> Floats:
    """Return the specific agreement ``(..., K)``; ``counts`` is ``(..., P)``."""
    others = kinds.sum(axis=1)[:, None] - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(counts @ (kinds * (kinds - 1) / others) / (counts @ kinds))
