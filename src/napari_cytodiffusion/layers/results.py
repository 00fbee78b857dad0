"""What is known about the classified cells of one label image, looked up by label id."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cytodiffusion.classification.levels import at_level
from cytodiffusion.classification.result import WHOLE, join
from cytodiffusion.classification.review_order import review_order, small_objects
from cytodiffusion.classification.slide_distance import far_slide
from cytodiffusion.taxonomy import white_classes

if TYPE_CHECKING:
    from cytodiffusion.cells.crops import Crops
    from cytodiffusion.classification.result import Classification
    from cytodiffusion.pipeline import CellBatch

#: Ways to walk through the cells in the Inspect widget; by label tells nothing of the model.
ORDERS = ("uncertainty", "anomaly", "class", "label")

#: Choose the cells for review, those unlike anything in the training, and others among all.
REVIEW, ANOMALY, WHITE, SMALL, UNFIT = "review", "anomaly", "white", "small", "no class fits"

#: What the choices that are there for every model are called.
FILTERS = ((WHITE, "white cells"), (SMALL, "small objects"), (UNFIT, "no class fits well enough"))


@dataclass(frozen=True, eq=False)
class CellRecord:
    """One classified cell: a row of what the engine handed over.

    Whatever a `cytodiffusion.classification.result.Classification` says of a cell can be asked of
    it by the same name, such as ``posterior``, ``confidence`` or ``anomaly``.
    """

    crops: Crops
    result: Classification

    @property
    def label(self) -> int:
        """Label id."""
        return int(self.crops.ids[0])

    @property
    def y(self) -> float:
        """Centre in pixels of the image, from the top."""
        return float(self.crops.centroids[0, 0])

    @property
    def x(self) -> float:
        """Centre in pixels of the image, from the left."""
        return float(self.crops.centroids[0, 1])

    @property
    def area_um2(self) -> float:
        """Area in square micrometres."""
        return float(self.crops.areas_um2[0])

    @property
    def touches_border(self) -> bool:
        """Whether the border of the image cuts it."""
        return bool(self.crops.touches_border[0])

    @property
    def anomaly_scores(self) -> dict[str, float]:
        """Every anomaly score by name."""
        return {name: float(score[0]) for name, score in self.result.anomaly_scores.items()}

    def __getattr__(self, name: str) -> Any:
        """Read what was found of this cell."""
        if name.startswith("_") or name in ("crops", "result"):
            raise AttributeError(name)
        value = getattr(self.result, name)
        if name in WHOLE or value is None:
            return value
        if value.ndim > 1 or value.dtype == object:
            return value[0]
        return value[0].item()


class Results:
    """Batches of classified cells as they arrive.

    Parameters
    ----------
    class_names : sequence of str
        Names of the classes, in the order of the model.
    colors : sequence of str
        Their colours as ``#rrggbb``.
    groups : sequence of str
        Their groups, where the model has any.
    coarse : Results, optional
        Where the classes are finer ones: empty results of the classes of the model itself, which
        get the same cells.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        colors: Sequence[str],
        groups: Sequence[str] = (),
        coarse: Results | None = None,
    ) -> None:
        self._coarse = coarse
        self.class_names = tuple(class_names)
        self.colors = tuple(colors)
        self.groups = tuple(groups)
        self.white = white_classes(self.class_names, groups)
        self.batches: list[CellBatch] = []
        self.counts = np.zeros(len(self.class_names), int)
        self.n_anomalies = 0
        self.n_review = 0
        self.n_unfit = 0
        self.n_by_prior = 0
        self.contradictions = np.zeros(len(self.class_names), int)  #: by class
        self.total = 0
        self.base: Results | None = None  #: what these were before people corrected some
        self._where: dict[int, tuple[int, int]] = {}
        self._orders: dict[tuple[str, int | str | None], list[int]] = {}

    @property
    def coarse(self) -> Results:
        """The same cells with the classes of the model itself, whatever the level shown."""
        return self if self._coarse is None else self._coarse

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, label: int) -> bool:
        return label in self._where

    def add(self, batch: CellBatch) -> None:
        """Take in one `cytodiffusion.pipeline.CellBatch`."""
        # a hundred thousand crops would fill the memory
        batch = batch.without_pixels()
        if self._coarse is not None:
            self._coarse.add(replace(batch, result=at_level(batch.result, "coarse")))
        if batch.revises is None:
            number = len(self.batches)
            self.batches.append(batch)
            self._place(number, batch.crops.ids)
        else:
            self._count(self.batches[batch.revises].result, -1)
            self.batches[batch.revises] = replace(batch, revises=None)
        self._count(batch.result, 1)
        self.total = batch.total
        self._orders = {}

    def compact(self) -> None:
        """Hold all cells as one batch, once there are no more to come.

        A slide of 50,000 cells comes in a thousand batches, and whatever goes through them again
        and again would hold up the window.
        """
        if self._coarse is not None:
            self._coarse.compact()
        if len(self.batches) < 2:
            return
        whole = join_batches(self.batches)
        self.batches = [whole]
        self._where = {}
        self._place(0, whole.crops.ids)

    def _count(self, result: Classification, sign: int) -> None:
        self.counts += sign * np.bincount(result.final, minlength=len(self.counts))
        self.n_anomalies += sign * int(np.count_nonzero(result.anomaly))
        self.n_review += sign * int(np.count_nonzero(result.review))
        self.n_unfit += sign * int(np.count_nonzero(result.no_class_fits))
        self.n_by_prior += sign * int(np.count_nonzero(result.decided_by_prior))
        contradicted = result.predicted[result.contradicted]
        self.contradictions += sign * np.bincount(contradicted, minlength=len(self.counts))

    @property
    def slide_note(self) -> str | None:
        """What to tell of the slide's distance from the training, once it is measured."""
        if not self.batches or self.batches[-1].result.slide_distance is None:
            return None
        last = self.batches[-1].result
        # that of the coarse level, which was lowered
        sure = np.concatenate([batch.result.confidence for batch in self.coarse.batches])
        return far_slide(last.slide_distance, last.sure_before, float(sure.mean()))

    def record(self, label: int) -> CellRecord | None:
        """Everything about one cell, or None when it is not classified."""
        place = self._where.get(int(label))
        if place is None:
            return None
        number, row = place
        batch, row_only = self.batches[number], slice(row, row + 1)
        return CellRecord(batch.crops[row_only], batch.result[row_only])

    def describe(self, label: int) -> str | None:
        """Name a cell, its class and confidence in a few words."""
        place = self._where.get(int(label))
        if place is None:
            return None
        result, row = self.batches[place[0]].result, place[1]
        name = self.class_names[result.predicted[row]]
        unusual = ", unlike anything in the training" if result.anomaly[row] else ""
        unsure = ", for review" if result.review[row] else ""
        unfit = ", no class fits well enough" if result.no_class_fits[row] else ""
        if result.by_human[row] >= 0:
            said = self.class_names[result.by_human[row]]
            return f"{said} by a person, {name} {percent(result.confidence[row])} (cell {label})"
        return f"{name} {percent(result.confidence[row])}{unsure}{unusual}{unfit} (cell {label})"

    def ordered(self, by: str, only: int | str | None = None) -> list[int]:
        """Label ids in the order to look at them."""
        if not self.batches:
            return []
        key = by, only
        if key not in self._orders:
            self._orders[key] = self._ordered(by, only)
        return self._orders[key]

    def _ordered(self, by: str, only: int | str | None) -> list[int]:
        ids = self._column(lambda b: b.crops.ids)
        predicted = self._column(lambda b: b.result.final)
        if by == "label":
            order = np.argsort(ids)
        elif by == "class":
            order = np.lexsort((ids, self._column(lambda b: b.result.confidence), predicted))
        else:
            strange = "anomaly_score" if by == "anomaly" else "entropy"
            order = review_order(
                self._column(lambda b: getattr(b.result, strange)),
                ids,
                self.white[predicted],
                self._column(lambda b: b.crops.touches_border),
            )
        if isinstance(only, str):
            order = order[self._chosen(only)[order]]
        elif only is not None:
            order = order[predicted[order] == only]
        return ids[order].tolist()

    def _chosen(self, only: str) -> np.ndarray:
        """Which cells are of a choice that is not a class."""
        if only == WHITE:
            return np.asarray(self.white[self._column(lambda b: b.result.final)])
        if only == SMALL:
            return small_objects(self._column(lambda b: b.crops.areas_um2))
        name = {REVIEW: "review", ANOMALY: "anomaly", UNFIT: "no_class_fits"}[only]
        return self._column(lambda b: getattr(b.result, name))

    def without(self, labels: Collection[int]) -> Results:
        """Return the results of all other cells."""
        other = copy.copy(self)
        other.batches, other._where, other._coarse, other._orders = [], {}, None, {}
        other.base = None if self.base is None else self.base.without(labels)
        other.counts = np.zeros_like(self.counts)
        other.contradictions = np.zeros_like(self.contradictions)
        for name in [name for name in vars(self) if name.startswith("n_")]:
            setattr(other, name, 0)
        gone = np.asarray(sorted(labels), np.int64)
        for batch in self.batches:
            stays = ~np.isin(batch.crops.ids, gone)
            if stays.any():
                crops, result = batch.crops[stays], batch.result[stays]
                other.add(replace(batch, crops=crops, result=result))
        other.total = len(other)
        other._coarse = None if self._coarse is None else self._coarse.without(labels)
        return other

    def n_unlike(self, other: Results) -> int:
        """How many cells that nobody labelled the model calls another class than other results.

        The other ones are of the same cells, in the same order.
        """
        if len(self) != len(other) or not len(self):
            return 0
        now, then = (one._column(lambda b: b.result.predicted) for one in (self, other))
        return int(
            np.count_nonzero((now != then) & (self._column(lambda b: b.result.by_human) < 0))
        )

    @property
    def uncorrected(self) -> Results:
        """The results as they were before people corrected some."""
        return self if self.base is None else self.base

    def learned(
        self, batches: Sequence[CellBatch], colors: Sequence[str], groups: Sequence[str]
    ) -> Results:
        """Return what corrected cells made of these results, which stay as they are.

        Parameters
        ----------
        batches : sequence of CellBatch
            The same cells.
        colors, groups : sequence of str
            Of all classes, new ones included.
        """
        shown = batches[0].result
        before, coarse = self.uncorrected.coarse, None
        if shown.coarse is not None:
            names = shown.coarse.class_names
            new = len(names) - len(before.class_names)
            own_colors, own_groups = (
                (*all_[: len(before.class_names)], *more[len(more) - new :])
                for all_, more in ((before.colors, colors), (before.groups, groups))
            )
            coarse = Results(names, own_colors, own_groups)
        other = Results(shown.class_names, colors, groups, coarse)
        for batch in batches:
            other.add(batch)
        other.total, other.base = self.total, self.uncorrected
        return other

    def _place(self, number: int, ids: np.ndarray) -> None:
        """Remember where the cells of a batch are."""
        self._where.update({label: (number, row) for row, label in enumerate(ids.tolist())})

    def _column(self, get: Callable[[CellBatch], Any]) -> np.ndarray:
        return np.concatenate([np.asarray(get(batch)) for batch in self.batches])


def join_batches(batches: Sequence[CellBatch]) -> CellBatch:
    """Return the cells of several batches, without their pixels, as one."""
    first = batches[0]
    some = [batch.crops for batch in batches]
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(crops, name) for crops in some])
        for name in ("ids", "centroids", "areas_um2", "touches_border")
    }
    pixels = np.broadcast_to(np.uint8(0), (len(parts["ids"]), *first.crops.pixels.shape[1:]))
    result = join([batch.result for batch in batches])
    last = batches[-1]
    return replace(
        first,
        crops=replace(first.crops, pixels=pixels, **parts),
        result=result,
        done=last.done,
        total=last.total,
    )


def percent(share: float) -> str:
    """Write a probability as a percentage that never claims certainty it does not have."""
    if share > 0.99:
        return ">99 %" if share < 1 else "100 %"
    return f"{100 * share:.0f} %"
