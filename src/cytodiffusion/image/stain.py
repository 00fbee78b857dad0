"""Colour of the empty background, uneven light, and optical density.

Transmitted light is absorbed by what it passes, so a cell's dye is the logarithm of how much darker
it is than the empty slide (Beer-Lambert). Everything that compares stains therefore starts with
the colour of the empty slide, of one image (`estimate_background`) or of each of its places
(`background_map`).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError

#: Longest side in pixels of the copy the background is looked for in.
_WORK_SIDE = 224

#: The same of the copy that uneven light is mapped in. In an image of one cell the light varies
#: little, so that a smaller copy will do there, at a twentieth of the time.
MAP_SIDE, SINGLE_CELL_MAP_SIDE = 336, 96

#: A background of which no channel reaches this (0..255) is not that of a transmitted-light image.
DARKEST_BACKGROUND = 40.0

#: A brightness peak below this share of the highest one is not taken for the background.
_PEAK_SHARE = 0.12

#: Nothing that absorbs light is brighter than the empty slide, in any colour. Where more than this
#: share of the flat pixels is, by this factor, the light there is another: a glare spot.
_OUTSHINING_SHARE, _OUTSHINING = 0.12, 1.12

#: A peak darker than this share of the brightest is red cells rather than the slide beside a glare.
_BESIDE_GLARE = 0.65


def estimate_background(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour of the empty, bright background of a field or of a single-cell crop.

    The empty slide is the brightest thing in a smear that is both flat and of some size: the
    brightest substantial peak in the histogram of the flat pixels. Red cells are darker; small
    highlights are too small or too smeared out to make a peak. A glare spot may make one, but other
    parts outshine it in one colour or another, as nothing outshines the empty slide. A crop without
    any empty slide gives the colour of its brightest substantial part.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        The image; must not be empty.

    Returns
    -------
    (3,) float32
        Red, green and blue in 0..255, never below 1.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise InputError(f"The background needs an RGB image, not an array of shape {rgb.shape}.")
    small = _small_inner(rgb)
    flat = _flat_pixels(small)
    # Dyes and haemoglobin absorb green most; a little of the others keeps odd white balances apart
    brightness = small @ np.array([0.2, 0.6, 0.2], np.float32)
    brightest: NDArray[np.float32] | None = None
    for peak in _bright_peaks(brightness[flat]):
        near = flat & (np.abs(brightness - peak) <= 8)
        chosen = small[near] if near.any() else small.reshape(-1, 3)
        planes = np.ascontiguousarray(chosen.T)  # medians along memory are several times faster
        colour = np.maximum(np.median(planes, axis=1), 1.0).astype(np.float32)
        brightest = colour if brightest is None else brightest
        if colour.sum() < _BESIDE_GLARE * brightest.sum():
            break
        if not _outshone(colour, small[flat & (brightness < peak)]):
            return np.asarray(colour)
    assert brightest is not None  # a histogram has a peak
    upper = np.quantile(small[flat], 1 - _OUTSHINING_SHARE, axis=0)
    return np.asarray(np.maximum(brightest, upper), np.float32)


def _outshone(colour: NDArray[np.float32], others: NDArray[np.float32]) -> bool:
    """Whether a substantial share of ``others (M, 3)`` is brighter than ``colour`` somewhere."""
    if len(others) == 0:
        return False
    brighter = (others > _OUTSHINING * colour).any(axis=1)
    return bool(brighter.mean() > _OUTSHINING_SHARE)


def _small_inner(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a small smooth copy without the frame that scanners leave at the edge."""
    height, width = rgb.shape[:2]
    my, mx = int(height * 0.02 + 0.5), int(width * 0.02 + 0.5)
    inner = rgb[my : height - my, mx : width - mx]
    scale = min(1.0, _WORK_SIDE / max(inner.shape[:2]))
    size = (max(1, round(inner.shape[1] * scale)), max(1, round(inner.shape[0] * scale)))
    small = cv2.resize(np.ascontiguousarray(inner), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), dtype=np.float32)


