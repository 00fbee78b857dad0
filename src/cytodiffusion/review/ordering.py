"""In which order cells are looked at, and which of them are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cytodiffusion.classification.review_order import review_order
from cytodiffusion.review.cells import (
    NOBODY,
    Bools,
    Floats,
    Ints,
    PeopleSaid,
    ReviewCells,
    counted_class,
)

Order = Literal[
    "uncertainty", "anomaly", "class", "similar", "disagreement", "learner", "place", "chance"
]

#: Orders that tell nothing of what the model says.
BLIND_ORDERS: tuple[Order, ...] = ("chance", "place", "similar")


@dataclass(frozen=True)
class CellFilter:
    """Which cells are shown; None shows all.

    Attributes
    ----------
    class_index : int or None
        Cells of this class, by people where they said any.
    image : int or None
        Cells of this image.
    labelled : bool or None
        Cells that people gave a class, or did not.
    observer : str or None
        Cells that this observer gave a class; with ``labelled`` False those that they did not.
    blind : bool
        Whether what the model says is to tell nothing.
    """

    class_index: int | None = None
    image: int | None = None
    labelled: bool | None = None
    observer: str | None = None
    blind: bool = False

    def shown(self, cells: ReviewCells, said: PeopleSaid) -> Bools:
        """Return which cells ``(N,)`` are shown."""
        shown = np.ones(len(cells), bool)
        if self.image is not None:
            shown &= cells.image == self.image
        if self.class_index is not None:
            by = said.human if self.blind else counted_class(cells, said)
            shown &= by == self.class_index
        if self.observer is not None:
            spoke = said.by(self.observer) != NOBODY
            shown &= ~spoke if self.labelled is False else spoke
        elif self.labelled is not None:
            shown &= (said.human != NOBODY) == self.labelled
        return shown


def order_cells(
    cells: ReviewCells,
    said: PeopleSaid,
    by: Order,
    *,
    like: int | None = None,
    seed: int = 0,
) -> Ints:
    """Return the rows ``(N,)`` of the cells in an order.

    Parameters
    ----------
    by : str
        ``"uncertainty"`` and ``"anomaly"``: as `review_order` has it. ``"class"``: class by class,
        the least sure first. ``"similar"``: the more alike the embedding is to that of a cell, the
        earlier. ``"disagreement"``: where people contradict the model (the surer it was, the
        earlier) or each other; then those that nobody has looked at, by uncertainty.
        ``"learner"``: those that a model learns most from. ``"place"``: image by image, by label.
        ``"chance"``: in a random order.
    like : int, optional
        Row of the cell that others are compared with.
    seed : int
        For what is random.
    """
    if by == "class":
        final = counted_class(cells, said)
        return np.lexsort((cells.numbers, cells.confidence, np.where(final < 0, 10_000, final)))
    if by == "similar":
        return np.lexsort((cells.numbers, distances(cells, 0 if like is None else like)))
    if by == "disagreement":
        return _by_disagreement(cells, said)
    if by == "place":
        return np.lexsort((cells.labels, cells.image))
    if by == "chance":
        return np.random.default_rng(seed).permutation(len(cells)).astype(np.int64)
    if by == "learner":
        return _by_learning(cells, said, seed)
    strange = cells.anomaly_score if by == "anomaly" else cells.entropy
    return _by_strangeness(cells, said, strange)


def _by_strangeness(cells: ReviewCells, said: PeopleSaid, strange: Floats) -> Ints:
    final = counted_class(cells, said)
    white = np.append(cells.white, True)[np.where(final < 0, -1, final)]
    # what the model said nothing of is looked at before what it is sure of
    known = np.where(np.isnan(strange), np.inf, strange)
    return review_order(known, cells.numbers, white, cells.touches_border)


def _by_disagreement(cells: ReviewCells, said: PeopleSaid) -> Ints:
    human = said.human
    labelled = human != NOBODY
    against = labelled & (human != cells.first)
    group = np.where(against, 0, np.where(labelled, 2, 1))
    unsure = np.nan_to_num(cells.entropy, nan=np.inf)
    return np.lexsort((cells.numbers, -np.where(against, cells.first_confidence, unsure), group))


def _by_learning(cells: ReviewCells, said: PeopleSaid, seed: int) -> Ints:
    """Order cells by what a model would learn from them; those that people labelled come last."""
    from cytodiffusion.teaching import choose  # it brings what clusters

    labelled = said.human != NOBODY
    if not len(cells) or labelled.all():
        return np.argsort(cells.numbers, kind="stable")
    known = cells.posterior[:, cells.posterior.any(axis=0)]
    if known.shape[1] < 2:  # no model has said anything
        known = np.full((len(cells), 2), 0.5)
    sums = known.sum(axis=1, keepdims=True)
    shares = np.where(sums > 0, known / np.where(sums > 0, sums, 1), 1 / known.shape[1])
    chosen = choose(shares, cells.embedding, labelled, seed=seed)
    return np.concatenate([chosen, np.flatnonzero(labelled)]).astype(np.int64)


def distances(cells: ReviewCells, row: int) -> Floats:
    """Return how far cells ``(N,)`` are from one of them, infinite where nothing is known.

    Euclidean between embeddings; between square roots of posteriors (Hellinger) where the cell has
    no embedding.
    """
    if not len(cells):
        return np.zeros(0)
    if cells.embedding is not None and np.isfinite(cells.embedding[row]).all():
        away = cells.embedding - cells.embedding[row]
    else:
        roots = np.sqrt(cells.posterior)
        away = roots - roots[row]
    squared = np.einsum("nd,nd->n", away, away).astype(np.float64)
    return np.where(np.isnan(squared), np.inf, squared)
