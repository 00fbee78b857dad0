"""Pictures of cells for a gallery: cut out in a thread when they are wanted, kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QImage

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.progress import Progress
from napari_cytodiffusion.shared.tiles import image_of
from napari_cytodiffusion.workers import Job

#: Pictures cut out at a time, and bytes of pictures that are kept.
_BATCH, _KEPT_BYTES = 24, 120_000_000

#: Cuts out the pictures of some rows at a side, part by part: rows, and their pictures
#: ``(n, side, side, 3)`` or why there are none. Called in a thread.
Cut = Callable[
    [Sequence[int], int], Iterator[tuple[Sequence[int], np.ndarray | CytoDiffusionError]]
]


class _Wanted:
    """What is wanted, shared with the thread that makes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[int] = []
        self._cut: Cut | None = None
        self._side, self._age = 0, 0

    def reset(self, cut: Cut | None, side: int) -> None:
        """Make pictures in another way from now on."""
        with self._lock:
            self._cut, self._side, self._age, self._rows = cut, side, self._age + 1, []

    def put(self, rows: Sequence[int]) -> None:
        """Want these rows, and no longer those before."""
        with self._lock:
            self._rows = list(rows)

    @property
    def age(self) -> int:
        """How often everything was wanted anew."""
        return self._age

    @property
    def any(self) -> bool:
        """Whether something is wanted."""
        return bool(self._rows) and self._cut is not None

    def take(self) -> tuple[int, list[int], int, Cut] | None:
        """Take some rows off the list, with how to make them."""
        with self._lock:
            some, self._rows = self._rows[:_BATCH], self._rows[_BATCH:]
            return (self._age, some, self._side, self._cut) if some and self._cut else None

    def close(self, *_: object) -> None:
        """Want nothing more."""
        self.reset(None, 0)


class Thumbnails(QObject):
    """Pictures of rows of a table of cells.

    Signals
    -------
    ready ()
        More pictures are there.
    failed (str)
        Some could not be made; a sentence, told once each.
    """

    ready = Signal()
    failed = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._images: OrderedDict[int, QImage] = OrderedDict()
        self._missing: set[int] = set()
        self._told: set[str] = set()
        self._side = 96
        self._wanted = _Wanted()
        self._cut: Cut | None = None
        self._job: Job | None = None
        # a plain object and no slot of this one, which is half gone by then
        self.destroyed.connect(self._wanted.close)

    def set_source(self, cut: Cut | None) -> None:
        """Make pictures of other cells from now on."""
        self._cut = cut
        self._told.clear()
        self._forget()

    def set_side(self, side: int) -> None:
        """Make pictures of another size from now on."""
        if side != self._side:
            self._side = side
            self._forget()

    def _forget(self) -> None:
        self._images.clear()
        self._missing.clear()
        self._wanted.reset(self._cut, self._side)

    def get(self, row: int) -> QImage | None:
        """Return a picture if it is there."""
        image = self._images.get(row)
        if image is not None:
            self._images.move_to_end(row)
        return image

    def want(self, rows: Iterable[int]) -> None:
        """Make the pictures of these rows that are missing, the first ones first."""
        missing = [row for row in rows if row not in self._images and row not in self._missing]
        self._wanted.put(missing)
        self._start()

    def _start(self) -> None:
        if self._job is None and self._wanted.any:
            self._job = Job(pictures_body(self._wanted), self)
            self._job.yielded.connect(self._on_pictures)
            self._job.ended.connect(self._on_ended)
            self._job.start()

    def _on_pictures(self, made: Any) -> None:
        age, rows, pixels = made
        if age != self._wanted.age:
            return
        if isinstance(pixels, CytoDiffusionError):
            self._missing.update(rows)
            if str(pixels) not in self._told:
                self._told.add(str(pixels))
                self.failed.emit(str(pixels))
            return
        for row, one in zip(rows, pixels, strict=True):
            self._images[row] = image_of(one)
        most = max(200, _KEPT_BYTES // (4 * self._side**2))
        while len(self._images) > most:
            self._images.popitem(last=False)
        self.ready.emit()

    def _on_ended(self, _: str) -> None:
        self._job = None
        self._start()  # something may have been wanted since the thread looked last


def pictures_body(wanted: _Wanted) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that makes what is wanted, until nothing is."""

    def body(report: Progress) -> Iterator[Any]:
        for age, rows, side, cut in iter(partial(wanted.take), None):
            report(0.0, "")
            for some, made in cut(rows, side):
                yield age, some, made

    return body
