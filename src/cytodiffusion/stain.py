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
from scipy.signal import find_peaks

from cytodiffusion.errors import InputError

#: Longest side in pixels of the copy the background is looked for in.
_WORK_SIDE = 224
#: A brightness peak below this share of the highest one is not taken for the background.
_PEAK_SHARE = 0.12


def estimate_background(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour of the empty, bright background of a field or of a single-cell crop.

    The empty slide is the brightest thing in a smear that is both flat and of some size: the
    brightest substantial peak in the histogram of the flat pixels. Red cells are darker, small
    highlights and a glare spot are too small or too smeared out to make a peak. A crop without any
    empty slide gives the colour of its brightest substantial part.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        The image; must not be empty.

    Returns
    -------
    (3,) float32
        Red, green and blue in 0..255, never below 1.

    Raises
    ------
    InputError
        When the array is not a non-empty (Y, X, 3) image.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise InputError(f"The background needs an RGB image, not an array of shape {rgb.shape}.")
    small = _small_inner(rgb)
    flat = _flat_pixels(small)
    # Dyes and haemoglobin absorb green most; a little of the others keeps odd white balances apart
    brightness = small @ np.array([0.2, 0.6, 0.2], np.float32)
    peak = _brightest_peak(brightness[flat])
    near = flat & (np.abs(brightness - peak) <= 8)
    chosen = small[near] if near.any() else small.reshape(-1, 3)
    colour = np.maximum(np.median(chosen, axis=0), 1.0).astype(np.float32)
    return np.asarray(colour)


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


def _brightest_peak(values: NDArray[np.float32]) -> float:
    """Brightness of the brightest substantial peak of the histogram of ``values``."""
    counts = np.bincount(np.clip(values, 0, 255).astype(np.intp), minlength=256).astype(np.float32)
    # Ends padded with zeros, so that a saturated background is a peak too
    padded = np.pad(counts, 8).reshape(1, -1)
    smooth = cv2.GaussianBlur(padded, (0, 0), 2.5, borderType=cv2.BORDER_CONSTANT).ravel()
    floor = _PEAK_SHARE * float(smooth.max())
    peaks, _ = find_peaks(smooth, height=floor, prominence=0.5 * floor)
    return float((peaks.max() if peaks.size else smooth.argmax()) - 8)
