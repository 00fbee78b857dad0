"""cytodiffusion.image.pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError

MIN_PIXEL_SIZE_UM = 0.01

MAX_PIXEL_SIZE_UM = 10.0

#: More pixels than this are never loaded into memory at once (525 MB as RGB).
MAX_LOADED_PIXELS = 175_000_000

#: Lazy images of more pixels than this are not taken at all: their labels alone fill the memory.
MAX_LAZY_PIXELS = 1_000_000_000


def to_rgb8(array: NDArray[Any], high: float | None = None) -> NDArray[np.uint8]:
    """Convert an array in memory as :func:`as_rgb8` does.

    Parameters
    ----------
    array : (Y, X), (Y, X, C) or (C, Y, X)
    high : float, optional
        The value that becomes 255. Default: chosen from the type and the largest value.
    """
    array = _channels_last(array)
    if array.dtype == np.uint8 and array.shape[2] == 3 and high is None:
        return np.ascontiguousarray(array)
    if array.dtype != np.uint8 or high is not None:
        array = _scale(array, value_range(array) if high is None else high)
    if array.shape[2] in (2, 4):
        array = _on_white(array)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array)


def value_range(array: NDArray[Any]) -> float:
    """Return the value that stands for full brightness; InputError for values no image has."""
    kind = array.dtype.kind
    if kind == "b":
        return 1.0
    if kind not in "iuf":
        raise InputError(f"Values of type {array.dtype} are no image.")
    low, top = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(top)):
        raise InputError("The image contains values that are not finite numbers (NaN or infinity).")
    if low < 0:
        raise InputError("The image contains negative values; brightness starts at 0.")
    if kind == "f" and top <= 1.1:  # a little more than 1 after somebody's interpolation
        return 1.0
    return next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if top < 2**bits), top)


def check_pixel_size(value: Any) -> float:
    """Return `value` as a pixel size in micrometres.

    Raises
    ------
    InputError
        For anything that is not a number within 0.01 to 10 micrometres.
    """
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


def credible_pixel_size(x: float, y: float) -> tuple[float | None, tuple[str, ...]]:
    """Return the pixel size a file states, or None and why it is not believed.

    Parameters
    ----------
    x, y : float
        Width and height of a pixel in micrometres.
    """
    sane = math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0
    if not sane or not MIN_PIXEL_SIZE_UM <= x <= MAX_PIXEL_SIZE_UM or max(x, y) > 1.05 * min(x, y):
        stated = f"{x:g} um" if x == y else f"{x:g} x {y:g} um"
        return None, (f"The file states a pixel size of {stated}, which is not believed.",)
    return math.sqrt(x * y), ()


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


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    """Return (Y, X, C) with C of 1 to 4."""
    check_loadable(array.shape)
    whole = array.shape
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        return array[..., None]
    if array.ndim == 3 and array.shape[2] <= 4:
        return array
    if array.ndim == 3 and array.shape[0] <= 4:
        return np.moveaxis(array, 0, 2)
    if array.ndim < 2:
        raise InputError("This is not an image: it has no rows and columns of pixels.")
    raise InputError(
        f"An array of shape {whole} is not one image; "
        "choose a single plane with 1, 3 or 4 channels."
    )


def _scale(array: NDArray[Any], high: float) -> NDArray[np.uint8]:
    scaled = array.astype(np.float32) * np.float32(255.0 / high)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)


def _on_white(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colour, alpha = array[..., :-1], array[..., -1:]
    if alpha.min() == 255:
        return colour
    share = alpha.astype(np.float32) / 255
    return np.rint(colour * share + 255 * (1 - share)).astype(np.uint8)


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
