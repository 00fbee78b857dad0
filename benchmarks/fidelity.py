"""How like real cells synthetic ones are, how varied, and whether they are copies.

All of it compares points in a space of features; what it says is what that space can see.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from cytodiffusion.errors import InputError

#: Neighbours that span a manifold: of precision and recall, and of density and coverage, as in
#: their papers.
MANIFOLD, DENSITY = 3, 5

#: Cells of each subset that the kernel distance is averaged over, and how many subsets.
SUBSET, SUBSETS = 100, 100


@dataclass(frozen=True)
class Fidelity:
    """Synthetic cells against real ones.

    Attributes
    ----------
    precision : float
        Share of the synthetic cells that lie where real ones do (Kynkaanniemi et al. 2019).
    recall : float
        Share of the real cells that lie where synthetic ones do.
    density : float
        How many real neighbourhoods a synthetic cell lies in, over what is expected; about 1 for
        cells of one distribution (Naeem et al. 2020).
    coverage : float
        Share of the real cells with a synthetic one in their neighbourhood.
    kernel_distance : float
        Unbiased squared maximum mean discrepancy with the cubic kernel (Binkowski et al. 2018);
        0 for cells of one distribution, which it may miss by some of its standard error.
    kernel_distance_sd : float
        Standard deviation over the subsets that it is the mean of.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    kernel_distance: float
    kernel_distance_sd: float

    def record(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)


def fidelity(real: ArrayLike, synthetic: ArrayLike, *, seed: int = 0) -> Fidelity:
    """Compare features of synthetic cells ``(M, D)`` with those of real ones ``(N, D)``.

    The numbers depend on how many cells there are: compare sets of the same size only.

    Raises
    ------
    InputError
        With `DENSITY` cells or fewer on either side, or different features.
    """
    a, b = _checked(real), _checked(synthetic)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"Cells of {a.shape[1]} and of {b.shape[1]} features do not compare.")
    distance = pairwise_distances(a, b)
    wide, narrow = _radii(a, DENSITY), _radii(a, MANIFOLD)
    other = _radii(b, MANIFOLD)
    mean, sd = kernel_distance(a, b, seed=seed)
    return Fidelity(
        precision=float((distance <= narrow[:, None]).any(axis=0).mean()),
        recall=float((distance <= other[None]).any(axis=1).mean()),
        density=float((distance <= wide[:, None]).sum(axis=0).mean() / DENSITY),
        coverage=float((distance.min(axis=1) <= wide).mean()),
        kernel_distance=mean,
        kernel_distance_sd=sd,
    )


def kernel_distance(
    one: ArrayLike, other: ArrayLike, *, subset: int = SUBSET, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation, over random subsets, of the kernel distance of two sets.

    Parameters
    ----------
    one, other : (N, D) and (M, D) array
    subset : int
        Cells of each subset, or as many as there are.
    seed : int
    """
    a, b = _checked(one), _checked(other)
    rng = np.random.default_rng(seed)
    n = min(subset, len(a), len(b))
    found = [
        _discrepancy(
            a[rng.choice(len(a), n, replace=False)], b[rng.choice(len(b), n, replace=False)]
        )
        for _ in range(SUBSETS)
    ]
    return float(np.mean(found)), float(np.std(found))


def nearest_distances(cells: ArrayLike, training: ArrayLike) -> NDArray[np.float64]:
    """Distance ``(N,)`` of each cell ``(N, D)`` to the nearest training cell ``(M, D)``."""
    search = NearestNeighbors(n_neighbors=1).fit(np.asarray(training, np.float64))
    found, _ = search.kneighbors(np.asarray(cells, np.float64))
    return np.asarray(found[:, 0], np.float64)


def memorisation(synthetic: NDArray[np.floating], held_out: NDArray[np.floating]) -> dict[str, Any]:
    """Compare how near synthetic and held-out real cells come to the training cells.

    A generator that copies comes nearer than real cells of the same kind do.

    Parameters
    ----------
    synthetic, held_out : (N,) and (M,) array
        Distances to the nearest training cell.

    Returns
    -------
    dict
        ``synthetic`` and ``held_out``: quantiles; ``ratio`` of the medians (below 1: nearer);
        ``nearer_than_1_percent`` and ``nearer_than_5_percent``: share of the synthetic cells that
        are nearer than this share of the held-out ones is (about 0.01 and 0.05 when they are
        alike).
    """
    shares = (0.01, 0.05, 0.25, 0.5, 0.75)
    low = np.quantile(held_out, (0.01, 0.05))
    return {
        "synthetic": dict(zip(map(str, shares), np.quantile(synthetic, shares), strict=True)),
        "held_out": dict(zip(map(str, shares), np.quantile(held_out, shares), strict=True)),
        "ratio": float(np.median(synthetic) / np.median(held_out)),
        "nearer_than_1_percent": float((synthetic < low[0]).mean()),
        "nearer_than_5_percent": float((synthetic < low[1]).mean()),
    }


def _checked(features: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(features, np.float64)
    if found.ndim != 2 or len(found) <= DENSITY:
        raise InputError(f"A comparison needs features of more than {DENSITY} cells on each side.")
    return found


def _radii(features: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Distance of each point to its k-th neighbour, itself not counted."""
    found, _ = NearestNeighbors(n_neighbors=k).fit(features).kneighbors()
    return np.asarray(found[:, -1], np.float64)


def _discrepancy(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    n, d = a.shape
    own = [(x @ x.T / d + 1) ** 3 for x in (a, b)]
    between = (a @ b.T / d + 1) ** 3
    within = sum((k.sum() - np.trace(k)) / (n * (n - 1)) for k in own)
    return float(within - 2 * between.mean())
