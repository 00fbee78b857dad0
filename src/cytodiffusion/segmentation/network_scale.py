"""Micrometres a pixel of a field, by the red cells that the smear network outlines in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.image.surround import inside
from cytodiffusion.model.segmenter import Segmenter
from cytodiffusion.segmentation.network import at_working_size, outline, smear_network
from cytodiffusion.segmentation.result import RED
from cytodiffusion.segmentation.scale import (
    PLAUSIBLE_UM,
    RED_CELL_UM,
    ScaleEstimate,
    estimate_pixel_size,
)
from cytodiffusion.segmentation.settings import NetworkSettings

#: Pixel sizes that are tried, and those tried where none of them fits. The network bears cells of
#: two thirds to one and a half of their size.
TRIED_UM, FURTHER_UM = (0.05, 0.1, 0.2), (0.027, 0.38)

#: A pixel size at which red cells fill less of what is outlined than this does not fit.
LEAST_MERIT = 0.25

#: Largest side in working pixels of what is looked at; the second where the first shows too little.
SIDES = (256, 640)

#: A picture that is narrower by the guess shows one cell and its surroundings: too few red cells
#: for other sizes to be told from one another.
SINGLE_UM = 32.0

#: Fewest red cells that a size other than the guess is believed from: the grain of a single cell
#: may look like a few small ones.
LEAST_FOUND = 8

#: Fewest red cells that a scale is believed from.
LEAST_CELLS = 3

#: A cell that touches others along less of its outline than this lies alone; with so many of
#: them only they are measured, since others may be hidden in part.
TOUCHING, ENOUGH_ALONE = 0.08, 6

#: Outlines are drawn a little inside the faint rim of a cell; calibrated where scales are known.
OUTLINE_GAIN = 1.06

#: Cells that are so many times larger or smaller than at the size taken are outlined again.
CLOSE = 1.08

#: A pixel size is confirmed by red cells that are so many times larger or smaller at most.
AGREEING = 1.35


@dataclass(frozen=True)
class RedCellMeasure:
    """Red cells of a field that was outlined as if it had a certain pixel size.

    Attributes
    ----------
    ratio : float
        The pixel size that makes the red cells 7.5 um wide, over the one that was taken.
    count : int
        How many were measured.
    spread : float
        Relative interquartile range of their diameters.
    merit : float
        How well red cells of about the expected size explain what is outlined, 0 to 1; 0 where
        there are too few.
    """

    ratio: float = 1.0
    count: int = 0
    spread: float = float("nan")
    merit: float = 0.0

    @property
    def close(self) -> bool:
        """Whether outlining again at the corrected size would change nothing."""
        return self.fits and 1 / CLOSE < self.ratio < CLOSE

    @property
    def fits(self) -> bool:
        """Whether the pixel size that was taken is about the right one."""
        return self.merit >= LEAST_MERIT and 1 / AGREEING < self.ratio < AGREEING


def field_scale(rgb: NDArray[np.uint8]) -> ScaleEstimate:
    """Measure the pixel size of a field, whatever surrounds it, by the default smear network."""
    return measure_scale(inside(rgb).rgb, smear_network())


def measure_scale(rgb: NDArray[np.uint8], segmenter: Segmenter) -> ScaleEstimate:
    """Measure the pixel size of a field by its red cells, taken to be 7.5 um across.

    A first guess comes from the arcs of outlines (`estimate_pixel_size`). The red cells that the
    network outlines at that size confirm and refine it; where they do not, a few other sizes are
    tried on the middle of the field.
    """
    guess = estimate_pixel_size(rgb)
    return search_scale(rgb, guess, segmenter, _looked_at(rgb, guess.pixel_size_um, segmenter))


def search_scale(
    rgb: NDArray[np.uint8], guess: ScaleEstimate, segmenter: Segmenter, seen: RedCellMeasure
) -> ScaleEstimate:
    """Settle the pixel size, given a guess and the red cells seen at that size."""
    if seen.close:
        return refined(guess.pixel_size_um, seen)
    if seen.fits:
        um = guess.pixel_size_um * seen.ratio
        again = _looked_at(rgb, um, segmenter)
        return refined(um, again) if again.fits else refined(guess.pixel_size_um, seen)
    if min(rgb.shape[:2]) * guess.pixel_size_um < SINGLE_UM:
        return guess
    for side in SIDES:
        found = [(um, _looked_at(rgb, um, segmenter, side)) for um in TRIED_UM]
        if max(measure.merit for _, measure in found) < LEAST_MERIT:
            found += [(um, _looked_at(rgb, um, segmenter, side)) for um in FURTHER_UM]
        um, best = max(found, key=lambda pair: pair[1].merit)
        if best.merit >= LEAST_MERIT and best.count >= LEAST_FOUND:
            um *= best.ratio
            again = _looked_at(rgb, um, segmenter, side)
            return refined(um, again if again.merit > 0 else best)
        if max(rgb.shape[:2]) * max(TRIED_UM) <= side * segmenter.working_um:
            break  # a larger part would show no more
    return guess


def refined(pixel_um: float, seen: RedCellMeasure) -> ScaleEstimate:
    """Correct a pixel size by the red cells that were seen at it."""
    size = float(np.clip(pixel_um * seen.ratio, *PLAUSIBLE_UM))
    return ScaleEstimate(size, "estimated", seen.count, seen.spread)


def _looked_at(
    rgb: NDArray[np.uint8], pixel_um: float, segmenter: Segmenter, side: int = SIDES[0]
) -> RedCellMeasure:
    """Outline the middle of a field at a pixel size, and measure its red cells."""
    part = _middle(rgb, round(side * segmenter.working_um / pixel_um))
    small, working_um = at_working_size(part, pixel_um, segmenter)
    return red_cells(*outline(small, working_um, segmenter, NetworkSettings()), working_um)


def red_cells(
    labels: NDArray[np.int32], kinds: NDArray[np.uint8], pixel_um: float
) -> RedCellMeasure:
    """Measure the red cells of an outlined field.

    Parameters
    ----------
    labels : (Y, X) int32
    kinds : (N + 1,) uint8
        Kind of every label, 0 included.
    pixel_um : float
        Micrometres a pixel that it was outlined at.
    """
    areas = np.bincount(labels.ravel(), minlength=len(kinds)).astype(float)
    uncut = np.ones(len(kinds), bool)
    uncut[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = False
    whole = (kinds == RED) & uncut & _round(labels, len(kinds))
    alone = whole & (_contact(labels, len(kinds)) < TOUCHING)
    chosen = np.flatnonzero(alone if alone.sum() >= ENOUGH_ALONE else whole)
    if len(chosen) < LEAST_CELLS:
        return RedCellMeasure()
    diameters = OUTLINE_GAIN * 2 * np.sqrt(areas[chosen] / np.pi) * pixel_um
    near = np.abs(np.log(diameters / _usual(diameters, areas[chosen]))) < 0.3
    if near.sum() < LEAST_CELLS:
        return RedCellMeasure()
    low, middle, high = np.percentile(diameters[near], [25, 50, 75])
    expected = np.exp(-0.5 * (np.log(middle / RED_CELL_UM) / 0.3) ** 2)
    alike = np.abs(np.log(np.maximum(areas, 1) / np.median(areas[chosen][near]))) < 0.7
    share = areas[alike & (kinds == RED)].sum() / max(areas[1:].sum(), 1.0)
    return RedCellMeasure(
        float(RED_CELL_UM / middle),
        int(near.sum()),
        float((high - low) / middle),
        float(share * expected),
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


def _contact(labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """Share of every label's outline along which it touches other labels."""
    wide = np.pad(labels, 1)
    inner = wide[1:-1, 1:-1]
    beside = np.stack([wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]])
    other = beside != inner
    outline = np.bincount(inner.ravel(), other.any(axis=0).ravel(), minlength=count)
    touching = np.bincount(inner.ravel(), (other & (beside > 0)).any(axis=0).ravel(), count)
    return np.asarray(touching / np.maximum(outline, 1))


def _usual(diameters: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the most common diameter, by area."""
    logs = np.log(diameters)
    near = np.exp(-0.5 * ((logs[:, None] - logs[None]) / 0.1) ** 2)
    return float(diameters[int((near * weights).sum(axis=1).argmax())])
