"""The differential count: which share of the white cells each class is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cytodiffusion.files.writers import final_names
from cytodiffusion.metrics.intervals import Interval, wilson_interval
from cytodiffusion.settings import setting

if TYPE_CHECKING:
    import pandas as pd


class DifferentialSettings(BaseModel):
    """How many white cells are counted."""

    model_config = ConfigDict(frozen=True)

    stop_at: int | None = setting(
        100,
        "Stop at",
        "White cells after which the differential count stops; with none, all are counted.",
        unit="white cells",
        ge=1,
        le=100_000,
    )


@dataclass(frozen=True, eq=False)
class FieldCells:
    """The classified cells of one image.

    Attributes
    ----------
    class_names : tuple of str
        K names.
    white : (K,) bool array
        Which of them are white cells.
    predicted : (N,) integer array
        What a person said, where one did.
    centroids : (N, 2) array
        y, x in pixels.
    touches_border, review : (N,) bool array
    """

    class_names: tuple[str, ...]
    white: NDArray[np.bool_]
    predicted: NDArray[np.int64]
    centroids: NDArray[np.float64]
    touches_border: NDArray[np.bool_]
    review: NDArray[np.bool_]


def table_cells(
    frame: pd.DataFrame, class_names: Sequence[str], white: NDArray[np.bool_]
) -> FieldCells:
    """Return the cells of a table with the columns of ``cells.csv``."""
    number = {name: index for index, name in enumerate(class_names)}
    return FieldCells(
        class_names=tuple(class_names),
        white=white,
        predicted=np.array([number[name] for name in final_names(frame)], np.int64),
        centroids=frame[["y", "x"]].to_numpy(np.float64),
        touches_border=frame["touches_border"].to_numpy(bool),
        review=frame["review"].to_numpy(bool),
    )


@dataclass(frozen=True)
class ClassShare:
    """One class among the counted white cells; the interval is that of 95 %."""

    name: str
    count: int
    share: float
    interval: Interval


@dataclass(frozen=True)
class Differential:
    """A differential count.

    Attributes
    ----------
    classes : tuple of ClassShare
        White classes in the order of the model, those without a cell among them.
    counted : int
        White cells that were counted.
    found : int
        White cells that could have been, had it not stopped.
    stop_at : int or None
    cut : int
        White cells that are not counted, as the border of an image cuts them.
    review : int
        Counted cells that are for review.
    others : dict of int
        Cells of the other classes, none of which is counted.
    images : int
    """

    classes: tuple[ClassShare, ...]
    counted: int
    found: int
    stop_at: int | None
    cut: int
    review: int
    others: dict[str, int]
    images: int

    @property
    def complete(self) -> bool:
        """Whether as many cells are counted as it is to stop at."""
        return self.stop_at is not None and self.counted >= self.stop_at

    def headline(self) -> str:
        """Return the count in a line, the most frequent class first."""
        of = "" if self.stop_at is None else f" of {self.stop_at:,}"
        ranked = sorted((c for c in self.classes if c.count), key=lambda c: -c.count)
        shares = (f"{c.name} {c.count:,} ({100 * c.share:.0f} %)" for c in ranked)
        return "; ".join((f"White cells: {self.counted:,}{of}", ", ".join(shares))).rstrip("; ")

    def remarks(self) -> list[str]:
        """Return what one has to know of the count, a sentence each."""
        said = []
        if self.complete and self.found > self.counted:
            where = (
                "image by image as they were classified, from the top of each"
                if self.images > 1
                else "from the top of the image"
            )
            said.append(
                f"{self.stop_at:,} reached: these are the first of {self.found:,} white cells, "
                f"{where}."
            )
        elif self.complete:
            said.append(f"{self.stop_at:,} reached.")
        if self.images > 1:
            said.append(f"Added up over {self.images:,} images.")
        left = [f"{name} {count:,}" for name, count in self.others.items() if count]
        left += [f"white cells cut by the border {self.cut:,}"] if self.cut else []
        if left:
            said.append(f"Not counted: {', '.join(left)}.")
        if self.review:
            said.append(f"{self.review:,} of the counted are for review.")
        return said

    def record(self) -> dict[str, Any]:
        """Return the count for the record of a result."""
        return {
            "counted": self.counted,
            "cut_by_border": self.cut,
            "for_review": self.review,
            "classes": {
                c.name: {"cells": c.count, "share": c.share, "interval": list(c.interval)}
                for c in self.classes
            },
        }

    def as_text(self, decimal: str = ".") -> str:
        """Return the count as a table with tabs between its columns, for a spreadsheet."""

        def percent(share: float) -> str:
            return "" if np.isnan(share) else f"{100 * share:.1f}".replace(".", decimal)

        rows: list[tuple[str, ...]] = [("class", "cells", "percent", "95 % from", "95 % to")]
        rows += [
            (c.name, str(c.count), *(percent(share) for share in (c.share, *c.interval)))
            for c in self.classes
        ]
        rows.append(
            ("white cells", str(self.counted), percent(1.0) if self.counted else "", "", "")
        )
        return "".join("\t".join(row) + "\n" for row in rows)


def differential(fields: Iterable[FieldCells], stop_at: int | None = None) -> Differential:
    """Count the white cells of images.

    Red cells, platelets, artefacts and cells that the border cuts are left out. With ``stop_at``,
    the first white cells are counted, image by image in the order given and from the top of each
    image to its bottom.
    """
    fields = list(fields)
    names, others = _names(fields, True), dict.fromkeys(_names(fields, False), 0)
    found: list[str] = []
    unsure: list[bool] = []
    cut = 0
    for cells in fields:
        own = np.array(cells.class_names, object)
        white = np.asarray(cells.white, bool)[cells.predicted]
        for name in own[cells.predicted[~white]]:
            others[name] += 1
        cut += int((white & cells.touches_border).sum())
        index = np.flatnonzero(white & ~cells.touches_border)
        index = index[np.lexsort((cells.centroids[index, 1], cells.centroids[index, 0]))]
        found += own[cells.predicted[index]].tolist()
        unsure += cells.review[index].tolist()
    counted = found[:stop_at]
    total = len(counted)
    classes = []
    for name in names:
        count = counted.count(name)
        share = count / total if total else float("nan")
        classes.append(ClassShare(name, count, share, wilson_interval(count, total)))
    return Differential(
        classes=tuple(classes),
        counted=total,
        found=len(found),
        stop_at=stop_at,
        cut=cut,
        review=sum(unsure[:stop_at]),
        others=others,
        images=len(fields),
    )


def _names(fields: Sequence[FieldCells], white: bool) -> list[str]:
    """Return the classes of all images that are white cells, or those that are not."""
    named = (
        name
        for cells in fields
        for name, is_white in zip(cells.class_names, cells.white, strict=True)
        if bool(is_white) is white
    )
    return list(dict.fromkeys(named))
