"""Whether the colours of a picture are those of a stained smear: grey, swapped or inverted ones."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: Longest side of the copy that is looked at.
_SIDE = 256

#: Differences of 8-bit channels up to this are no colour.
_GREY = 4

#: Pixels that are darker in green than the empty slide by this, in log, are cells.
_CELL = 0.12

#: Fewer pixels than this of a kind prove nothing.
_FEW = 60

GREY = (
    "The picture has no colours: the classes of the cells were learned from stained, coloured "
    "pictures and are not to be trusted here."
)
INVERTED = (
    "The picture looks inverted, as a negative (bright cells on a dark ground): invert it first, "
    "since dark is taken for stain here."
)
SWAPPED = (
    "The red cells look blue: red and blue may be swapped (BGR for RGB), or the picture may be a "
    "negative; mend that first, since the classes rest on the colours."
)


def colour_doubts(rgb: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return what is wrong with the colours of a field, one sentence each; mostly nothing.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        A field with several cells; a single cell proves nothing.
    """
    scale = min(1.0, _SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)
    if int(np.ptp(rgb[:: max(1, rgb.shape[0] // 64)].astype(np.int16), axis=2).max()) <= _GREY:
        return (GREY,)
    pixels = cv2.GaussianBlur(small, (0, 0), 1.0).reshape(-1, 3).astype(np.float32)
    if _inverted(pixels):
        return (INVERTED,)
    return (SWAPPED,) if _swapped(pixels) else ()


def _inverted(pixels: NDArray[np.float32]) -> bool:
    """Whether what is coloured is bright and greenish: a negative of pink and purple cells.

    Dyes of a smear take away green, so nothing of a true one has more green than its empty slide.
    """
    light = pixels.mean(axis=1)
    green = pixels[:, 1] - (pixels[:, 0] + pixels[:, 2]) / 2
    least, most = np.percentile(green, [2, 98])
    coloured = green > 0.5 * most
    bright, dark = _empty(light), _empty(255 - light)
    if bright.mean() < 0.12 and dark.mean() > max(0.2, 2.5 * bright.mean()):
        # A wide ground that is dark, but not the black around an eyepiece or a screenshot
        greener = np.median(green[~dark]) - np.median(green[dark])
        if np.median(light[dark]) > 12 and greener > 5:
            return True
    if most <= 12 or least < max(-8, -0.5 * most) or coloured.all():
        return False
    brighter = light[coloured].mean() > light[~coloured].mean() + 10
    return bool(brighter and bright.mean() < 0.25 and _nuclei_redder(_redness(pixels)) > -0.08)


def _empty(light: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels about as bright as the brightest."""
    return np.asarray(light > 0.93 * np.percentile(light, 98))


def _swapped(pixels: NDArray[np.float32]) -> bool:
    """Whether red cells absorb red rather than blue, and nuclei are not bluer than they."""
    found = _redness(pixels)
    if found is None:
        return False
    redder = _nuclei_redder(found)
    return (found[0] < 0 and redder > 0.25) or (found[0] < -0.25 and redder > -0.08)


def _nuclei_redder(found: tuple[float, float] | None) -> float:
    return 0.0 if found is None else found[1] - found[0]


def _redness(pixels: NDArray[np.float32]) -> tuple[float, float] | None:
    """How much more blue than red is absorbed, against green: by all cells, by the darkest parts.

    Haemoglobin is positive; nuclei are less so than the red cells beside them, in any stain and
    with any white balance.
    """
    light = pixels.mean(axis=1)
    ground = np.median(pixels[_empty(light)], axis=0)
    density = np.log((ground + 4) / (pixels + 4))
    cells = (density[:, 1] > _CELL) & (pixels.max(axis=1) > 40)
    if np.count_nonzero(cells) < _FEW:
        return None
    green = density[cells, 1]
    redness = (density[cells, 2] - density[cells, 0]) / np.maximum(green, 0.05)
    darkest = redness[green >= np.percentile(green, 97)]
    return float(np.median(redness)), float(np.median(darkest))
