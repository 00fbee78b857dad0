"""Images as the engine sees them: ``(Y, X, 3)`` uint8 with a pixel size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError

MIN_PIXEL_SIZE_UM = 0.01
MAX_PIXEL_SIZE_UM = 10.0


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


def as_rgb8(image: Any) -> NDArray[np.uint8]:
    """Return any image as ``(Y, X, 3)`` uint8."""
    array = np.asarray(image)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8:
        raise InputError(f"An array of shape {array.shape} and type {array.dtype} is no RGB image.")
    return np.ascontiguousarray(array[..., :3])
