"""How many micrometres a pixel is, from the red cells."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max

from cytodiffusion.segmentation.foreground import (
    Mask,
    Stains,
    fill_holes,
    foreground,
    opened,
    smooth,
    stain_maps,
)

#: Diameter of a red cell on a dried smear, in micrometres.
RED_CELL_UM = 7.5
#: Diameter assumed for a white cell where there is no red cell to compare with.
WHITE_CELL_UM = 12.0
#: Assumed where nothing can be measured: 100x oil immersion on a common camera.
DEFAULT_PIXEL_UM = 0.1
#: Pixel sizes outside this range are not believed.
PLAUSIBLE_UM = (0.02, 1.5)

_WORK_SIDE = 800


@dataclass(frozen=True)
class ScaleEstimate:
    """A pixel size and what it rests on.

    Attributes
    ----------
    pixel_size_um : float
        Micrometres per pixel.
    source : str
        ``"estimated"`` from red cells, or ``"assumed"`` where there were none to measure.
    n_cells : int
        How many red cells were measured.
    spread : float
        Relative interquartile range of their diameters; nan without cells.
    """

    pixel_size_um: float
    source: str
    n_cells: int
    spread: float


def estimate_pixel_size(rgb: NDArray[np.uint8]) -> ScaleEstimate:
    """Estimate the pixel size of a smear from its red cells, taken to be 7.5 um across.

    Single round cells are measured by their area, cells in clumps by the circles that fit inside
    the clump; the most common diameter wins. Without red cells a white cell of 12 um is assumed,
    and without any cell 0.1 um a pixel.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        A field or a single-cell crop.

    Returns
    -------
    ScaleEstimate
        Always a usable pixel size; ``source`` tells whether to believe it.
    """
    scale = min(1.0, _WORK_SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    found = measure_red_cells(stain_maps(small))
    if found.source == "none":
        return ScaleEstimate(DEFAULT_PIXEL_UM, "assumed", 0, float("nan"))
    pixel = float(np.clip(found.pixel_size_um * scale, *PLAUSIBLE_UM))
    return ScaleEstimate(pixel, found.source, found.n_cells, found.spread)


def measure_red_cells(stains: Stains) -> ScaleEstimate:
    """Pixel size of the planes in ``stains``; source ``"none"`` where no cell was found."""
    mask = foreground(smooth(stains.density, 1.0))
    purple = smooth(stains.purple, 1.0) > 0.45
    single, clumped = _diameters(mask, purple)
    values = np.concatenate([single, clumped])
    weights = np.concatenate([np.ones(len(single)), np.full(len(clumped), 0.5)])
    if len(values) == 0 or weights.sum() < 1.5:
        return _from_white_cell(mask, purple)
    # The larger of two equal peaks: debris and platelets are small, nothing common is larger
    diameter, chosen = _mode(values, weights)
    quartiles = np.percentile(values[chosen], [25, 75])
    spread = float((quartiles[1] - quartiles[0]) / diameter)
    return ScaleEstimate(RED_CELL_UM / diameter, "estimated", int(chosen.sum()), spread)


def _diameters(mask: Mask, purple: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Diameters in pixels of single red cells and of circles inscribed in clumps."""
    longest = max(mask.shape)
    filled = fill_holes(opened(mask, 1.0), (longest / 8) ** 2, 0.8)
    labels, count = ndimage.label(filled)
    if count == 0:
        return np.empty(0), np.empty(0)
    nuclear = np.bincount(labels[purple], minlength=count + 1)
    single: list[float] = []
    clumped: list[float] = []
    height, width = mask.shape
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        region = labels[where] == index
        area = int(region.sum())
        if area < 60 or nuclear[index] > 0.15 * area:
            continue
        rows, columns = where
        at_edge = rows.start == 0 or columns.start == 0 or rows.stop == height
        at_edge = at_edge or columns.stop == width
        if not at_edge and _is_disc(region, area):
            single.append(2.0 * float(np.sqrt(area / np.pi)))
        else:
            clumped += _inscribed(region, at_edge)
    return np.array(single), np.array(clumped)


def _is_disc(region: Mask, area: int) -> bool:
    """Whether a region is one round cell: an ellipse of small elongation without notches."""
    outline, _ = cv2.findContours(
        np.pad(region, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    points = max(outline, key=len)
    hull = cv2.contourArea(cv2.convexHull(points))
    if len(points) < 12 or cv2.contourArea(points) < 0.93 * hull:
        return False
    (_, (minor, major), _) = cv2.fitEllipse(points)
    return bool(minor > 0.7 * major and area > 0.9 * np.pi / 4 * minor * major)


def _inscribed(region: Mask, at_edge: bool) -> list[float]:
    """Diameters of the largest circles inside a region, one for every distinct bulge."""
    # At the image border the cell goes on, so a mirrored copy stands for the missing part
    depth = cv2.distanceTransform(
        np.pad(region, 1, mode="edge" if at_edge else "constant").astype(np.uint8),
        cv2.DIST_L2,
        5,
    )
    depth = smooth(np.asarray(depth, np.float32), 1.0)
    peaks = peak_local_max(depth, min_distance=3, threshold_rel=0.6, exclude_border=False)
    return [2.0 * float(depth[y, x]) for y, x in peaks if depth[y, x] > 4]


def _mode(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.bool_]]:
    """Most common diameter on a logarithmic axis, and which values belong to it."""
    logs = np.log(values)
    grid = np.linspace(logs.min() - 0.3, logs.max() + 0.3, 256)
    # By area: one red cell counts as much as the many specks that would cover it
    density = (weights * values * np.exp(-0.5 * ((grid[:, None] - logs[None]) / 0.12) ** 2)).sum(
        axis=1
    )
    centre = grid[int(density.argmax())]
    chosen = np.abs(logs - centre) < 0.25
    if not chosen.any():
        chosen = np.abs(logs - centre) <= np.abs(logs - centre).min()
    return float(np.exp(np.average(logs[chosen], weights=weights[chosen]))), chosen


def _from_white_cell(mask: Mask, purple: Mask) -> ScaleEstimate:
    """Scale from the largest nucleated cell, assumed to be of a common size."""
    labels, count = ndimage.label(fill_holes(mask, mask.size))
    if count:
        sizes = np.bincount(labels[purple], minlength=count + 1)
        sizes[0] = 0
        best = int(sizes.argmax())
        area = int((labels == best).sum())
        if sizes[best] > 30:
            diameter = 2.0 * float(np.sqrt(area / np.pi))
            return ScaleEstimate(WHITE_CELL_UM / diameter, "assumed", 0, float("nan"))
    return ScaleEstimate(DEFAULT_PIXEL_UM, "none", 0, float("nan"))
