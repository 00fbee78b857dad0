"""What can be measured in the picture of a cell that may tell a synthetic one from a real one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.authenticity.standardise import PAPER
from cytodiffusion.segmentation.foreground import disc
from cytodiffusion.smear.outline import central_outline


@dataclass(frozen=True)
class Measure:
    """A measure and how to say that a cell has less or more of it than others.

    Attributes
    ----------
    key : str
        Its name in tables.
    less, more : str
        What is said of a cell, such as "its edge is softer".
    """

    key: str
    less: str
    more: str

    @property
    def of_nucleus(self) -> bool:
        """Whether it says nothing of a cell that has no nucleus."""
        return self.key.startswith("nucleus")


#: In the order of the columns of `measured`.
MEASURES: tuple[Measure, ...] = (
    Measure("edge", "its edge is softer", "its edge is sharper"),
    Measure(
        "nucleus, fine",
        "its chromatin has less fine structure",
        "its chromatin has more fine structure",
    ),
    Measure("nucleus, coarse", "its chromatin is less clumped", "its chromatin is more clumped"),
    Measure(
        "cytoplasm, fine",
        "its cytoplasm has less fine texture",
        "its cytoplasm has more fine texture",
    ),
    Measure(
        "cytoplasm, coarse", "its cytoplasm is less granular", "its cytoplasm is more granular"
    ),
    Measure(
        "grain of the slide",
        "the empty slide around it has less grain",
        "the empty slide around it has more grain",
    ),
    Measure(
        "finest detail",
        "its detail fades sooner towards the finest",
        "its detail reaches further towards the finest",
    ),
    Measure(
        "colour of the detail", "its fine detail has more colour", "its fine detail has less colour"
    ),
    Measure("nucleus, darkness", "its nucleus is paler", "its nucleus is darker"),
    Measure("nucleus, hue", "its nucleus is bluer", "its nucleus is redder"),
    Measure("cytoplasm, darkness", "its cytoplasm is paler", "its cytoplasm is darker"),
    Measure("cytoplasm, hue", "its cytoplasm is bluer", "its cytoplasm is redder"),
)

#: Standard deviations, in micrometres, between which detail counts as coarse.
_COARSE_UM = (0.25, 0.6)
#: Half the width of the rim in which the edge is looked for, in micrometres, and its sectors.
_RIM_UM, _SECTORS = 0.8, 16
#: Radius of the cell where no outline is found, as a share of the window.
_USUAL = 0.3
#: Regions of fewer pixels are too small to measure in.
_FEW = 12
_LEAST = 1e-4


def measured(pixels: NDArray[np.uint8], window_um: float) -> NDArray[np.float64]:
    """Measure a cell.

    Parameters
    ----------
    pixels : (S, S, 3) uint8
        The image of a trial, whose empty slide has the colour of all images of a test.
    window_um : float
        Side of the window it shows.

    Returns
    -------
    (M,) float64
        One value for each of `MEASURES`. Powers are logarithms. Each band of detail is a
        difference of Gaussians (Marr & Hildreth 1980) of the optical density.
    """
    density = -np.log((pixels.astype(np.float32) + 1) / (PAPER + 1))
    px_um = len(pixels) / window_um
    nucleus, cytoplasm, cell = _regions(density, px_um)
    grey = density.mean(axis=2)
    fine = density - _blurred(density, 1.0)
    next_finest = _blurred(grey, 1.0) - _blurred(grey, 2.0)
    coarse = _blurred(grey, _COARSE_UM[0] * px_um) - _blurred(grey, _COARSE_UM[1] * px_um)
    grain = fine.mean(axis=2)
    empty = ~cv2.dilate(cell.astype(np.uint8), disc(_RIM_UM * px_um)).astype(bool) & (grey < 0.12)
    values = (
        _edge(grey, cell, px_um),
        _power(grain, nucleus),
        _power(coarse, nucleus),
        _power(grain, cytoplasm),
        _power(coarse, cytoplasm),
        _power(grain, empty),
        _power(grain, cell) - _power(next_finest, cell),
        _together(fine, cell),
        _mean(grey, nucleus),
        _hue(density, nucleus),
        _mean(grey, cytoplasm),
        _hue(density, cytoplasm),
    )
    return np.array(values, np.float64)


def _regions(
    density: NDArray[np.float32], px_um: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Nucleus, cytoplasm and the whole cell in the middle."""
    cell = central_outline(density, px_um)
    if cell is None or cell.sum() < _FEW:
        side = len(density)
        line = np.arange(side) - (side - 1) / 2
        cell = np.hypot(line[:, None], line[None, :]) < _USUAL * side
    red = _blurred(density, 0.15 * px_um)[..., 0]
    # what is stained strongest is the nucleus; Otsu's threshold within the cell
    inside = red[cell]
    scaled = np.clip(inside * 100, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled.reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)
    nucleus = cell & (red > level / 100)
    return nucleus, cell & ~nucleus, cell


