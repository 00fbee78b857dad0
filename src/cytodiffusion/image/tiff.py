"""TIFF and its relatives: which plane, which channels, which way up; pyramids read as needed."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.channels import Channels, choose_channels
from cytodiffusion.image.pixel_size import StatedScale, tiff_scale
from cytodiffusion.image.pixels import (
    MAX_LOADED_PIXELS,
    Brightness,
    brightness,
    check_loadable,
    colour8,
    on_white,
    quiet_parser,
    says_something,
)

#: One-level files above this many pixels stay on disk, too.
_LAZY_PIXELS = 32_000_000

#: What the axes of stacks are called.
_STACKS = {"Z": "focal planes", "T": "time points"}

Found = tuple[tuple[Any, ...], StatedScale, tuple[str, ...]]


def open_tiff(path: Path) -> Found | None:
    """Open a TIFF file."""
    try:
        with quiet_parser(), tifffile.TiffFile(path) as tif:
            if not tif.pages or not tif.series:
                raise InputError(f"{path} contains no image.")
            series = _largest(tif.series)
            page = series.keyframe
            if page.photometric in (3, 5, 8):  # palette, separated (CMYK), Lab
                return None
            _check_axes(series.axes, series.shape, path)
            _check_complete(series, path)
            scale = tiff_scale(tif, page)
            notes = [*scale.notes, *_others(tif.series, series)]
            layout = _layout(tif, series, notes)
            turn = _orientation(page)
            if not _stays_on_disk(series):
                check_loadable((_pixels(series),), str(path))
                array = _planes(series) if layout.where else series.asarray()
                array = _plane(array, layout, notes)
                array = _uninverted(array, page)
                rgb, seen = _rgb8(array, layout.channels)
                return (oriented(rgb, turn),), scale, (*notes, *seen)
            if math.prod(page.chunked) > len(page.dataoffsets):
                raise InputError(f"{path} is cut short: some of its pixels are missing.")
        levels = _lazy_levels(path, layout, int(page.photometric), notes)
        return tuple(oriented(level, turn) for level in levels), scale, tuple(notes)
    except InputError as error:
        text = str(error)
        raise InputError(text if str(path) in text else f"{path}: {text}") from error
    except Exception as error:  # a damaged file can raise anything in the parser
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is a damaged or cut-short TIFF file ({reason}).") from error


def oriented(array: Any, orientation: int) -> Any:
    """Return rows and columns as the picture is seen; numpy or lazy, TIFF's and EXIF's numbers."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array) if isinstance(array, np.ndarray) else array


def _orientation(page: Any) -> int:
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None else 1


@dataclass(frozen=True)
class _Layout:
    """What the axes of a file are: which are left out, and which channels make the colours."""

    axes: str
    where: tuple[str, ...]  #: axes of stacks, of which one plane is taken
    channels: Channels


def _layout(tif: Any, series: Any, notes: list[str]) -> _Layout:
    axes = _distinct(series.axes)
    sizes = dict(zip(axes, series.shape, strict=True))
    stacks = [a for a in axes if sizes[a] > 1 and a not in "YXSC"]
    plain = sizes.get("S", 1) == 1 and sizes.get("C", 1) == 1
    if plain and len(stacks) == 1 and stacks[0] not in _STACKS and sizes[stacks[0]] == 3:
        # Three grey pages without a name are the colours, as some cameras store them
        axes = axes.replace("C", "_").replace(stacks.pop(), "C")
        sizes = dict(zip(axes, series.shape, strict=True))
        notes.append("Three grey pages without names are taken as red, green and blue.")
    channels = choose_channels(tif, series.keyframe, sizes.get("C", 1), sizes.get("S", 1))
    notes += channels.notes
    return _Layout(axes, tuple(stacks), channels)


def _distinct(axes: str) -> str:
    """Give every axis a letter of its own."""
    spare = iter("abcdefgh")
    return "".join(next(spare) if a in axes[:k] else a for k, a in enumerate(axes))


