"""How many micrometres a pixel is, from the red cells."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.segmentation.arcs import Arc, outline_arcs
from cytodiffusion.segmentation.foreground import (
    Mask,
    Stains,
    closed,
    foreground,
    opened,
    smooth,
    stain_maps,
)
from cytodiffusion.segmentation.nuclei import purple_level

#: Diameter of a red cell on a dried smear, in micrometres.
RED_CELL_UM = 7.5
#: Diameter of the circle of a nucleus' area, assumed where there is no red cell to compare with.
NUCLEUS_UM = 8.5
#: A red cell is at least this much wider than the widest circle inside a nucleus.
RED_PER_NUCLEUS = 0.55
#: Purple density from which on a pixel may belong to a nucleus in any stain.
NUCLEAR_PURPLE = 0.45
#: Pieces of the foreground of fewer pixels tell nothing about the colour of red cells.
MIN_PIECE = 100
#: Outlines are drawn a little inside the faint rim of a cell; calibrated where scales are known.
OUTLINE_GAIN = 1.035
#: Which of the diameters around the most common one is taken; of few, rather their median.
QUANTILE = 0.68
#: Assumed where nothing can be measured: 100x oil immersion on a common camera.
DEFAULT_PIXEL_UM = 0.1
#: Pixel sizes outside this range are not believed.
PLAUSIBLE_UM = (0.02, 1.5)

#: Fewer whole cells than this, in sum of the visible parts of their outlines, are no measurement.
MIN_CELLS = 1.2

#: Reductions of the working image at which outlines are read.
REDUCTIONS = (1, 2, 4)

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


def estimate_pixel_size(rgb: NDArray[np.uint8], stains: Stains | None = None) -> ScaleEstimate:
    """Estimate the pixel size of a smear from its red cells, taken to be 7.5 um across.

    Every convex stretch of an outline tells the diameter of the cell it belongs to, in a clump or
    at the border of the image as well; the diameter that accounts for most of the area wins.
    Without red cells a nucleus of 8.5 um is assumed, and without any cell 0.1 um a pixel.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        A field or a single-cell crop.
    stains : Stains, optional
        Its stain maps, where they are known already; of no use for a large image.
    """
    scale = min(1.0, _WORK_SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    if scale < 1:
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        stains = None
    found = measure_red_cells(stain_maps(rgb) if stains is None else stains)
    if found.source == "none":
        return ScaleEstimate(DEFAULT_PIXEL_UM, "assumed", 0, float("nan"))
    pixel = float(np.clip(found.pixel_size_um * scale, *PLAUSIBLE_UM))
    return ScaleEstimate(pixel, found.source, found.n_cells, found.spread)


def measure_red_cells(stains: Stains) -> ScaleEstimate:
    """Pixel size of the planes in ``stains``; source ``"none"`` where no cell was found.

    Outlines are read at several reductions, since what is a wobble on a large cell is a notch
    between two small ones; the reduction at which round cells explain most of the foreground is
    believed.
    """
    mask = foreground(smooth(stains.density, 1.0))
    stain = smooth(stains.purple, 1.0)
    purple = stain > max(NUCLEAR_PURPLE, purple_level(stain, mask, MIN_PIECE))
    nucleus = _largest_nucleus(opened(purple, 1.0))
    best, most = None, 0.0
    for reduction in REDUCTIONS:
        small = (_reduced(opened(mask, 1.0), reduction), _reduced(purple, reduction))
        if min(small[0].shape) < 24:
            break
        scaled = _Nucleus(nucleus.width / reduction, nucleus.diameter / reduction)
        found, explained = _measure(*small, scaled)
        if found is not None and explained > most:
            most = explained
            size = found.pixel_size_um / reduction
            best = ScaleEstimate(size, "estimated", found.n_cells, found.spread)
    return best or _from_nucleus(nucleus)


def _reduced(mask: Mask, times: int) -> Mask:
    """Return the mask at a lower resolution, by majority."""
    if times == 1:
        return mask
    size = (max(1, mask.shape[1] // times), max(1, mask.shape[0] // times))
    part = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(part > 0.5)


def _measure(mask: Mask, purple: Mask, nucleus: _Nucleus) -> tuple[ScaleEstimate | None, float]:
    """Estimate at one reduction, and the share of the foreground its round cells explain."""
    low, high = RED_PER_NUCLEUS * nucleus.width, 0.8 * min(mask.shape)
    arcs = [
        arc
        for arc in outline_arcs(mask)
        if low < arc.diameter < high and not _is_nuclear(arc, purple)
    ]
    evidence = sum(arc.share for arc in arcs)
    if evidence < (0.45 if nucleus.width else MIN_CELLS):
        return None, 0.0
    values = np.array([arc.diameter for arc in arcs])
    # Short arcs are often the narrow ends of long cells
    weights = np.array([arc.share for arc in arcs]) ** 2
    values = values * OUTLINE_GAIN
    diameter, chosen = _mode(values, weights * _agreement(values, nucleus))
    explained = float(
        np.sum(weights[chosen] * values[chosen] ** 2) / max((mask & ~purple).sum(), 1)
    )
    if nucleus.width == 0 and explained < 0.03:
        return None, 0.0
    # One cut cell alone must agree with the nucleus beside it
    if evidence < MIN_CELLS and not 0.6 < diameter / nucleus.diameter < 2.0:
        return None, 0.0
    explained *= float(_agreement(np.array([diameter]), nucleus)[0])
    quartiles = np.percentile(values[chosen], [25, 75])
    spread = float((quartiles[1] - quartiles[0]) / diameter)
    estimate = ScaleEstimate(RED_CELL_UM / diameter, "estimated", int(chosen.sum()), spread)
    return estimate, explained


@dataclass(frozen=True)
class _Nucleus:
    """The largest nucleus, in pixels: widest circle inside it, diameter of a circle of its area."""

    width: float = 0.0
    diameter: float = 0.0


def _largest_nucleus(purple: Mask) -> _Nucleus:
    """Measure the largest nucleus with its lobes; zeros without any."""
    if not purple.any():
        return _Nucleus()
    wide = np.pad(purple, 1).astype(np.uint8)
    width = 2 * float(cv2.distanceTransform(wide, cv2.DIST_L2, 5).max())
    if width <= 8:  # a platelet or noise
        return _Nucleus()
    groups, count = ndimage.label(closed(purple, width / 4))
    areas = np.bincount(groups[purple], minlength=count + 1)
    diameter = 2 * float(np.sqrt(areas[1:].max() / np.pi))
    # Nuclei of touching cells run together; one nucleus is not that long
    return _Nucleus(width, min(diameter, 1.5 * width))


def _agreement(values: NDArray[np.float64], nucleus: _Nucleus) -> NDArray[np.float64]:
    """How well diameters of red cells go with the nucleus seen, 0..1; 1 without any.

    Nuclei are about as large as red cells, give or take the factor of two that lies between an
    erythroblast and a monocyte.
    """
    if nucleus.diameter == 0:
        return np.ones_like(values)
    ratio = np.log(values / nucleus.diameter * (NUCLEUS_UM / RED_CELL_UM))
    return np.asarray(np.exp(-0.5 * (ratio / 0.6) ** 2))


def _is_nuclear(arc: Arc, purple: Mask) -> bool:
    """Whether the circle of an arc holds a nucleus or is a platelet."""
    reach = 0.35 * arc.diameter
    rows = slice(max(0, int(arc.y - reach)), max(0, int(arc.y + reach) + 1))
    columns = slice(max(0, int(arc.x - reach)), max(0, int(arc.x + reach) + 1))
    inside = purple[rows, columns]
    return bool(inside.size and inside.mean() > 0.15)


def _mode(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.bool_]]:
    """Most common diameter on a logarithmic axis, and which values belong to it."""
    logs = np.log(values)
    grid = np.linspace(logs.min() - 0.3, logs.max() + 0.3, 256)
    # By area: one red cell counts as much as all the specks that would cover it
    density = (weights * values * np.exp(-0.5 * ((grid[:, None] - logs[None]) / 0.12) ** 2)).sum(
        axis=1
    )
    centre = grid[int(density.argmax())]
    chosen = np.abs(logs - centre) < 0.25
    if not chosen.any():
        chosen = np.abs(logs - centre) <= np.abs(logs - centre).min()
    # Hidden parts and narrow ends make arcs too small more often than too large
    order = np.argsort(values[chosen])
    rank = np.cumsum(weights[chosen][order])
    quantile = 0.5 + (QUANTILE - 0.5) * min(1.0, len(order) / 10)
    middle = int(np.searchsorted(rank, quantile * rank[-1]))
    return float(values[chosen][order][min(middle, len(order) - 1)]), chosen


def _from_nucleus(nucleus: _Nucleus) -> ScaleEstimate:
    """Scale from the size of a nucleus, when there is one."""
    if nucleus.diameter == 0:
        return ScaleEstimate(DEFAULT_PIXEL_UM, "none", 0, float("nan"))
    return ScaleEstimate(NUCLEUS_UM / nucleus.diameter, "assumed", 0, float("nan"))
