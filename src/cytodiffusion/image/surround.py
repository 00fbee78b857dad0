"""What surrounds a field without being of it: a frame, an eyepiece, a stopped-down edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.image.stain import estimate_background

#: Brightest channel of what is dark; nuclei and their precipitate are lighter, in blue at least.
DARK = 62

#: Rows and columns of a frame vary less than this, and differ at least so much from the slide.
UNIFORM, DIFFERENT = 4.0, 14.0

#: Largest share of a picture that may surround its field.
MOST = 0.9


def surround(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find what surrounds a field: dark and connected with the border, or a uniform frame.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8

    Returns
    -------
    (Y, X) bool
        All False where nothing does, or where nothing but surround would be left.
    """
    height, width = rgb.shape[:2]
    nothing = np.zeros((height, width), bool)
    if min(height, width) < 8:
        return nothing
    dark = (rgb.max(axis=2) < DARK).astype(np.uint8)
    found = nothing.copy()
    if dark[0].any() or dark[-1].any() or dark[:, 0].any() or dark[:, -1].any():
        # Cut off what hangs on by a thread, such as a hair; a frame of one pixel is kept.
        opened = cv2.morphologyEx(np.pad(dark, 4, constant_values=1), cv2.MORPH_OPEN, _disc(2))
        _, pieces = cv2.connectedComponents(opened)
        found = (pieces == pieces[0, 0])[4:-4, 4:-4]
    found = found | _frame(rgb)
    if not found.any() or found.mean() > MOST:
        return nothing
    # Lenses and JPEG smear its rim over a few pixels.
    return np.asarray(cv2.dilate(found.astype(np.uint8), _disc(3)) > 0)


def without_surround(
    rgb: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Return the field as if the empty slide went on around it, and what was filled so."""
    found = surround(rgb)
    if not found.any():
        return rgb, None
    rows, columns = (np.flatnonzero(~found.all(axis=axis)) for axis in (1, 0))
    inner = rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    colour = np.clip(np.rint(estimate_background(inner)), 0, 255).astype(np.uint8)
    return np.where(found[..., None], colour, rgb), found


def _frame(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Rows and columns along the border that are of one colour, other than the slide's."""
    height, width = rgb.shape[:2]
    found = np.zeros((height, width), bool)
    slide: NDArray[np.float32] | None = None
    for turns in range(4):
        turned = np.rot90(rgb, turns)
        lines = 0
        while lines < turned.shape[0] // 2:
            line = turned[lines].astype(np.float32)
            if float(line.std(axis=0).max()) > UNIFORM:
                break
            if slide is None:
                slide = estimate_background(
                    rgb[height // 4 : -height // 4, width // 4 : -width // 4]
                )
            if float(np.abs(line.mean(axis=0) - slide).max()) < DIFFERENT:
                break
            lines += 1
        np.rot90(found, turns)[:lines] = True
    return found


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
