"""Exact intervals and tests of shares, and the measures of signal detection theory.

The signal is a synthetic cell: a hit is a synthetic cell that is called so, a false alarm a real
one that is called synthetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scipy.stats import binomtest, fisher_exact, norm

#: Level of all intervals.
LEVEL = 0.95


def share(k: int, n: int) -> dict[str, Any]:
    """Return a share with its exact interval (Clopper & Pearson 1934).

    Returns
    -------
    dict
        ``right``, ``n``, ``value`` and ``interval``; the last two None where ``n`` is 0.
    """
    if n == 0:
        return {"right": 0, "n": 0, "value": None, "interval": None}
    ends = binomtest(k, n).proportion_ci(LEVEL, method="exact")
    return {"right": k, "n": n, "value": k / n, "interval": [float(ends.low), float(ends.high)]}


def chance(k: int, n: int) -> float | None:
    """Exact two-sided p of so many right answers or more extreme ones by guessing."""
    return float(binomtest(k, n, 0.5).pvalue) if n else None


def detection(hits: int, signals: int, alarms: int, noises: int) -> dict[str, Any]:
    """Sensitivity and bias of a yes-no observer.

    Parameters
    ----------
    hits, signals : int
        Synthetic cells that were called synthetic, and all.
    alarms, noises : int
        Real cells that were called synthetic, and all.

    Returns
    -------
    dict
        ``dprime`` with ``dprime_interval`` (normal approximation, Gourevitch & Galanter 1967) and
        ``criterion``, above 0 for an observer who would rather say real. One half is added to
        the counts and one to the cells (log-linear rule, Hautus 1995), so that both exist
        whatever the answers are. All None without cells of both kinds.
    """
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
