"""How far a person has come, and how often they agree with the model so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytodiffusion.metrics.intervals import Interval, wilson_interval
from cytodiffusion.review.cells import (
    DISPUTED,
    NOBODY,
    Ints,
    PeopleSaid,
    ReviewCells,
    counted_class,
)


@dataclass(frozen=True, eq=False)
class ReviewCounts:
    """Counts of cells.

    Attributes
    ----------
    cells, labelled, to_do : int
        All, those that people gave a class, and the others.
    confirmed, corrected : int
        Labelled cells whose class was that of the model before any correction, and was another.
    disputed : int
        Those that people gave different classes.
    classes : (K,) int64
        Cells of each class: by people where they agree, else by the model.
    given : (K,) int64
        Cells that people gave each class.
    """

    cells: int
    labelled: int
    confirmed: int
    corrected: int
    disputed: int
    classes: Ints
    given: Ints

    @property
    def to_do(self) -> int:
        """Cells that nobody has given a class."""
        return self.cells - self.labelled

    @property
    def agreement(self) -> tuple[float, Interval] | None:
        """Share of labels that are the model's, with its 95 % interval (Wilson).

        None without any. It is the share of the cells that were looked at: uncertain ones first
        give less than a random choice.
        """
        n = self.confirmed + self.corrected
        return None if not n else (self.confirmed / n, wilson_interval(self.confirmed, n))


def count_cells(cells: ReviewCells, said: PeopleSaid) -> ReviewCounts:
    """Count cells by what people and the model say of them."""
    human, k = said.human, len(cells.class_names)
    given = human[human >= 0]
    first = cells.first[human >= 0]
    known = first != NOBODY
    final = counted_class(cells, said)
    return ReviewCounts(
        cells=len(cells),
        labelled=int(np.count_nonzero(human != NOBODY)),
        confirmed=int(np.count_nonzero((given == first) & known)),
        corrected=int(np.count_nonzero((given != first) & known)),
        disputed=int(np.count_nonzero(human == DISPUTED)),
        classes=np.bincount(final[final >= 0], minlength=k).astype(np.int64),
        given=np.bincount(given, minlength=k).astype(np.int64),
    )