def _blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), max(sigma, 0.3)), np.float32)


def _power(band: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
    """Logarithm of the standard deviation of a band of detail in a region."""
    return float(np.log(band[region].std() + _LEAST)) if region.sum() >= _FEW else float("nan")


def _mean(values: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
    return float(values[region].mean()) if region.sum() >= _FEW else float("nan")


def _hue(density: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
    """How much more blue than red light a region takes: the more, the redder it looks."""
    if region.sum() < _FEW:
        return float("nan")
    red, _, blue = density[region].mean(axis=0)
    return float(np.log((abs(blue) + 0.02) / (abs(red) + 0.02)))


def _edge(grey: NDArray[np.float32], cell: NDArray[np.bool_], px_um: float) -> float:
    """How steeply the stain begins, a micrometre, in parts of the whole step.

    The steepest place of the profile across the rim, of each of a number of sectors: the outline
    need not be exact for it, and texture is averaged away.
    """
    inside = cv2.distanceTransform(cell.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~cell).astype(np.uint8), cv2.DIST_L2, 5)
    depth = np.where(cell, inside - 0.5, 0.5 - outside)
    bins = max(2, math.ceil(2 * _RIM_UM * px_um))
    near = np.abs(depth) < bins / 2
    step = float(grey[near & cell].mean() - grey[near & ~cell].mean()) if near.any() else 0.0
    if not cell.any() or cell.all() or step < _LEAST:
        return float("nan")
    rows, columns = np.nonzero(near)
    middle = np.argwhere(cell).mean(axis=0)
    angle = np.arctan2(rows - middle[0], columns - middle[1])
    sector = ((angle / (2 * np.pi) + 0.5) * _SECTORS).astype(int) % _SECTORS
    place = sector * bins + np.clip(depth[near] + bins / 2, 0, bins - 1).astype(int)
    counts = np.bincount(place, minlength=_SECTORS * bins)
    total = np.bincount(place, grey[near], minlength=_SECTORS * bins)
    with np.errstate(invalid="ignore"):
        profile = (total / np.where(counts, counts, np.nan)).reshape(_SECTORS, bins)
    steps = np.diff(profile, axis=1)
    known = steps[np.isfinite(steps).all(axis=1)]
    if not len(known):
        return float("nan")
    return float(np.log(max(known.max(axis=1).mean() * px_um / step, _LEAST)))


def _together(fine: NDArray[np.float32], cell: NDArray[np.bool_]) -> float:
    """How much the finest detail of the three colours goes together, as a mean correlation."""
    values = fine[cell]
    if len(values) < _FEW or values.std(axis=0).min() < _LEAST:
        return float("nan")
    return float(np.asarray(np.corrcoef(values.T))[np.triu_indices(3, 1)].mean())


def named(keys: Sequence[int], signs: Sequence[bool]) -> str:
    """Say of measures, by their numbers, whether a cell has less or more, with commas between."""
    said = [
        MEASURES[k].more if more else MEASURES[k].less for k, more in zip(keys, signs, strict=True)
    ]
    if len(said) < 2:
        return "".join(said)
    return f"{', '.join(said[:-1])} and {said[-1]}"
