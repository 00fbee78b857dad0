"""The cells that a person looks at, as arrays: what the model says of them, and what people say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.result import Classification, join

if TYPE_CHECKING:
    from cytodiffusion.pipeline import CellBatch

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: In the place of a class: nobody, or no model, said any; people said different ones.
NOBODY, DISPUTED = -1, -2


@dataclass(frozen=True, eq=False)
class ReviewCells:
    """N cells of one or several images.

    Attributes
    ----------
    numbers : (N,) int64
        What a cell is called where it comes from: its number in a study, else its label.
    images : tuple of str
        Names of the images.
    pixel_sizes_um : tuple of float
        Micrometres a pixel of each image.
    image : (N,) int64
        Index of the image of each cell.
    labels : (N,) int64
        In the label image.
    centres : (N, 2) float64
        y, x in pixels of the image.
    touches_border : (N,) bool
    class_names, colors : tuple of str
        K classes that a cell may be given, with their colours.
    white : (K,) bool
        Which of them are white cells.
    predicted : (N,) int64
        Class by the model; `NOBODY` where it said nothing.
    posterior : (N, K) float64
        Zero where the model said nothing, and of classes that it does not know.
    entropy, anomaly_score : (N,) float64
        NaN where the model said nothing.
    sure : (N,) bool
        Cells that are sure enough for the error rate that was asked for; none where none was.
    first : (N,) int64
        Class by the model before people corrected any cell, with which people agree or not.
    first_confidence : (N,) float64
        Probability of that class.
    embedding : (N, D) float32 or None
        NaN in the rows of cells that have none.
    """

    numbers: Ints
    images: tuple[str, ...]
    pixel_sizes_um: tuple[float, ...]
    image: Ints
    labels: Ints
    centres: Floats
    touches_border: Bools
    class_names: tuple[str, ...]
    colors: tuple[str, ...]
    white: Bools
    predicted: Ints
    posterior: Floats
    entropy: Floats
    anomaly_score: Floats
    sure: Bools
    first: Ints
    first_confidence: Floats
    embedding: NDArray[np.float32] | None = None
    _rows: dict[int, int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def row_of(self, number: int) -> int | None:
        """Return the row of a cell; None where there is none."""
        if len(self._rows) != len(self):
            self._rows.clear()
            self._rows.update({int(n): row for row, n in enumerate(self.numbers.tolist())})
        return self._rows.get(int(number))

    def rows_of(self, numbers: Iterable[int]) -> Ints:
        """Return the rows of cells; those that are not there are left out."""
        found = (self.row_of(number) for number in numbers)
        return np.array([row for row in found if row is not None], np.int64)

    @property
    def confidence(self) -> Floats:
        """Largest probability ``(N,)``."""
        return np.asarray(self.posterior.max(axis=1, initial=0.0))

    def updated(self, image: str, labels: Ints, result: Classification) -> ReviewCells:
        """Return the cells with what the model says now of some of an image, after corrections.

        Parameters
        ----------
        image : str
            Name of the image.
        labels : (M,) int64 array
            Labels of the cells; those that are not there are left out.
        result : Classification
            Of these cells.
        """
        place = {name: number for number, name in enumerate(self.class_names)}
        spelt = np.array([place.get(name, NOBODY) for name in result.class_names], np.int64)
        number = self.images.index(image) if image in self.images else -1
        here = np.flatnonzero(self.image == number)
        here = here[np.argsort(self.labels[here], kind="stable")]
        at = np.searchsorted(self.labels[here], labels)
        found = at < len(here)
        found[found] = self.labels[here[at[found]]] == np.asarray(labels)[found]
        rows, some = here[at[found]], result[found]
        predicted, posterior = self.predicted.copy(), self.posterior.copy()
        entropy, score = self.entropy.copy(), self.anomaly_score.copy()
        predicted[rows] = spelt[some.predicted]
        posterior[rows] = 0
        for column, known in enumerate(spelt.tolist()):
            if known != NOBODY:
                posterior[rows, known] += some.posterior[:, column]
        entropy[rows], score[rows] = some.entropy, some.anomaly_score
        return replace(
            self, predicted=predicted, posterior=posterior, entropy=entropy, anomaly_score=score
        )


class PeopleSaid:
    """Which class each observer gives each of N cells.

    Parameters
    ----------
    n : int
        Cells.
    said : mapping
        Class ``(N,)`` by observer, `NOBODY` where they said none.
    """

    def __init__(self, n: int, said: Mapping[str, Ints] | None = None) -> None:
        self._n = n
        self._by: dict[str, Ints] = dict(said or {})
        self._human: Ints | None = None

    @property
    def observers(self) -> list[str]:
        """Who said anything."""
        return [name for name, said in self._by.items() if (said != NOBODY).any()]

    def say(self, rows: Ints | Sequence[int], number: int | Ints, observer: str) -> None:
        """Enter the class that an observer gives cells, or one each; `NOBODY` takes it back."""
        if observer not in self._by:
            self._by[observer] = np.full(self._n, NOBODY, np.int64)
        self._by[observer][rows] = number
        self._human = None

    def take(self, observer: str, classes: Ints) -> None:
        """Enter all that an observer says, a class ``(N,)`` for each cell."""
        self._by[observer] = np.asarray(classes, np.int64)
        self._human = None

    def by(self, observer: str) -> Ints:
        """Return what an observer says of each cell ``(N,)``."""
        return self._by.get(observer, np.full(self._n, NOBODY, np.int64))

    @property
    def human(self) -> Ints:
        """Class ``(N,)`` that people give; `NOBODY`, or `DISPUTED` where they disagree."""
        if self._human is None:
            human = np.full(self._n, NOBODY, np.int64)
            for said in self._by.values():
                spoken = said != NOBODY
                other = spoken & (human != NOBODY) & (human != said)
                human[spoken] = np.where(other, DISPUTED, said)[spoken]
            self._human = human
        return self._human


def counted_class(cells: ReviewCells, said: PeopleSaid) -> Ints:
    """Return the class ``(N,)`` that counts: what people agree on, else what the model says."""
    return np.asarray(np.where(said.human >= 0, said.human, cells.predicted))


def cells_of_batches(
    batches: Sequence[CellBatch],
    before: Sequence[CellBatch],
    *,
    image: str,
    colors: Sequence[str],
    white: Bools,
) -> ReviewCells:
    """Return the classified cells of one image.

    Parameters
    ----------
    batches, before : sequence of CellBatch
        The same cells as they are now, and before people corrected any.
    image : str
        Name of the image.
    colors : sequence of str
        Of all K classes.
    white : (K,) bool array
        Which of them are white cells.
    """
    if not batches:
        return no_cells()
    now, first = (join([batch.result for batch in some]) for some in (batches, before))
    crops = [batch.crops for batch in batches]
    ids = np.concatenate([part.ids for part in crops])
    return ReviewCells(
        numbers=ids,
        images=(image,),
        pixel_sizes_um=(float(crops[0].pixel_size_um),),
        image=np.zeros(len(ids), np.int64),
        labels=ids,
        centres=np.concatenate([part.centroids for part in crops]),
        touches_border=np.concatenate([part.touches_border for part in crops]),
        class_names=now.class_names,
        colors=tuple(colors),
        white=np.asarray(white, bool),
        **columns_of(now, first),
    )


def columns_of(now: Classification, first: Classification) -> dict[str, Any]:
    """Return what `ReviewCells` take from a classification, now and before any correction.

    A cell is sure where the model called it so before it was corrected, and still says the same.
    """
    promised = first.accept_above is not None
    sure = ~first.review & ~now.review & (now.predicted == first.predicted)
    return {
        "predicted": now.predicted,
        "posterior": now.posterior,
        "entropy": now.entropy,
        "anomaly_score": now.anomaly_score,
        "sure": sure if promised else np.zeros(len(now), bool),
        "first": first.predicted,
        "first_confidence": first.confidence,
        "embedding": now.embedding,
    }


def no_cells() -> ReviewCells:
    """Return none."""
    ints, floats, bools = (np.zeros(0, kind) for kind in (np.int64, np.float64, bool))
    return ReviewCells(
        numbers=ints,
        images=(),
        pixel_sizes_um=(),
        image=ints,
        labels=ints,
        centres=np.zeros((0, 2)),
        touches_border=bools,
        class_names=(),
        colors=(),
        white=bools,
        predicted=ints,
        posterior=np.zeros((0, 0)),
        entropy=floats,
        anomaly_score=floats,
        sure=bools,
        first=ints,
        first_confidence=floats,
    )
