"""Image and labels to standardised crops: a window of fixed physical size a cell."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytodiffusion.cells.cell_table import CellTable as CellTable
from cytodiffusion.cells.cell_table import _check_labels, cell_table
from cytodiffusion.errors import InputError
from cytodiffusion.image.block_reader import BlockReader
from cytodiffusion.image.image import as_rgb8, as_source
from cytodiffusion.image.pixels import check_pixel_size
from cytodiffusion.progress import Progress, silent
from cytodiffusion.settings import WINDOW_UM as WINDOW_UM

_MAX_SIZE = 4096

_THREADS = min(4, os.cpu_count() or 1)

_WORTH_THREADS = 64  # crops


@dataclass(frozen=True, eq=False)
class Crops:
    """Standardised crops, one a cell.

    Attributes
    ----------
    pixels : (N, S, S, 3) uint8
    ids : (N,) int64
        Label ids.
    centroids : (N, 2) float64
        y, x in pixels of the image.
    areas_um2 : (N,) float64
    touches_border : (N,) bool
    pixel_size_um : float
        Of the image the crops were cut from, not of the crops.
    """

    pixels: NDArray[np.uint8]
    ids: NDArray[np.int64]
    centroids: NDArray[np.float64]
    areas_um2: NDArray[np.float64]
    touches_border: NDArray[np.bool_]
    pixel_size_um: float

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: slice | NDArray[np.bool_] | NDArray[np.int64]) -> Crops:
        names = ("pixels", "ids", "centroids", "areas_um2", "touches_border")
        parts = {name: getattr(self, name)[index] for name in names}
        return Crops(pixel_size_um=self.pixel_size_um, **parts)


def extract_crops(
    image: Any,
    labels: Any,
    pixel_size_um: float,
    size: int,
    window_um: float = WINDOW_UM,
    ids: ArrayLike | None = None,
    progress: Progress = silent,
) -> Crops:
    """Cut a window around every cell and resample it to `size` pixels.

    See :func:`iter_crops` for the parameters; this returns all crops at once
    (``N * size**2 * 3`` bytes).
    """
    table, cutter = _prepare(image, labels, pixel_size_um, size, window_um, ids)
    pixels = np.empty((len(table), size, size, 3), np.uint8)
    step = 512
    for start in range(0, len(table), step):
        progress(start / len(table), "Cutting out cells")
        cutter.cut(table.centroids[start : start + step], pixels[start : start + step])
    progress(1.0, "Cutting out cells")
    return _crops(table, pixels, pixel_size_um)


def iter_crops(
    image: Any,
    labels: Any,
    pixel_size_um: float,
    size: int,
    window_um: float = WINDOW_UM,
    batch: int = 512,
    ids: ArrayLike | None = None,
) -> Iterator[Crops]:
    """Yield the crops of :func:`extract_crops` in batches, so that memory stays bounded.

    The window is centred on the centroid of the label and reflected where it leaves the image.
    It is averaged over areas where the image is finer than the crop, and interpolated with
    cubic splines where it is coarser.

    Parameters
    ----------
    image : array
        Whatever `as_rgb8` takes; a lazy one is read where cells are.
    labels : (Y, X) integers
    pixel_size_um : float
        Of `image`.
    size : int
        Side of a crop in pixels.
    window_um : float
        Side of the window in micrometres.
    batch : int
        Crops at a time.
    ids : sequence of int, optional
        Only these cells, in this order. Default: all, sorted by id.
    """
    if batch < 1:
        raise InputError(f"The batch size must be at least 1, not {batch}.")
    table, cutter = _prepare(image, labels, pixel_size_um, size, window_um, ids)
    return _batches(table, cutter, pixel_size_um, batch)


def centre_crop(
    rgb: Any,
    pixel_size_um: float,
    size: int,
    window_um: float = WINDOW_UM,
    *,
    centre: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Cut the window out of the middle of a single-cell image."""
    array = as_rgb8(rgb)
    cutter = _Cutter(array, _window_pixels(pixel_size_um, window_um), _check_size(size))
    out = np.empty((1, size, size, 3), np.uint8)
    middle = (np.array([array.shape[:2]], np.float64) - 1) / 2
    cutter.cut(middle if centre is None else np.array([centre], np.float64), out)
    crop: NDArray[np.uint8] = out[0]
    return crop


def crops_at(
    source: NDArray[np.uint8] | BlockReader,
    centres: NDArray[np.float64],
    pixel_size_um: float,
    size: int,
    window_um: float = WINDOW_UM,
) -> NDArray[np.uint8]:
    """Cut windows ``(N, S, S, 3)`` around places ``(N, 2)`` (y, x) of an image, as `iter_crops`."""
    cutter = _Cutter(source, _window_pixels(pixel_size_um, window_um), _check_size(size))
    out = np.empty((len(centres), size, size, 3), np.uint8)
    cutter.cut(np.asarray(centres, np.float64), out)
    return out


