"""Micrometres a pixel of a field, by the red cells that the smear network outlines in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.model.segmenter import Segmenter
from cytodiffusion.segmentation.network import outline
from cytodiffusion.segmentation.resampling import resample
from cytodiffusion.segmentation.result import RED, WHITE
from cytodiffusion.segmentation.scale import DEFAULT_PIXEL_UM, RED_CELL_UM, ScaleEstimate
from cytodiffusion.segmentation.settings import NetworkSettings

#: Pixel sizes that are tried, and those tried where none of them fits. The network bears cells of
#: two thirds to one and a half of their size.
TRIED_UM, FURTHER_UM = (0.05, 0.1, 0.2), (0.027, 0.38)

#: A pixel size at which red cells fill less of what is outlined than this does not fit.
LEAST_MERIT = 0.25

#: Largest side in working pixels of what is looked at; the second where the first shows too little.
SIDES = (256, 640)

#: Fewest red cells that a scale is believed from.
LEAST_CELLS = 3

#: Size of a white cell in micrometres, where no red cell is in view.
WHITE_CELL_UM = 12.5


def measure_scale(rgb: NDArray[np.uint8], segmenter: Segmenter) -> ScaleEstimate:
    """Measure the pixel size of a field by its red cells, taken to be 7.5 um across.

    The field is outlined as if it had each of a few pixel sizes, and the one is believed at which
    red cells of the expected size fill most of what is outlined; it is then measured again there.
    """
    tried: list[_Measured] = []
    for side in SIDES:
        tried += [_measured(rgb, pixel_um, side, segmenter) for pixel_um in TRIED_UM]
        best = max(tried, key=lambda found: found.merit)
        if best.merit < LEAST_MERIT:
            tried += [_measured(rgb, pixel_um, side, segmenter) for pixel_um in FURTHER_UM]
            best = max(tried, key=lambda found: found.merit)
        if best.merit > 0:
            again = _measured(rgb, best.pixel_um, side, segmenter)
            best = again if again.merit > 0 else best
            return ScaleEstimate(best.pixel_um, "estimated", best.count, best.spread)
        if max(rgb.shape[:2]) <= side * segmenter.working_um / max(TRIED_UM):
            break  # a larger part would show no more
    white = [found for found in tried if found.white > 0]
    if white:
        nearest = min(white, key=lambda found: abs(np.log(found.white / WHITE_CELL_UM)))
        return ScaleEstimate(
            nearest.tried_um * WHITE_CELL_UM / nearest.white, "assumed", 0, float("nan")
        )
    return ScaleEstimate(DEFAULT_PIXEL_UM, "assumed", 0, float("nan"))


@dataclass(frozen=True)
class _Measured:
    """Red cells at a pixel size that was tried."""

    tried_um: float
    #: The pixel size that makes them 7.5 um wide, their number and spread; how well it explains
    #: the field, 0 where too few were found.
    pixel_um: float
    count: int
    spread: float
    merit: float
    #: Diameter of the largest white cell at the pixel size that was tried, in um.
    white: float


def _measured(
    rgb: NDArray[np.uint8], pixel_um: float, side: int, segmenter: Segmenter
) -> _Measured:
    part = _middle(rgb, round(side * segmenter.working_um / pixel_um))
    small, working_um = resample(part, pixel_um, segmenter.working_um, at_most=4.0)
    labels, kinds = outline(small, working_um, segmenter, NetworkSettings())
    areas = np.bincount(labels.ravel(), minlength=len(kinds)).astype(float)
    inside = np.ones(len(kinds), bool)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    inside[border] = False
    diameters = 2 * np.sqrt(areas / np.pi) * working_um
    whites = diameters[(kinds == WHITE) & inside]
    white = float(whites.max()) if len(whites) else 0.0
    chosen = np.flatnonzero((kinds == RED) & inside & _round(labels, len(kinds)))
    if len(chosen) < LEAST_CELLS:
        return _Measured(pixel_um, pixel_um, 0, float("nan"), 0.0, white)
    middle = _usual(diameters[chosen], areas[chosen])
    near = np.abs(np.log(diameters[chosen] / middle)) < 0.3
    if near.sum() < LEAST_CELLS:
        return _Measured(pixel_um, pixel_um, 0, float("nan"), 0.0, white)
    middle = float(np.median(diameters[chosen][near]))
    low, high = np.percentile(diameters[chosen][near], [25, 75])
    share = areas[chosen][near].sum() / max(areas[1:].sum(), 1.0)
    expected = np.exp(-0.5 * (np.log(middle / RED_CELL_UM) / 0.3) ** 2)
    return _Measured(
        pixel_um,
        pixel_um * RED_CELL_UM / middle,
        int(near.sum()),
        float((high - low) / middle),
        float(share * expected),
        white,
    )


def _middle(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = (max(0, (length - side) // 2) for length in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + side, left : left + side])


def _round(labels: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    """Which labels fill most of an ellipse: whole cells, not what others leave of them."""
    found = np.zeros(count, bool)
    for label, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        mask = (labels[where] == label).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        hull = cv2.convexHull(max(outlines, key=len))
        area = mask.sum()
        height, width = mask.shape
        found[label] = area > 0.9 * cv2.contourArea(hull) and 0.6 < height / width < 1.67
    return found


def _usual(diameters: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the most common diameter, by area."""
    logs = np.log(diameters)
    near = np.exp(-0.5 * ((logs[:, None] - logs[None]) / 0.1) ** 2)
    return float(diameters[int((near * weights).sum(axis=1).argmax())])