def _others(every: Sequence[Any], chosen: Any) -> list[str]:
    """Say that a file holds more images of the same size."""
    alike = [s for s in every if s.shape == chosen.shape]
    return [f"The file holds {len(alike)} images; the first is used."] if len(alike) > 1 else []


def _check_axes(axes: str, shape: tuple[int, ...], path: Path) -> None:
    """Raise InputError unless there are rows and columns of pixels."""
    if 0 in shape:
        raise InputError(f"{path} is empty: it has no pixels.")
    if "Y" not in axes or "X" not in axes:
        raise InputError(f"{path} is not a flat image (its axes are {axes}).")


def _planes(series: Any, level: int = 0) -> Any:
    """Return a stack that is read plane by plane."""
    import zarr

    root = zarr.open(series.aszarr(level=level), mode="r")
    return root if isinstance(root, zarr.Array) else root["0"]


def _plane(array: Any, layout: _Layout, notes: list[str], at: dict[str, int] | None = None) -> Any:
    """Return (Y, X, C) of one plane: the first time point, the sharpest focal plane."""
    sizes = dict(zip(layout.axes, array.shape, strict=True))
    if at is None:
        at = dict.fromkeys(layout.where, 0)
        for axis in layout.where:
            count = sizes[axis]
            if axis != "T":
                marks = [
                    _sharpness(_cut(array, layout.axes, {**at, axis: k})) for k in range(count)
                ]
                at[axis] = int(np.argmax(marks))
            kind = _STACKS.get(axis, "pages")
            which = "the first" if axis == "T" else f"number {at[axis] + 1}, the sharpest,"
            notes.append(
                f"The file is a stack of {count} {kind}; {which} is used. "
                "Save another as a file of its own to use that."
            )
    return _cut(array, layout.axes, at)


def _cut(array: Any, axes: str, at: dict[str, int]) -> Any:
    """Return (Y, X, C) of a numpy, zarr or dask array, at places of its other axes."""
    sizes = dict(zip(axes, array.shape, strict=True))
    channel = "C" if sizes.get("C", 1) > 1 or "S" not in axes else "S"
    if sizes.get("C", 1) > 1 and sizes.get("S", 1) > 1:  # several colour pictures: the first
        channel = "S"
    keep = "YX" + channel
    where = [slice(None) if a in keep else at.get(a, 0) for a in axes]
    array = array[tuple(where)]
    left = [a for a in axes if a in keep]
    if channel not in left:
        array = array[..., None]
        left.append(channel)
    return array.transpose([left.index(a) for a in keep])