def _flat_pixels(small: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels with little gradient: the flatter half, and whatever is flat by any standard."""
    grey = np.ascontiguousarray(small.mean(axis=2))
    slope = np.hypot(
        cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3)
    )
    return np.asarray(slope <= max(8.0, float(np.median(slope))))


def _bright_peaks(values: NDArray[np.float32]) -> list[float]:
    """Brightness of the substantial peaks of the histogram of ``values``, the brightest first."""
    counts = np.bincount(np.clip(values, 0, 255).astype(np.intp), minlength=256).astype(np.float32)
    # Ends padded with zeros, so that a saturated background is a peak too
    padded = np.pad(counts, 8).reshape(1, -1)
    smooth = cv2.GaussianBlur(padded, (0, 0), 2.5, borderType=cv2.BORDER_CONSTANT).ravel()
    floor = _PEAK_SHARE * float(smooth.max())
    from scipy.signal import find_peaks  # slow to import

    peaks, _ = find_peaks(smooth, height=floor, prominence=0.5 * floor)
    found = np.sort(peaks)[::-1] if peaks.size else np.array([smooth.argmax()])
    return [float(peak - 8) for peak in found]


def background_map(
    rgb: NDArray[np.uint8],
    *,
    rounds: int = 3,
    side: int = MAP_SIDE,
    colour: NDArray[np.float32] | None = None,
    small: bool = False,
) -> NDArray[np.float32]:
    """Colour of the empty slide at every place of a field: uneven light, shading, a glare spot.

    Pixels close to the current idea of the background, or brighter, are averaged with a narrow
    Gaussian window; where there are few of them (inside cells, in clumps) a wide window and at last
    the colour of the whole field take over. A few rounds let cells inside a bright spot drop out.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        The field.
    rounds : int
        How often background pixels are chosen anew.
    side : int
        Longest side in pixels of the copy that the map is made of.
    colour : (3,) float32, optional
        That of `estimate_background`, where it is known already.
    small : bool
        Leave the map at the size of the copy.

    Returns
    -------
    (Y, X, 3) float32
        Background colour in 1..255.
    """
    colour = estimate_background(rgb) if colour is None else colour
    height, width = rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    copy = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    ground = np.broadcast_to(colour, copy.shape).astype(np.float32)
    # Pale red cells absorb about 0.1; the first round is wider, for light that falls off
    for tolerance in np.linspace(0.12, 0.06, rounds):
        ground = _local_background(copy, ground, colour, float(tolerance))
    if not small:
        size = (width, height)
        ground = np.asarray(cv2.resize(ground, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(np.maximum(ground, 1.0), dtype=np.float32)


def _local_background(
    small: NDArray[np.float32],
    ground: NDArray[np.float32],
    colour: NDArray[np.float32],
    tolerance: float,
) -> NDArray[np.float32]:
    """One round of `background_map` on the small copy."""
    density = optical_density(small, ground)
    empty = (density.max(axis=2) < tolerance).astype(np.float32)
    result = np.broadcast_to(colour, small.shape).astype(np.float32)
    side = max(small.shape[:2])
    for share, trust in ((1 / 8, 0.02), (1 / 40, 0.10)):
        sigma = max(1.0, side * share)
        weight = cv2.GaussianBlur(empty, (0, 0), sigma)[..., None]
        total = cv2.GaussianBlur(small * empty[..., None], (0, 0), sigma)
        result = (total + trust * result) / (weight + trust)
    return np.asarray(result, dtype=np.float32)


def optical_density(
    rgb: NDArray[np.uint8] | NDArray[np.float32], background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How much light is lost against the empty slide, as a natural logarithm, per channel.

    Parameters
    ----------
    rgb : (..., 3) uint8 or float32
        Pixels in 0..255.
    background : (3,) or (..., 3) float32
        Colour of the empty slide in 0..255.

    Returns
    -------
    (..., 3) float32
        0 on the empty slide, positive where something absorbs, negative where it is brighter.
    """
    # 4 of 255: keeps dark pixels, where sensors are noisy and JPEG coarse, from running away
    light = np.asarray(rgb, dtype=np.float32) + 4.0
    return np.asarray(np.log((background + 4.0) / light), dtype=np.float32)
