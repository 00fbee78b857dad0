"""What surrounds a field without being of it: a frame, an eyepiece, a stopped-down edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.image.stain import estimate_background

#: Brightest channel of what is dark; nuclei and their precipitate are lighter, in blue at least.
DARK = 62

#: Rows and columns of a frame vary less than this, and differ at least so much from the slide.
UNIFORM, DIFFERENT = 4.0, 14.0

#: From a corner on, levels that count as the same colour, how little they vary, and the least share
#: of the picture that they cover.
SAME, FLAT, LEAST_CORNER = 6, 2.0, 0.01

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
    found = found | _frame(rgb) | _even_corners(rgb)
    if not found.any() or found.mean() > MOST:
        return nothing
    return _with_soft_rim(rgb, found)


def _with_soft_rim(rgb: NDArray[np.uint8], found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add what lenses and JPEG smear: a few pixels of a curved rim, dark lines along a frame."""
    rows, columns = (np.flatnonzero(~found.all(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    grown = np.ones_like(found)
    inner = found[top:bottom, left:right].astype(np.uint8)
    grown[top:bottom, left:right] = cv2.dilate(inner, _disc(2)) > 0
    framed = (top > 0, left > 0, bottom < found.shape[0], right < found.shape[1])
    for turns, side in enumerate((framed[0], framed[3], framed[2], framed[1])):
        if not side:
            continue
        turned, part = np.rot90(rgb, turns), np.rot90(grown, turns)
        line = int(np.flatnonzero(~part.all(axis=1))[0])
        for _ in range(4):
            if line + 5 > part.shape[0]:
                break
            outer, further = (
                float(turned[n][~part[n]].mean()) if (~part[n]).any() else 0.0
                for n in (line, line + 4)
            )
            if outer > 0.9 * further:
                break
            part[line] = True
            line += 1
    return grown


@dataclass(frozen=True, eq=False)
class Inside:
    """The field without what surrounds it.

    Attributes
    ----------
    rgb : (H, W, 3) uint8
        The rectangle that holds the field; what surrounds it there shows the field mirrored.
    window : tuple of slice
        Where the rectangle lies in the picture.
    filled : (H, W) bool or None
        What is mirrored; None where nothing is.
    """

    rgb: NDArray[np.uint8]
    window: tuple[slice, slice]
    filled: NDArray[np.bool_] | None


def inside(rgb: NDArray[np.uint8]) -> Inside:
    """Return the field as if it went on where something surrounds it, mirrored at the edge.

    So a cell that the edge cuts looks as one that the border of a picture cuts, and the colours of
    the field as a whole stay what they are.
    """
    found = surround(rgb)
    if not found.any():
        return Inside(rgb, (slice(0, rgb.shape[0]), slice(0, rgb.shape[1])), None)
    rows, columns = (np.flatnonzero(~found.all(axis=axis)) for axis in (1, 0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    field, filled = np.ascontiguousarray(rgb[window]), np.ascontiguousarray(found[window])
    if not filled.any():
        return Inside(field, window, None)
    nearest = ndimage.distance_transform_edt(filled, return_distances=False, return_indices=True)
    y, x = np.nonzero(filled)
    edge = np.asarray(nearest)[:, y, x]
    mirrored = 2 * edge - np.stack([y, x])
    height, width = filled.shape
    there = (mirrored >= 0).all(axis=0) & (mirrored[0] < height) & (mirrored[1] < width)
    source = np.where(there, mirrored, edge)
    source = np.where(filled[source[0], source[1]], edge, source)
    shown = field.copy()
    shown[y, x] = field[source[0], source[1]]
    return Inside(shown, window, filled)


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


def _even_corners(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find what has one colour, other than the empty slide, from a corner on: a grey surround."""
    height, width = rgb.shape[:2]
    found = np.zeros((height, width), bool)
    slide: NDArray[np.float32] | None = None
    for y, x in ((0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)):
        near = np.abs(rgb.astype(np.int16) - rgb[y, x]).max(axis=2) <= SAME
        if found[y, x] or near.mean() < LEAST_CORNER:
            continue
        _, pieces = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
        piece = pieces == pieces[y, x]
        if piece.mean() < LEAST_CORNER or float(rgb[piece].std(axis=0).max()) > FLAT:
            continue
        if slide is None:
            slide = estimate_background(rgb[height // 4 : -height // 4, width // 4 : -width // 4])
        if float(np.abs(rgb[piece].mean(axis=0) - slide).max()) >= DIFFERENT:
            found |= piece
    return found


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
