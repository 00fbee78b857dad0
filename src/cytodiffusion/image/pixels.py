"""Pixels of any type and range to RGB in uint8, and the limits of what is taken."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.settings import MAX_PIXEL_SIZE_UM as MAX_PIXEL_SIZE_UM
from cytodiffusion.settings import MIN_PIXEL_SIZE_UM as MIN_PIXEL_SIZE_UM

#: More pixels than this are never loaded into memory at once (525 MB as RGB).
MAX_LOADED_PIXELS = 175_000_000

#: Lazy images of more pixels than this are not taken at all: their labels alone fill the memory.
MAX_LAZY_PIXELS = 1_000_000_000

#: More of the values being no numbers than this, or negative ones larger than this share of the
#: brightest, are no accident.
_MISSING, _NEGATIVE = 0.25, 0.05

#: Brightest values below this share of a camera's range, or of 1, are of another range.
_DARK, _DARK_FRACTION = 0.4, 0.125

#: Where no range fits, the brightest values become this share of white: an empty slide's.
_BRIGHT = 0.92

#: Values that are looked at to find the brightest.
_SAMPLE = 2_000_000


@contextlib.contextmanager
def quiet_parser() -> Iterator[None]:
    """Keep tifffile from logging what it raises anyway, thousands of lines for a damaged file."""
    parser = logging.getLogger("tifffile")
    before, parser.disabled = parser.disabled, True
    try:
        yield
    finally:
        parser.disabled = before


@dataclass(frozen=True)
class Brightness:
    """How the values of an image become 0 to 255.

    Attributes
    ----------
    high : float
        The value that becomes 255.
    notes : tuple of str
        What is odd about the values, one sentence each.
    """

    high: float
    notes: tuple[str, ...] = ()


def to_rgb8(array: NDArray[Any], high: float | None = None) -> NDArray[np.uint8]:
    """Convert an array in memory as :func:`as_rgb8` does.

    Parameters
    ----------
    array : (Y, X), (Y, X, C) or (C, Y, X)
    high : float, optional
        The value that becomes 255. Default: chosen from the type and the brightest values.
    """
    array, alpha = _channels_last(array)
    rgb = colour8(array, brightness(array).high if high is None else high)
    return rgb if alpha is None else on_white(rgb, alpha)


def colour8(array: NDArray[Any], high: float) -> NDArray[np.uint8]:
    """Return grey or RGB (Y, X, 1 or 3) as RGB in uint8, `high` becoming 255."""
    if array.dtype != np.uint8 or high != 255:
        array = _scale(array, high)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array)


def says_something(alpha: NDArray[Any]) -> bool:
    """Whether a transparency differs from place to place: one that does not is no mask."""
    return bool(alpha.size and alpha.min() != alpha.max())


def on_white(
    rgb: NDArray[np.uint8],
    alpha: NDArray[Any],
    associated: bool = False,
    masked: bool | None = None,
) -> NDArray[np.uint8]:
    """Lay colours on white, the colour of an empty slide.

    A transparency that is the same everywhere is ignored: exports often leave it at zero.
    `associated` colours have been multiplied with it, which is undone. Whether it is `masked` is
    known where these are only a part of the image.
    """
    top = float(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "iu" else 1.0
    share = np.clip(alpha.reshape(*rgb.shape[:2], 1).astype(np.float32) / np.float32(top), 0, 1)
    if not (says_something(alpha) if masked is None else masked):
        constant = float(share.flat[0])
        if not associated or constant in (0.0, 1.0):
            return rgb
        return np.asarray(np.clip(np.rint(rgb / np.float32(constant)), 0, 255), np.uint8)
    colour = rgb.astype(np.float32) if associated else rgb * share
    return np.asarray(np.clip(np.rint(colour + 255 * (1 - share)), 0, 255), np.uint8)


def brightness(array: NDArray[Any], bits: int | None = None) -> Brightness:
    """Return which value stands for full brightness.

    The smallest camera range (8, 10, 12, 14 or 16 bit) that holds all values but the brightest
    0.1 %, since one hot pixel says nothing about the camera; `bits` where the file states them.
    """
    kind = array.dtype.kind
    if kind == "b":
        return Brightness(1.0)
    if kind not in "iuf":
        raise InputError(f"Values of type {array.dtype} are no image.")
    if array.dtype == np.uint8:
        return Brightness(255.0)
    notes: list[str] = []
    low, top = float(array.min()), float(array.max())
    values = array.ravel()[:: max(1, array.size // _SAMPLE)]
    if not (math.isfinite(low) and math.isfinite(top)):
        finite = array[np.isfinite(array)]
        missing = 1 - finite.size / array.size
        if missing > _MISSING:
            raise InputError(
                "The image contains values that are not finite numbers (NaN or infinity) in "
                f"{100 * missing:.0f} % of its pixels: save it as 8-bit RGB."
            )
        notes.append(
            f"{array.size - finite.size:,} values that are no numbers (NaN or infinity) were "
            "taken for empty slide."
        )
        low, top = float(finite.min()), float(finite.max())
        values = values[np.isfinite(values)]
    robust = float(np.percentile(values, 99.9)) if values.size else top
    if low < 0:
        if low < -_NEGATIVE * max(robust, 0.0):
            raise InputError(
                f"The image contains negative values, down to {low:.4g}; brightness starts at 0. "
                "Save it as 8-bit RGB, 0 to 255."
            )
        notes.append(f"Some values are a little below zero ({low:.3g}) and were taken for zero.")
    found = _range(kind, robust, top, bits)
    if top > 1.1 * found.high:
        notes.append(
            f"The brightest value, {top:.5g}, stands alone (a hot pixel?); brightness was scaled "
            f"to {found.high:.5g}."
        )
    return Brightness(found.high, (*notes, *found.notes))


def _range(kind: str, robust: float, top: float, bits: int | None) -> Brightness:
    """Return the range of a camera whose brightest values are about `robust`."""
    if bits is not None and robust < 2**bits:
        return Brightness(2.0**bits - 1)
    if kind == "f" and robust <= 1.1:  # a little more than 1 after somebody's interpolation
        dark, high = _DARK_FRACTION, 1.0
    else:
        high = next((2.0**n - 1 for n in (8, 10, 12, 14, 16) if robust < 2**n), robust / _BRIGHT)
        dark = 0.0 if high == 255 else _DARK
    if not 0 < robust < dark * high:
        return Brightness(high)
    stretched = min(robust / _BRIGHT, high)
    return Brightness(
        stretched,
        (
            f"No usual range fits the values, at most {robust:.4g}: brightness was scaled to "
            f"{stretched:.4g}.",
        ),
    )


def check_pixel_size(value: Any) -> float:
    """Return `value` as a pixel size in micrometres."""
    try:
        size = float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"The pixel size must be a number in micrometres, not {value!r}."
        ) from None
    if not math.isfinite(size) or size <= 0:
        raise InputError(f"The pixel size must be a positive number of micrometres, not {size:g}.")
    if not MIN_PIXEL_SIZE_UM <= size <= MAX_PIXEL_SIZE_UM:
        raise InputError(
            f"A pixel size of {size:g} um cannot be a blood smear under a microscope; "
            f"give one between {MIN_PIXEL_SIZE_UM:g} and {MAX_PIXEL_SIZE_UM:g} um."
        )
    return size


def check_loadable(shape: Sequence[int], name: str = "The image", limit: int | None = None) -> None:
    """Raise InputError for a shape that is no image or too large for memory."""
    if 0 in shape:
        raise InputError(f"{name} is empty: it has no pixels.")
    channels = next((n for n in (*shape[-1:], *shape[:1]) if len(shape) > 2 and n <= 4), 1)
    pixels = math.prod(shape) // channels
    limit = MAX_LOADED_PIXELS if limit is None else limit
    if pixels > limit:
        raise InputError(
            f"{name} has {pixels / 1e6:,.0f} megapixels, more than the "
            f"{limit / 1e6:,.0f} that can be worked on at once; "
            "use a part of it or a smaller level."
        )


def _channels_last(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return (Y, X, 1 or 3) and the transparency, if it is of the kind RGBA."""
    check_loadable(array.shape)
    whole = array.shape
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim < 2:
        raise InputError("This is not an image: it has no rows and columns of pixels.")
    if array.ndim == 2:
        return array[..., None], None
    if array.ndim == 3:
        first = array.shape[2] > 4 and array.shape[0] <= 4
        array = np.moveaxis(array, 0, 2) if first else array
        channels = array.shape[2]
        if channels in (1, 3):
            return array, None
        if channels == 4:  # only colours that lie pixel by pixel come with a transparency
            return array[..., :3], None if first else array[..., 3]
        if channels == 2:
            raise InputError(
                "The image has two channels, which are no colours; choose one of them, or RGB."
            )
    raise InputError(
        f"An array of shape {whole} is not one image; "
        "choose a single plane with 1, 3 or 4 channels."
    )


def _scale(array: NDArray[Any], high: float) -> NDArray[np.uint8]:
    scaled = array.astype(np.float32) * np.float32(255.0 / high)
    if array.dtype.kind == "f":
        scaled = np.nan_to_num(scaled, copy=False, nan=255.0, posinf=255.0, neginf=255.0)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)


@dataclass(frozen=True)
class Scale:
    """Micrometres a pixel of an image, and what that rests on.

    Attributes
    ----------
    pixel_size_um : float
    source : str
        ``"given"`` by whoever asks, ``"file"``: stated by the image's file, ``"labels"``: stored
        with its label image, ``"estimated"`` from its red cells, ``"assumed"`` where there are
        none, or ``"folder"``: the common scale of the single-cell images beside it.
    """

    pixel_size_um: float
    source: str


def known_scale(
    given: float | None, in_file: float | None, in_labels: float | None = None
) -> Scale | None:
    """Decide the pixel size, by one rule: as given, else of the file, else of the labels.

    None where it is to be measured. InputError for a size that makes no sense.
    """
    for size, source in ((given, "given"), (in_file, "file"), (in_labels, "labels")):
        if size is not None:
            return Scale(check_pixel_size(size), source)
    return None
