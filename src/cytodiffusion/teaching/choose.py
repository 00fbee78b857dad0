"""Which cells to ask a person about next: active learning.

The strategies are those that the literature compares (Settles, Active Learning, 2012; Sener and
Savarese, Active Learning for CNNs: A Core-Set Approach, 2018; Ash et al., Deep Batch Active
Learning by Diverse, Uncertain Gradient Lower Bounds, 2020; Hacohen et al., Active Learning on a
Budget: Opposite Strategies Suit High and Low Budgets, 2022). All of them work on what the model
made of the cells already, so that none takes more than a second for 50,000 cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.scores import entropy, margin
from cytodiffusion.classification.slide_distance import likeliest_sets
from cytodiffusion.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Strategy = Literal[
    "hybrid", "margin", "least-confident", "entropy", "set-size", "k-centre", "clusters", "random"
]

#: Names of all strategies; the first one is used where none is named.
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

#: Cells that are chosen one by one for being unlike those before; what comes after them is in the
#: order of the margin.
MOST_APART = 300

#: Of so many times as many cells as are wanted, the least certain ones, the hybrid draws its own.
DRAWN_FROM = 10

#: Probability that the smallest prediction sets hold.
COVERAGE = 0.95

#: Cells that clusters are found among, and neighbours that tell how typical a cell is.
CLUSTERED, NEIGHBOURS = 5000, 20


def choose(
    posterior: NDArray[np.floating],
    embedding: NDArray[np.floating] | None,
    labelled: NDArray[np.bool_],
    strategy: Strategy = "hybrid",
    count: int | None = None,
    seed: int = 0,
) -> Ints:
    """Choose the cells whose classes would teach a model most.

    Parameters
    ----------
    posterior : (N, K) array
        Probabilities of the classes.
    embedding : (N, D) array or None
        What the network makes of each cell. None, or rows that are not finite: strategies that
        need it go by the margin.
    labelled : (N,) bool array
        Cells that people gave a class; they are never chosen.
    strategy : str
        - ``"hybrid"``: unsure cells that are unlike each other (BADGE); as long as nothing is
          labelled, ``"clusters"``.
        - ``"margin"``: smallest lead of the likeliest class over the second.
        - ``"least-confident"``: least probable likeliest class.
        - ``"entropy"``: largest entropy.
        - ``"set-size"``: most classes in the smallest set that holds 95 % of the probability.
        - ``"k-centre"``: farthest from all labelled and chosen cells.
        - ``"clusters"``: the most typical cell of each of as many clusters as are asked for, the
          largest clusters without a labelled cell first (TypiClust).
        - ``"random"``: any.
    count : int, optional
        How many; by default all.
    seed : int
        For what is drawn.

    Returns
    -------
    (M,) int64 array
        Rows, the most telling first; M is ``count``, or fewer where fewer are not labelled.

    Raises
    ------
    InputError
        If there is no such strategy, or the arrays do not fit each other.
    """
    table = np.asarray(posterior, np.float64)
    known = np.asarray(labelled, bool)
    if strategy not in STRATEGIES:
        raise InputError(f"There is no strategy {strategy!r}; there are {', '.join(STRATEGIES)}.")
    if table.ndim != 2 or known.shape != (len(table),):
        raise InputError("Cells are chosen from one row of probabilities and one flag a cell.")
    if embedding is not None and len(embedding) != len(table):
        raise InputError("Cells are chosen from as many embeddings as there are probabilities.")
    free = np.flatnonzero(~known)
    wanted = len(free) if count is None else max(0, min(int(count), len(free)))
    if not wanted:
        return np.zeros(0, np.int64)
    rng = np.random.default_rng(seed)
    if strategy == "random":
        return np.asarray(rng.permutation(free)[:wanted], np.int64)
    if strategy in _DOUBTS:
        return free[_order(_DOUBTS[strategy](table[free]))][:wanted]
    if embedding is None or not np.isfinite(embedding).all():
        return free[_order(_DOUBTS["margin"](table[free]))][:wanted]
    places = _standardised(np.asarray(embedding, np.float64))
    most = min(wanted, MOST_APART)
    if strategy == "clusters" or (strategy == "hybrid" and not known.any()):
        first = _typical(places, known, most, rng)
    elif strategy == "k-centre":
        first = _farthest(places, known, most, rng)
    else:
        first = _apart_and_unsure(table, places, free, most, rng)
    left = np.setdiff1d(free, first)
    rest = left[_order(_DOUBTS["margin"](table[left]))]
    return np.concatenate([first, rest])[:wanted].astype(np.int64)


def _set_size(posterior: Floats) -> Floats:
    """Classes in the smallest sets, and among cells with as many of them their entropy."""
    sizes = likeliest_sets(posterior, COVERAGE).sum(axis=1)
    return np.asarray(sizes + entropy(posterior) / (np.log(max(2, posterior.shape[1])) + 1))


#: How doubtful cells ``(N,)`` are.
_DOUBTS: dict[str, Callable[[Floats], Floats]] = {
    "margin": lambda p: 1 - margin(p),
    "least-confident": lambda p: 1 - p.max(axis=1),
    "entropy": entropy,
    "set-size": _set_size,
}


def _order(doubt: Floats) -> Ints:
    """Return rows, the most doubtful first."""
    return np.argsort(-doubt, kind="stable")


def _standardised(embedding: Floats) -> Floats:
    """Return embeddings of mean 0 and mean square 1; columns that vary more count for more."""
    away = embedding - embedding.mean(axis=0)
    spread = np.sqrt(np.square(away).sum(axis=1).mean())
    return np.asarray(away / spread if spread > 0 else away)


def _farthest(
    places: Floats, known: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> Ints:
    """Choose cells one by one, each as far as can be from all that are known or chosen."""
    near = np.full(len(places), np.inf)
    for start in range(0, int(known.sum()), 256):
        some = places[np.flatnonzero(known)[start : start + 256]]
        near = np.minimum(near, _squared(places, some).min(axis=1))
    near[known] = -1.0
    chosen: list[int] = []
    for _ in range(count):
        free = np.isinf(near)
        row = int(rng.choice(np.flatnonzero(free))) if free.any() else int(near.argmax())
        chosen.append(row)
        near = np.minimum(near, _squared(places, places[row : row + 1])[:, 0])
        near[row] = -1.0
        near[known] = -1.0
    return np.array(chosen, np.int64)


def _apart_and_unsure(
    posterior: Floats, places: Floats, free: Ints, count: int, rng: np.random.Generator
) -> Ints:
    """Choose unsure cells that are unlike each other, as BADGE does.

    Each cell has the gradient that its likeliest class, were it true, would have on a linear head:
    long where the model is unsure, its direction the class and the looks of the cell. Cells are
    drawn as k-means++ draws its centres, the longest first. The product of class and looks is never
    formed: its distances follow from those of its factors.
    """
    doubt = _order(_DOUBTS["margin"](posterior[free]))[: DRAWN_FROM * count]
    rows = free[doubt]
    own, looks = posterior[rows].copy(), np.concatenate([places[rows], np.ones((len(rows), 1))], 1)
    own[np.arange(len(rows)), own.argmax(axis=1)] -= 1
    length = np.square(own).sum(axis=1) * np.square(looks).sum(axis=1)
    chosen = [int(length.argmax())]
    near = np.full(len(rows), np.inf)
    while len(chosen) < count:
        last = chosen[-1]
        same = (own @ own[last]) * (looks @ looks[last])
        near = np.minimum(near, np.maximum(length + length[last] - 2 * same, 0.0))
        near[chosen] = 0.0
        total = near.sum()
        left = np.setdiff1d(np.arange(len(rows)), chosen)
        chosen.append(int(rng.choice(len(rows), p=near / total)) if total > 0 else int(left[0]))
    return rows[chosen]


def _typical(
    places: Floats, known: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> Ints:
    """Choose the most typical cell of each of many clusters, the largest unlabelled ones first."""
    from sklearn.cluster import KMeans  # slow to import
    from sklearn.neighbors import NearestNeighbors

    rows = np.arange(len(places))
    if len(rows) > CLUSTERED:
        some = rng.permutation(np.flatnonzero(~known))[:CLUSTERED]
        rows = np.sort(np.concatenate([some, np.flatnonzero(known)[:CLUSTERED]]))
    here, labelled = places[rows], known[rows]
    n_clusters = min(count + int(labelled.sum()), len(rows))
    start = int(rng.integers(2**31))
    of = KMeans(n_clusters, n_init=1, random_state=start).fit(here).labels_
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows))).fit(here)
    typical = -near.kneighbors(here)[0].mean(axis=1)
    sizes = np.bincount(of, minlength=n_clusters)
    said = np.bincount(of, weights=labelled, minlength=n_clusters)
    free = ~labelled
    chosen: list[int] = []
    for cluster in np.lexsort((-sizes, said > 0)):
        own = np.flatnonzero((of == cluster) & free)
        if len(own) and len(chosen) < count:
            chosen.append(int(rows[own[typical[own].argmax()]]))
    if len(chosen) < count:  # clusters of labelled cells alone
        left = np.setdiff1d(np.flatnonzero(~known), chosen)
        chosen += rng.permutation(left)[: count - len(chosen)].tolist()
    return np.array(chosen, np.int64)


def _squared(cells: Floats, others: Floats) -> Floats:
    """Squared distances ``(N, M)``."""
    both = np.square(cells).sum(axis=1)[:, None] + np.square(others).sum(axis=1)
    return np.asarray(np.maximum(both - 2 * cells @ others.T, 0.0))
