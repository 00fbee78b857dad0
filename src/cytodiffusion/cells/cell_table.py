"""Where the cells of a label image are."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.pixels import check_pixel_size


@dataclass(frozen=True, eq=False)
class CellTable:
    """Where the cells of a label image are, one row a label id, sorted by id.

    Attributes
    ----------
    ids : (N,) int64
        Label ids; gaps are allowed.
    centroids : (N, 2) float64
        y, x in pixels; the centre of the first pixel is (0, 0).
    areas_um2 : (N,) float64
    touches_border : (N,) bool
        The label has pixels in the first or last row or column of the image.
    bboxes : (N, 4) int64
        y0, x0, y1, x1 in pixels, the last two exclusive.
    """

    ids: NDArray[np.int64]
    centroids: NDArray[np.float64]
    areas_um2: NDArray[np.float64]
    touches_border: NDArray[np.bool_]
    bboxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> CellTable:
        return CellTable(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def select(self, ids: ArrayLike) -> CellTable:
        """Return the rows of `ids`, in that order; InputError for an unknown id."""
        wanted = np.atleast_1d(np.asarray(ids))
        if wanted.size == 0:
            return self[:0]
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise InputError("The ids of the cells to cut out must be a list of whole numbers.")
        where = np.minimum(np.searchsorted(self.ids, wanted), len(self) - 1)
        missing = wanted[self.ids[where] != wanted]
        if missing.size:
            raise InputError(f"There is no cell with the label {missing[0]} in the label image.")
        return self[where]


_STRIP_PIXELS = 1 << 20  # labels are read in strips of about this many pixels


def cell_table(labels: Any, pixel_size_um: float) -> CellTable:
    """Measure every label in one pass over the label image.

    The image is read in strips and turned into runs of equal ids along the rows, so the number
    and size of the ids hardly matter.

    Parameters
    ----------
    labels : (Y, X) integers
        0 is background; ids may have gaps and any size. A dask array is read strip by strip.
    """
    pixel_size = check_pixel_size(pixel_size_um)
    height, width = _check_labels(labels)
    rows = max(1, _STRIP_PIXELS // width)
    parts = [
        _reduce(*_runs(np.asarray(labels[top : top + rows]), top)) for top in range(0, height, rows)
    ]
    ids, sums, low, high = _reduce(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    if len(ids) == 0:
        raise InputError("There are no cells: the label image is empty.")
    area = sums[:, 0]
    border = (low == 0).any(axis=1) | (high == (height, width)).any(axis=1)
    return CellTable(
        ids=ids,
        centroids=sums[:, 1:] / area[:, None],
        areas_um2=area * pixel_size**2,
        touches_border=border,
        bboxes=np.concatenate([low, high], axis=1),
    )


def _check_labels(labels: Any) -> tuple[int, int]:
    """Return (Y, X) of a usable label image."""
    shape, dtype = getattr(labels, "shape", None), getattr(labels, "dtype", None)
    if shape is None or dtype is None:
        raise InputError("The labels must be an array of whole numbers, one a pixel.")
    if len(shape) != 2:
        raise InputError(f"The labels must be one flat image, not an array of shape {shape}.")
    if np.dtype(dtype).kind not in "iu":
        raise InputError(f"The labels must be whole numbers, one a cell, not of type {dtype}.")
    if 0 in shape:
        raise InputError("There are no cells: the label image has no pixels.")
    return int(shape[0]), int(shape[1])


_Ints = NDArray[np.int64]

# ids (N,), sums of (1, y, x) (N, 3), lowest (y, x) (N, 2), highest + 1 (N, 2)
_Table = tuple[_Ints, NDArray[np.float64], _Ints, _Ints]


def _runs(strip: NDArray[Any], top: int) -> _Table:
    """Split a strip of labels into runs of one id along a row; background left out."""
    width = strip.shape[1]
    flat = np.ascontiguousarray(strip).reshape(-1)
    if flat.size and int(flat.min()) < 0:
        raise InputError("The labels contain negative numbers; a cell's label is 1 or more.")
    starts = np.ones(flat.size, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=starts[1:])
    starts[::width] = True
    first = np.flatnonzero(starts)
    length = np.diff(first, append=flat.size)
    cell = flat[first] != 0
    first, length = first[cell], length[cell]
    ids = flat[first].astype(np.int64)
    y, x = np.divmod(first, width)
    y += top
    sums = np.stack([length, y * length, (x + (length - 1) / 2) * length], axis=1, dtype=np.float64)
    return ids, sums, np.stack([y, x], axis=1), np.stack([y + 1, x + length], axis=1)


def _reduce(ids: _Ints, sums: NDArray[np.float64], low: _Ints, high: _Ints) -> _Table:
    """Merge rows of the same id."""
    if len(ids) == 0:
        return ids, sums, low, high
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    starts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
    return (
        ids[starts],
        np.add.reduceat(sums[order], starts, axis=0),
        np.minimum.reduceat(low[order], starts, axis=0),
        np.maximum.reduceat(high[order], starts, axis=0),
    )
