"""Zeta: how far the best class stands out from its nearest rivals.

The doubt score of the published diffusion classifier (Deltadahl et al., Nature Machine
Intelligence 7:1791, 2025). With class errors sorted, e_0 <= e_1 <= ..., and the ``k`` nearest
rivals of the best,

    zeta = mean_j (e_j - e_0) - mean_{j != l} |e_j - e_l|,      j, l in 1..k,

the mean lead over the rivals less the mean spread among them. It is large where one class is near
and all others are far and alike, and small, also negative, where no class stands out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytodiffusion.errors import InputError

#: Rivals that count at most.
RIVALS = 10


def normalised(errors: ArrayLike) -> NDArray[np.float64]:
    """Errors less the smallest of their cell, over their mean: the scale that zeta is defined on.

    Parameters
    ----------
    errors : (N, K) array
        Mean error of each class over the trials, in any unit.

    Returns
    -------
    (N, K) float64 array
        Rows with smallest value 0 and mean 1; zeros where all classes have the same error.

    Raises
    ------
    InputError
        If this is no table of numbers.
    """
    table = _table(errors)
    lead = table - table.min(axis=1, keepdims=True, initial=np.inf)
    mean = lead.mean(axis=1, keepdims=True)
    return np.asarray(np.divide(lead, mean, out=np.zeros_like(lead), where=mean > 0))


def zeta(errors: ArrayLike, *, as_published: bool = False) -> NDArray[np.float64]:
    """How far the best class stands out from its ``k = min(K - 1, 10)`` nearest rivals.

    Parameters
    ----------
    errors : (N, K) array
        Normalised class errors (see `normalised`); any order of the classes.
    as_published : bool
        The authors' code divides by ``k`` and ``k (k - 1)`` but its loops stop one short, so the
        last of the ``k`` rivals is left out of both sums. By default it is counted: then the
        sums are the means that their divisors say, and two classes have a zeta too. True leaves it
        out, for figures to be compared with theirs.

    Returns
    -------
    (N,) float64 array
        Small where no class stands out; 0 where there is one class only.

    Raises
    ------
    InputError
        If this is no table of numbers.
    """
    table = np.sort(_table(errors), axis=1)
    k = min(table.shape[1] - 1, RIVALS)
    if k < 1:
        return np.zeros(len(table))
    rivals = table[:, 1 : k if as_published else k + 1]
    m = rivals.shape[1]
    lead = (rivals - table[:, :1]).sum(axis=1) / k
    # sum of |e_j - e_l| over all ordered pairs of m sorted numbers
    ranks = 2 * np.arange(1, m + 1) - m - 1
    spread = 2 * (rivals * ranks).sum(axis=1) / max(k * (k - 1), 1)
    return np.asarray(lead - spread)


def _table(errors: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(errors, np.float64)
    if table.ndim != 2 or table.shape[1] < 1 or not np.isfinite(table).all():
        raise InputError(
            f"Class errors must be finite numbers, one row a cell and one column a class, not an "
            f"array of shape {table.shape}."
        )
    return table