def window_bounds(centre: ArrayLike, window: float, size: int) -> tuple[float, float, float]:
    """Where the window of a crop lies in the image."""
    middle = np.asarray(centre, np.float64) + 0.5
    if window < size:
        side, start = window, middle - window / 2
    else:
        # Area averaging needs whole pixels: at most half a pixel off, less than half a crop pixel.
        side = round(window)
        start = np.floor(middle - side / 2 + 0.5)
    return float(start[0]), float(start[1]), float(side)


class _Cutter:
    """Cuts windows of `window` image pixels and resamples them to `size` pixels."""

    def __init__(self, rgb: NDArray[np.uint8] | BlockReader, window: float, size: int) -> None:
        self.rgb, self.window, self.size = rgb, window, size

    def cut(self, centres: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
        """Fill `out` (N, S, S, 3) with the windows at `centres` (N, 2)."""
        one = self._shrunk if self.window >= self.size else self._enlarged

        def fill(indices: Iterable[int]) -> None:
            for index in indices:
                out[index] = one(centres[index])

        if not isinstance(self.rgb, np.ndarray):
            fill(self.rgb.order(centres))
        elif len(out) < _WORTH_THREADS:
            fill(range(len(out)))
        else:  # OpenCV lets go of the interpreter while it resamples
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(fill, [range(n, len(out), _THREADS) for n in range(_THREADS)]))

    def _shrunk(self, centre: NDArray[np.float64]) -> NDArray[np.uint8]:
        patch = self._patch(*(int(v) for v in window_bounds(centre, self.window, self.size)))
        return np.asarray(cv2.resize(patch, (self.size, self.size), interpolation=cv2.INTER_AREA))

    def _enlarged(self, centre: NDArray[np.float64]) -> NDArray[np.uint8]:
        start = np.array(window_bounds(centre, self.window, self.size)[:2])
        top, left = (math.floor(s) - 3 for s in start)
        patch = self._patch(top, left, math.ceil(self.window) + 7)
        scale = self.window / self.size
        shift = start - (top, left) + scale / 2 - 0.5
        matrix = np.array([[scale, 0, shift[1]], [0, scale, shift[0]]], np.float64)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        size = (self.size, self.size)
        warped = cv2.warpAffine(patch, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped)

    def _patch(self, top: int, left: int, side: int) -> NDArray[np.uint8]:
        height, width = self.rgb.shape[:2]
        if top >= 0 and left >= 0 and top + side <= height and left + side <= width:
            inside = self.rgb[top : top + side, left : left + side]
            return np.asarray(inside)
        rows = _reflect(np.arange(top, top + side), height)
        columns = _reflect(np.arange(left, left + side), width)
        top, left = int(rows.min()), int(columns.min())
        part = self.rgb[top : int(rows.max()) + 1, left : int(columns.max()) + 1]
        return np.ascontiguousarray(part[(rows - top)[:, None], columns - left])


def _reflect(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Fold indices back into ``0..length-1``, mirrored at the outer pixels."""
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded: NDArray[np.int64] = np.mod(index, period)
    return np.asarray(np.minimum(folded, period - folded))


def _prepare(
    image: Any, labels: Any, pixel_size_um: float, size: int, window_um: float, ids: Any
) -> tuple[CellTable, _Cutter]:
    window = _window_pixels(pixel_size_um, window_um)
    shape = _check_labels(labels)
    source = as_source(image)
    pixels = source if isinstance(source, np.ndarray) else BlockReader(source)
    cutter = _Cutter(pixels, window, _check_size(size))
    if cutter.rgb.shape[:2] != shape:
        here, there = cutter.rgb.shape[:2], shape
        raise InputError(
            f"The labels are {there[1]} x {there[0]} pixels but the image is "
            f"{here[1]} x {here[0]}; they must cover the same field."
        )
    table = cell_table(labels, pixel_size_um)
    return (table if ids is None else table.select(ids)), cutter


def _batches(
    table: CellTable, cutter: _Cutter, pixel_size_um: float, batch: int
) -> Iterator[Crops]:
    for start in range(0, len(table), batch):
        part = table[start : start + batch]
        pixels = np.empty((len(part), cutter.size, cutter.size, 3), np.uint8)
        cutter.cut(part.centroids, pixels)
        yield _crops(part, pixels, pixel_size_um)


def _crops(table: CellTable, pixels: NDArray[np.uint8], pixel_size_um: float) -> Crops:
    return Crops(
        pixels=pixels,
        ids=table.ids,
        centroids=table.centroids,
        areas_um2=table.areas_um2,
        touches_border=table.touches_border,
        pixel_size_um=float(pixel_size_um),
    )


def _check_size(size: int) -> int:
    if not 1 <= size <= _MAX_SIZE:
        raise InputError(f"The size of a crop must be 1 to {_MAX_SIZE} pixels, not {size}.")
    return int(size)


def _window_pixels(pixel_size_um: float, window_um: float) -> float:
    window = float(window_um)
    if not (math.isfinite(window) and 0 < window <= 1000):
        raise InputError(f"The window must be between 0 and 1000 um wide, not {window:g}.")
    return max(1.0, window / check_pixel_size(pixel_size_um))
