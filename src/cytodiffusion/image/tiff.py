"""TIFF and its relatives: pyramids read as needed, pixel size from whatever metadata is there."""

from __future__ import annotations

import re
import weakref
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.pixels import (
    MAX_LOADED_PIXELS,
    check_loadable,
    credible_pixel_size,
    to_rgb8,
    value_range,
)

#: One-level files above this many pixels stay on disk, too.
_LAZY_PIXELS = 32_000_000

# The names of units in OME, ImageJ and TIFF metadata, in micrometres.
_UNITS_UM = {
    "": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "micrometre": 1.0, "\\u00b5m": 1.0, "nm": 1e-3, "nanometer": 1e-3, "mm": 1e3,
    "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "m": 1e6, "inch": 25_400.0, "in": 25_400.0,
}  # fmt: skip

_TAG_UNITS_UM = {2: 25_400.0, 3: 1e4}  # ResolutionUnit: inch, centimetre

Found = tuple[tuple[Any, ...], float | None, tuple[str, ...]]


def open_tiff(path: Path) -> Found | None:
    """Open a TIFF file.

    Returns
    -------
    levels, pixel_size_um, notes
        As in :class:`cytodiffusion.image.image.Image`; None when the colours need Pillow (palette,
        CMYK, Lab).

    Raises
    ------
    InputError
        One sentence on what is wrong with the file.
    """
    try:
        with tifffile.TiffFile(path) as tif:
            if not tif.pages or not tif.series:
                raise InputError(f"{path} contains no image.")
            series = _largest(tif.series)
            page = series.keyframe
            if page.photometric in (3, 5, 8):  # palette, separated (CMYK), Lab
                return None
            axes = series.axes
            _check_axes(axes, series.shape, path)
            _check_complete(series, path)
            pixel_size, notes = _pixel_size(tif, page)
            if not _stays_on_disk(series):
                check_loadable((_pixels(series),), str(path))
                array = _channels_last(series.asarray(), axes)
                rgb = to_rgb8(_uninverted(array, page))
                return (rgb,), pixel_size, notes
        return _lazy_levels(path, axes, int(page.photometric)), pixel_size, notes
    except InputError as error:
        text = str(error)
        raise InputError(text if str(path) in text else f"{path}: {text}") from error
    except Exception as error:  # a damaged file can raise anything in the parser
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is a damaged or cut-short TIFF file ({reason}).") from error


def _check_axes(axes: str, shape: tuple[int, ...], path: Path) -> None:
    """Raise InputError unless the axes longer than one are one plane with channels."""
    if 0 in shape:
        raise InputError(f"{path} is empty: it has no pixels.")
    kept = "".join(a for a, n in zip(axes, shape, strict=True) if n > 1 or a in "YX")
    sizes = dict(zip(axes, shape, strict=True))
    extra = [a for a in kept if a not in "YXSC"]
    if "Y" not in kept or "X" not in kept:
        raise InputError(f"{path} is not a flat image (its axes are {axes}).")
    if extra:
        planes = int(np.prod([sizes[a] for a in extra]))
        raise InputError(f"{path} is a stack of {planes} planes; save the one to use as an image.")
    channels = [a for a in kept if a in "SC"]
    if len(channels) > 1 or (channels and sizes[channels[0]] > 4):
        n = int(np.prod([sizes[a] for a in channels]))
        raise InputError(f"{path} has {n} channels; a stained smear has one (grey) or three (RGB).")


def _channels_last(array: Any, axes: str) -> Any:
    """Return (Y, X) or (Y, X, C) of a numpy or dask array."""
    single = [n == 1 and a not in "YX" for a, n in zip(axes, array.shape, strict=True)]
    array = array[tuple(0 if drop else slice(None) for drop in single)]
    left = [a for a, drop in zip(axes, single, strict=True) if not drop]
    order = sorted(range(len(left)), key=lambda i: "YX".find(left[i]) % 3)  # channels: -1 % 3 = 2
    return array.transpose(order)


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


def _lazy_levels(path: Path, axes: str, photometric: int) -> tuple[Any, ...]:
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
    raw = [_channels_last(read_zarr(a), axes) for a in arrays]
    raw.sort(key=lambda a: -int(a.shape[0]))
    smallest = raw[-1]
    # The brightest value of the smallest level decides for all: reading the largest takes too long
    plain = smallest.dtype == np.uint8 or smallest.size > MAX_LOADED_PIXELS
    high = None if plain else value_range(np.asarray(smallest))
    return tuple(_lazy_rgb8(a, high) for a in raw)


def _lazy_rgb8(array: Any, high: float | None) -> Any:
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return array
    if array.dtype.kind == "u" and high is None and array.dtype != np.uint8:
        high = float(np.iinfo(array.dtype).max)
    if array.ndim == 2:
        array = array[..., None]
    array = array.rechunk({2: array.shape[2]})
    chunks = (array.chunks[0], array.chunks[1], (3,))
    return array.map_blocks(partial(to_rgb8, high=high), chunks=chunks, dtype=np.uint8)


def _pixel_size(tif: Any, page: Any) -> tuple[float | None, tuple[str, ...]]:
    """Return the pixel size in micrometres from OME, Aperio, ImageJ or plain TIFF metadata."""
    for read in (_from_ome, _from_aperio, _from_imagej):
        try:
            found = read(tif, page)
        except (ValueError, KeyError, TypeError, ZeroDivisionError, ElementTree.ParseError):
            continue
        if found is not None:
            return credible_pixel_size(*found)
    found = _from_tags(page)
    # Printers' 72 to 600 dots an inch say nothing about the microscope, and deserve no note
    return (credible_pixel_size(*found)[0], ()) if found else (None, ())


def _from_ome(tif: Any, page: Any) -> tuple[float, float] | None:
    if not tif.ome_metadata:
        return None
    pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None
    get = pixels.attrib.get
    x = float(get("PhysicalSizeX", 0)) * _UNITS_UM[get("PhysicalSizeXUnit", "um").strip().lower()]
    y_unit = get("PhysicalSizeYUnit", get("PhysicalSizeXUnit", "um")).strip().lower()
    y = (
        float(get("PhysicalSizeY", 0)) * _UNITS_UM[y_unit]
        if "PhysicalSizeY" in pixels.attrib
        else x
    )
    return x, y


def _from_aperio(tif: Any, page: Any) -> tuple[float, float] | None:
    found = re.search(r"\bMPP\s*=\s*([0-9.eE+-]+)", page.description or "")
    return (float(found[1]), float(found[1])) if found else None


def _from_imagej(tif: Any, page: Any) -> tuple[float, float] | None:
    unit = (tif.imagej_metadata or {}).get("unit")
    size = _resolution(page)
    if unit is None or size is None:
        return None
    factor = _UNITS_UM[str(unit).strip().lower()]
    return size[0] * factor, size[1] * factor


def _from_tags(page: Any) -> tuple[float, float] | None:
    unit = page.tags.get("ResolutionUnit")
    size = _resolution(page)
    factor = _TAG_UNITS_UM.get(int(unit.value)) if unit is not None else _TAG_UNITS_UM[2]
    return (size[0] * factor, size[1] * factor) if size and factor else None


def _resolution(page: Any) -> tuple[float, float] | None:
    """Return width and height of a pixel in the file's unit of length."""
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    if None in tags:
        return None
    (xn, xd), (yn, yd) = (tag.value for tag in tags)
    return (xd / xn, yd / yn) if xn and yn else None
