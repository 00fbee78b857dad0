"""Platelets: small bluish-purple bodies, alone or lying on a red cell."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.segmentation.foreground import (
    Mask,
    Plane,
    Stains,
    background_noise,
    fill_holes,
    opened,
    smooth,
    solidity,
)
from cytodiffusion.segmentation.nuclei import red_tint
from cytodiffusion.segmentation.settings import PlateletRules as PlateletRules

Labels = NDArray[np.int32]


def find_platelets(
    stains: Stains, mask: Mask, taken: Mask, pixel_um: float, rules: PlateletRules
) -> Labels:
    """Label platelets outside the white cells.

    A platelet takes up more azure dye than what surrounds it: more red light is lost, not only
    green. Highlights and folds of red cells, which look purple as well, fail that, or the shape.

    Parameters
    ----------
    stains, mask
        Maps of the field and its foreground, (Y, X).
    taken : (Y, X) bool
        Pixels of white cells.
    pixel_um : float
        Micrometres per pixel.
    rules : PlateletRules
        Size and shape.

    Returns
    -------
    (Y, X) int32
        1..N.
    """
    purple = smooth(stains.purple, 0.25 / pixel_um)
    red_loss, blue_loss = (
        smooth(plane, 0.25 / pixel_um) - _surroundings(plane, taken, pixel_um)
        for plane in (np.ascontiguousarray(stains.absorbed[..., i]) for i in (0, 2))
    )
    tint = smooth(stains.tint, 0.3 / pixel_um)
    level, spread = red_tint(tint, mask & ~taken)
    around = _surroundings(purple, taken, pixel_um)
    faint = max(0.08, 5 * background_noise(purple))
    seeds = (purple - around > faint) & (tint > level + max(0.25, 2 * spread)) & ~taken
    seeds &= red_loss > 0.05
    # On a red cell, a spot that is darker in blue light too is a lens or a hole, not azure dye
    on_red = smooth((mask & ~taken).astype(np.float32), 1.2 / pixel_um) > 0.8
    seeds &= ~on_red | (blue_loss < 0.5 * red_loss)
    seeds = opened(seeds, 0.4 / pixel_um)
    labels = _grow(purple, around, seeds, taken, pixel_um, rules)
    return _plausible(labels, pixel_um, rules)


def _surroundings(plane: Plane, taken: Mask, pixel_um: float) -> Plane:
    """Mean of a map around each place, white cells left out."""
    free = (~taken).astype(np.float32)
    sigma = 2.5 / pixel_um
    around = smooth(plane * free, sigma) / np.maximum(smooth(free, sigma), 0.05)
    return np.asarray(around, dtype=np.float32)


def _grow(
    purple: Plane, around: Plane, seeds: Mask, taken: Mask, pixel_um: float, rules: PlateletRules
) -> Labels:
    """Extend every seed to where its purple fades into the surroundings."""
    spots, _ = ndimage.label(seeds)
    result = np.zeros(spots.shape, np.int32)
    margin = int(1.5 / pixel_um) + 1
    for index, where in enumerate(ndimage.find_objects(spots), start=1):
        box = tuple(slice(max(0, part.start - margin), part.stop + margin) for part in where)
        height = purple[box] - around[box]
        seed = spots[box] == index
        above = (height > rules.rim * float(np.percentile(height[seed], 90))) & ~taken[box]
        parts, _ = ndimage.label(above & (result[box] == 0))
        chosen = np.unique(parts[seed])
        body = np.isin(parts, chosen[chosen > 0])
        result[box][opened(fill_holes(body, 2 / pixel_um**2), 0.3 / pixel_um)] = index
    return result


def _plausible(labels: Labels, pixel_um: float, rules: PlateletRules) -> Labels:
    """Keep what has the size and the shape of a platelet, numbered without gaps."""
    result = np.zeros_like(labels)
    kept = 0
    low, high = rules.area_um2
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        region = labels[where] == index
        if not low <= region.sum() * pixel_um**2 <= high:
            continue
        if solidity(region) < rules.min_solidity or _roundness(region) < rules.min_roundness:
            continue
        kept += 1
        result[where][region] = kept
    return result


def _roundness(region: Mask) -> float:
    """Shorter over longer side of the smallest box around a region, turned as it fits best."""
    points = np.argwhere(region)[:, ::-1].astype(np.float32)
    (_, sides, _) = cv2.minAreaRect(points)
    return float((min(sides) + 1) / (max(sides) + 1))
