"""Segment large images tile by tile and join the pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.result import Segmentation

#: Larger images are segmented in tiles.
TILE_ABOVE_PIXELS = 20_000_000
TILE = 3072
#: How far tiles overlap: more than the largest cell.
OVERLAP_UM = 30.0

SegmentTile = Callable[[NDArray[np.uint8], Progress], Segmentation]


@dataclass(frozen=True)
class Tile:
    """A rectangle of the image; the last row and column are exclusive."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The slices of the tile."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


def tiles(shape: tuple[int, int], tile: int = TILE, overlap: int = 256) -> list[Tile]:
    """Cover an image of `shape` with tiles of at most `tile` pixels a side, row by row.

    Neighbours share at least `overlap` pixels, and all tiles of an image are about the same size.
    """
    if not 0 <= 2 * overlap < tile:
        raise InputError(f"An overlap of {overlap} pixels is too much for tiles of {tile} pixels.")
    rows, columns = (list(_spans(side, tile, overlap)) for side in shape)
    return [Tile(y0, x0, y1, x1) for y0, y1 in rows for x0, x1 in columns]


def segment_tiles(
    image: Any,
    segment_tile: SegmentTile,
    *,
    tile: int = TILE,
    overlap: int = 256,
    progress: Progress = silent,
) -> tuple[NDArray[np.int32], NDArray[np.uint8] | None, tuple[str, ...]]:
    """Segment an image tile by tile.

    A cell that is cut by the edge of a tile is taken from the neighbour, which sees it whole,
    unless it is larger than the overlap: then its pieces are joined. A cell found in two tiles is
    kept once. Beyond the labels no more than one tile is in memory.

    Parameters
    ----------
    image : (Y, X, 3) uint8
        Numpy or lazy; read tile by tile.
    segment_tile : callable
        Segments the pixels of one tile.
    tile, overlap : int
        In pixels.

    Returns
    -------
    labels : (Y, X) int32
        1..N without gaps.
    kinds : (N,) uint8 or None
        As in :class:`Segmentation`, where every tile had them.
    warnings : tuple of str
        Those of all tiles, each once.
    """
    shape = (int(image.shape[0]), int(image.shape[1]))
    todo = tiles(shape, tile, overlap)
    joined = _Joined(shape, overlap)
    for number, part in enumerate(todo):

        def report(fraction: float, message: str, done: int = number) -> None:
            text = f"Tile {done + 1} of {len(todo)}: {message}"
            progress((done + fraction) / len(todo), text)

        report(0.0, "reading")
        found = segment_tile(np.ascontiguousarray(image[part.window]), report)
        joined.add(part, found)
    progress(1.0, f"{joined.count} cells")
    return joined.labels, joined.all_kinds(), tuple(joined.warnings)


class _Joined:
    """The label image that tiles are added to."""

    def __init__(self, shape: tuple[int, int], overlap: int) -> None:
        self.labels = np.zeros(shape, np.int32)
        self.overlap = overlap
        self.count = 0
        self.kinds: list[int] | None = []
        self.warnings: dict[str, None] = {}

    def add(self, part: Tile, found: Segmentation) -> None:
        """Add the cells of a tile."""
        self.warnings.update(dict.fromkeys(found.warnings))
        here = self.labels[part.window]
        for index, box in enumerate(ndimage.find_objects(found.labels)):
            if box is None:
                continue
            large = self._larger_than_overlap(box)
            if self._is_cut(part, box) and not large:
                continue
            cell = found.labels[box] == index + 1
            shared = self._seen_before(part, box, cell) if large else cell
            label = _covering(here[box], cell, 0.5 * int(shared.sum()))
            if label and not large:
                continue
            if not label:
                label = self._new_label(found, index + 1)
            free = cell & (here[box] == 0)
            here[box][free] = label

    def all_kinds(self) -> NDArray[np.uint8] | None:
        return None if self.kinds is None else np.array(self.kinds, np.uint8)

    def _new_label(self, found: Segmentation, index: int) -> int:
        self.count += 1
        if found.kinds is None:
            self.kinds = None
        elif self.kinds is not None:
            self.kinds.append(int(found.kinds[index - 1]))
        return self.count

    def _larger_than_overlap(self, box: tuple[slice, slice]) -> bool:
        return any(side.stop - side.start >= self.overlap for side in box)

    def _is_cut(self, part: Tile, box: tuple[slice, slice]) -> bool:
        """Whether a cell reaches an edge of the tile that is not one of the image."""
        height, width = self.labels.shape
        rows, columns = box
        return (
            (rows.start == 0 and part.y0 > 0)
            or (columns.start == 0 and part.x0 > 0)
            or (rows.stop == part.y1 - part.y0 and part.y1 < height)
            or (columns.stop == part.x1 - part.x0 and part.x1 < width)
        )

    def _seen_before(
        self, part: Tile, box: tuple[slice, slice], cell: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return the pixels of a cell in the strips that earlier tiles have seen, too."""
        rows = np.arange(box[0].start, box[0].stop) < (self.overlap if part.y0 else 0)
        columns = np.arange(box[1].start, box[1].stop) < (self.overlap if part.x0 else 0)
        seen: NDArray[np.bool_] = cell & (rows[:, None] | columns[None, :])
        return seen


def _covering(here: NDArray[np.int32], cell: NDArray[np.bool_], needed: float) -> int:
    """Return the label that covers at least `needed` pixels of the cell, or 0."""
    covered = here[cell]
    covered = covered[covered > 0]
    if covered.size == 0:
        return 0
    values, counts = np.unique(covered, return_counts=True)
    most = int(counts.argmax())
    return int(values[most]) if counts[most] >= needed else 0


def _spans(side: int, tile: int, overlap: int) -> Iterator[tuple[int, int]]:
    if side <= tile:
        yield 0, side
        return
    count = math.ceil((side - overlap) / (tile - overlap))
    length = math.ceil((side + (count - 1) * overlap) / count)
    for number in range(count):
        start = round(number * (side - length) / (count - 1))
        yield start, start + length
