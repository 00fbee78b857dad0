"""Every cell, real or synthetic, becomes an image in the same way.

Nothing but the cell itself may tell where it comes from. So all cells show the same window at the
same number of pixels, none is ever enlarged (which would blur it), the empty slide is brought to
one colour by one rule, each is turned or mirrored at random (a camera has an orientation, a
generator has none), and all go through the same JPEG coding at last.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Picture

from cytodiffusion.errors import InputError
from cytodiffusion.image.stain import estimate_background

#: Colour of the empty slide in all images, as in the samples of the model.
PAPER = 234.6

#: An estimate of the background that is off by more than this shows a cell, not the slide.
CREDIBLE = 0.12

#: Pixels that differ from the empty slide by no more grey values belong to it.
NEAR = 6.0

#: Quality of the JPEG coding; the colours keep their full resolution.
QUALITY = 92

#: Fewer pixels than this a side show no granules.
LEAST_SIDE = 48


def levelled(pixels: NDArray[np.uint8], background: ArrayLike) -> NDArray[np.float32]:
    """Bring the empty slide of a window to `PAPER`.

    Parameters
    ----------
    pixels : (S, S, 3) uint8
    background : (3,) array
        Colour of the empty slide, 0 to 255, where it is known.

    Returns
    -------
    (S, S, 3) float32, 0 to 255
        The rest of the difference is taken from the window itself, where it shows empty slide.
    """
    gain = PAPER / np.maximum(np.asarray(background, np.float32), 40)
    level = np.clip(pixels.astype(np.float32) * gain, 0, 255).astype(np.float32)
    seen = _finely(level, estimate_background(level.round().astype(np.uint8)))
    if np.abs(seen / PAPER - 1).max() <= CREDIBLE:
        level = np.clip(level * (PAPER / seen), 0, 255).astype(np.float32)
    return level


def _finely(level: NDArray[np.float32], near: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean colour of the pixels like a background that is known to whole grey values only."""
    for _ in range(3):
        like = np.abs(level - near).max(axis=2) <= NEAR
        if not like.any():
            break
        near = level[like].mean(axis=0)
    return near


def present(pixels: NDArray[np.uint8], background: ArrayLike, turn: int) -> bytes:
    """Return a window as the JPEG that a participant will see.

    Parameters
    ----------
    pixels : (S, S, 3) uint8
        A window of the test's size and number of pixels.
    background : (3,) array
        Colour of its empty slide, 0 to 255.
    turn : int
        One of the eight ways to turn and mirror it, 0 to 7.
    """
    level = levelled(pixels, background).round().astype(np.uint8)
    turned = np.rot90(level, turn % 4)
    if turn >= 4:
        turned = turned[:, ::-1]
    stream = io.BytesIO()
    picture = Picture.fromarray(np.ascontiguousarray(turned))
    picture.save(stream, "JPEG", quality=QUALITY, subsampling=0, optimize=False)
    return stream.getvalue()


def decode(image: bytes) -> NDArray[np.uint8]:
    """Return the pixels ``(S, S, 3)`` of an image of a test."""
    try:
        with Picture.open(io.BytesIO(image), formats=["JPEG"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        raise InputError("An image of the test is damaged.") from error


def enlarged(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Enlarge an image for the screen, ``(side, side, 3)``, by cubic splines: the same for all."""
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC))
