"""What a machine could tell real from synthetic images by without looking at the cell.

Simple measures of every image of a test; for each the area under the ROC curve, 0.5 where it tells
nothing. A measure that does tell is either a fault of the presentation or a mark of the generator
itself (samples that are too smooth, say), which is what participants are asked to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from cytodiffusion.authenticity.presenting import decode
from cytodiffusion.stain import estimate_background

_BLOCK = 8  # side of the blocks of JPEG
#: A measure is warned of from this far of an AUC of 0.5 on, and up to this probability of chance.
MUCH, CHANCE = 0.2, 0.01


def leaks(images: Sequence[bytes], synthetic: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Measure how well simple properties of the images tell synthetic from real ones.

    Parameters
    ----------
    images : sequence of bytes
        JPEG, as shown.
    synthetic : (N,) bool array

    Returns
    -------
    list of dict
        ``measure``, ``auc`` (above 0.5: larger in synthetic images) and ``p`` (Mann & Whitney
        1947, two-sided), the most telling first.
    """
    pixels = [decode(image) for image in images]
    found = []
    for name, measure in MEASURES.items():
        values = np.array([measure(i, p) for i, p in zip(images, pixels, strict=True)], float)
        made, real = values[synthetic], values[~synthetic]
        test = mannwhitneyu(made, real, method="asymptotic")
        auc = float(test.statistic) / (len(made) * len(real))
        p = 1.0 if np.ptp(values) == 0 else float(test.pvalue)
        found.append({"measure": name, "auc": round(auc, 4), "p": p})
    return sorted(found, key=lambda row: -abs(row["auc"] - 0.5))


def telling(found: Sequence[Mapping[str, Any]]) -> str | None:
    """Warn of the most telling measure where it tells much and not by chance; else None."""
    worst = max(found, key=lambda row: abs(row["auc"] - 0.5))
    if abs(worst["auc"] - 0.5) < MUCH or worst["p"] * len(found) > CHANCE:
        return None
    return (
        f"The {worst['measure']} alone tells synthetic from real images (AUC {worst['auc']:.2f}): "
        "participants may be right without looking at the cell."
    )


def _sharpness(image: bytes, pixels: NDArray[np.uint8]) -> float:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.log(cv2.Laplacian(grey, cv2.CV_32F).var() + 1e-3))


def _blocks(image: bytes, pixels: NDArray[np.uint8]) -> float:
    """Return the steps at the borders of JPEG's blocks against those elsewhere, across and down."""
    grey = pixels.mean(axis=2)
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0) + np.abs(np.diff(grey, axis=0)).mean(axis=1)
    border = np.arange(1, len(grey)) % _BLOCK == 0
    return float(steps[border].mean() / (steps[~border].mean() + 1e-6))


def _comb(image: bytes, pixels: NDArray[np.uint8]) -> float:
    """Grey values that no pixel has among those in use: what stretching a histogram leaves."""
    counts = np.bincount(pixels.ravel(), minlength=256)[64:225]
    return float((counts == 0).mean())


def _mirrored(image: bytes, pixels: NDArray[np.uint8]) -> float:
    """How alike the outermost rows and columns are to those inside: windows filled by mirroring."""
    grey = pixels.mean(axis=2)
    sides = (grey, grey[::-1], grey.T, grey.T[::-1])
    return float(min(np.abs(side[0] - side[2]).mean() for side in sides))


#: A name, and what measures it in the file and in its pixels.
MEASURES: dict[str, Callable[[bytes, NDArray[np.uint8]], float]] = {
    "file size": lambda image, pixels: len(image),
    "sharpness": _sharpness,
    "background, brightness": lambda image, pixels: float(estimate_background(pixels).mean()),
    "background, red to blue": lambda image, pixels: float(
        np.subtract(*estimate_background(pixels)[[0, 2]])
    ),
    "saturated pixels": lambda image, pixels: float((pixels >= 254).mean()),
    "JPEG blocks": _blocks,
    "gaps in the histogram": _comb,
    "mirrored border": _mirrored,
}