def _sharpness(plane: Any) -> float:
    grey = np.asarray(plane).mean(axis=2, dtype=np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    return float(cv2.Laplacian(smooth, cv2.CV_32F).var())


def _rgb8(array: NDArray[Any], channels: Channels) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return (Y, X, 3) uint8 of (Y, X, C), and what is odd about it."""
    alpha = None if channels.alpha is None else array[..., channels.alpha]
    if channels.colours != tuple(range(array.shape[2])):
        array = array[..., list(channels.colours)]
    found = brightness(array, channels.bits)
    rgb = colour8(array, found.high)
    if alpha is None:
        return rgb, found.notes
    notes = () if says_something(alpha) or alpha.flat[0] > 0 else (
        "The file says that it is transparent everywhere, which was ignored.",
    )  # fmt: skip
    return on_white(rgb, alpha, channels.associated), (*found.notes, *notes)


def _stays_on_disk(series: Any) -> bool:
    """Whether to read as needed: pyramids, and large images that can be read in pieces."""
    if len(series.levels) > 1 or _pixels(series) > MAX_LOADED_PIXELS:
        return True
    piece = int(np.prod(series.keyframe.chunks, dtype=np.int64))
    return _pixels(series) > _LAZY_PIXELS and piece <= _LAZY_PIXELS // 2


def _largest(series: Sequence[Any]) -> Any:
    return max(series, key=lambda s: int(np.prod(s.shape, dtype=np.int64)))


def _pixels(series: Any) -> int:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return int(sizes["Y"]) * int(sizes["X"])


def _check_complete(series: Any, path: Path) -> None:
    """Raise InputError when pixels lie beyond the end of the file (lazy reading finds out late)."""
    end = path.stat().st_size
    for level in series.levels:
        for page in level.pages:
            offsets, counts = getattr(page, "dataoffsets", ()), getattr(page, "databytecounts", ())
            if any(o + n > end for o, n in zip(offsets, counts, strict=False) if n):
                raise InputError(f"{path} is cut short: some of its pixels are missing.")


def _uninverted(array: NDArray[Any], page: Any) -> NDArray[Any]:
    if page.photometric != 0:  # 0: min-is-white
        return array
    top = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else array.max()
    return np.asarray(~array if array.dtype == np.bool_ else top - array)


def _lazy_levels(
    path: Path, layout: _Layout, photometric: int, notes: list[str]
) -> tuple[Any, ...]:
    """Return dask arrays (Y, X, 3) uint8, full size first."""
    import zarr
    from dask.array import from_zarr

    read_zarr: Callable[[Any], Any] = from_zarr
    if photometric == 0:
        raise InputError(f"{path} is a very large inverted (min-is-white) image; invert it first.")
    tif = tifffile.TiffFile(path)
    store = _largest(tif.series).aszarr()
    weakref.finalize(store, tif.close)  # the file is open as long as any array reads from it
    root = zarr.open(store, mode="r")
    arrays = [root] if isinstance(root, zarr.Array) else [root[str(i)] for i in range(len(root))]
    lazy = [read_zarr(a) for a in arrays]
    at = _middle(lazy[0], layout, notes)
    raw = [_plane(a, layout, notes, at) for a in lazy]
    raw.sort(key=lambda a: -int(a.shape[0]))
    # The smallest level decides for all: reading the largest takes too long
    smallest, channels = raw[-1], layout.channels
    small = smallest.size <= MAX_LOADED_PIXELS
    whole = smallest.dtype.kind in "iu"
    found, masked = Brightness(float(np.iinfo(smallest.dtype).max) if whole else 1.0), True
    if small:
        pixels = np.asarray(smallest)
        found = brightness(pixels[..., list(channels.colours)], channels.bits)
        masked = channels.alpha is not None and says_something(pixels[..., channels.alpha])
    notes += found.notes
    return tuple(_lazy_rgb8(a, channels, found.high, masked) for a in raw)


def _middle(array: Any, layout: _Layout, notes: list[str]) -> dict[str, int]:
    """Choose the middle of every stack of a large file, the first of its time points."""
    sizes = dict(zip(layout.axes, array.shape, strict=True))
    at = {a: 0 if a == "T" else sizes[a] // 2 for a in layout.where}
    notes += [
        f"The file is a stack of {sizes[a]} {_STACKS.get(a, 'pages')}; number {at[a] + 1} is used."
        for a in layout.where
    ]
    return at


def _lazy_rgb8(array: Any, channels: Channels, high: float, masked: bool) -> Any:
    plain = channels.colours == (0, 1, 2) == tuple(range(array.shape[2]))
    if array.dtype == np.uint8 and high == 255 and plain:
        return array
    array = array.rechunk({2: array.shape[2]})
    chunks = (array.chunks[0], array.chunks[1], (3,))
    convert = partial(_block_rgb8, channels=channels, high=high, masked=masked)
    return array.map_blocks(convert, chunks=chunks, dtype=np.uint8)


def _block_rgb8(
    block: NDArray[Any], channels: Channels, high: float, masked: bool
) -> NDArray[np.uint8]:
    rgb = colour8(block[..., list(channels.colours)], high)
    if channels.alpha is None or not masked:
        return rgb
    return on_white(rgb, block[..., channels.alpha], channels.associated, masked=True)
