"""A field of a smear as its file has it, held against what is to be seen in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.image.colours import colour_doubts
from cytodiffusion.image.image import Image, as_rgb8, open_image
from cytodiffusion.image.pixel_size import StatedScale, scale_doubt, stated_pixel_size

#: Side in pixels of the part of a large image that is looked at.
_PART = 2048


def open_field(path: str | Path, *, pixel_size_um: float | None = None) -> Image:
    """Open an image and say in its notes what contradicts its file; see `check_field`."""
    return check_field(open_image(path), pixel_size_um=pixel_size_um)


def check_field(image: Image, *, pixel_size_um: float | None = None) -> Image:
    """Return the image with a note on all that contradicts what its file says.

    Colours that are none, swapped or inverted; a pixel size that its red cells contradict. One of
    exactly 1 um, which programs write that know none, is not believed then and left out.
    """
    rgb = middle_part(image)
    notes = [*image.notes, *colour_doubts(rgb)]
    size = image.pixel_size_um
    if size is not None and pixel_size_um is None:
        doubt = contradiction(StatedScale(size), rgb)
        if doubt and StatedScale(size).is_default:
            size, doubt = None, f"{doubt} The red cells are believed."
        notes += [doubt] if doubt else []
    return replace(image, pixel_size_um=size, notes=tuple(notes))


def contradiction(stated: StatedScale, rgb: NDArray[np.uint8]) -> str | None:
    """Return a sentence where the red cells of a field contradict the scale its file states."""
    if stated.value_um is None:
        return None
    from cytodiffusion.segmentation.network_scale import field_scale  # slow to import

    found = field_scale(rgb)
    return scale_doubt(stated, found.pixel_size_um, found.n_cells)


def trusted_pixel_size(path: str | Path, rgb: NDArray[np.uint8]) -> StatedScale:
    """Return the pixel size that a file states, with a note where the pixels contradict it.

    For a window, which has the pixels of a file already: the same rule as in `check_field`.

    Parameters
    ----------
    path
        The file of the layer; it is not decoded.
    rgb : (Y, X, 3) uint8
        Its pixels, or a part of them at full size.
    """
    stated = stated_pixel_size(path)
    doubt = contradiction(stated, rgb)
    if doubt is None:
        return stated
    if stated.is_default:
        return StatedScale(None, stated.source, f"{doubt} The red cells are believed.")
    return replace(stated, note=doubt)


def middle_part(image: Image) -> NDArray[np.uint8]:
    """Return the middle of a large image, all of another."""
    level = image.levels[0]
    if isinstance(level, np.ndarray):
        return as_rgb8(level)
    height, width = image.shape
    y, x = max(0, (height - _PART) // 2), max(0, (width - _PART) // 2)
    return as_rgb8(level[y : y + _PART, x : x + _PART])
