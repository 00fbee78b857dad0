"""Stain maps of a field, and which of its pixels belong to a cell at all."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from cytodiffusion.image.stain import background_map, optical_density

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Stains:
    """Where and how a field absorbs light.

    Attributes
    ----------
    absorbed : (Y, X, 3) float32
        Natural optical density against the empty slide, per channel.
    density : (Y, X) float32
        Absorbed light over all channels, as natural optical density: every cell shows.
    purple : (Y, X) float32
        What the azure dyes absorb more than haemoglobin and eosin do: green and red, not blue.
        Nuclei and platelets are high, cytoplasm is middling, red cells are near zero.
    tint : (Y, X) float32
        ``purple`` relative to ``density``: colour regardless of how dense the cell is.
    """

    absorbed: NDArray[np.float32]
    density: Plane
    purple: Plane
    tint: Plane


def stain_maps(rgb: NDArray[np.uint8], background: NDArray[np.float32] | None = None) -> Stains:
    """Background-corrected stain maps of an RGB field (Y, X, 3) uint8.

    ``background`` is its `background_map`, where that is known already.
    """
    absorbed = optical_density(rgb, background_map(rgb) if background is None else background)
    red, green, blue = np.moveaxis(absorbed, 2, 0)
    density = 0.3 * red + 0.5 * green + 0.2 * blue
    purple = green - blue + 0.5 * red
    tint = purple / (np.maximum(density, 0) + 0.1)
    return Stains(absorbed, _plane(density), _plane(purple), _plane(tint))


def foreground(density: Plane) -> Mask:
    """Pixels that absorb: Otsu's threshold, lowered because cells are thin at rim and centre.

    A field of only background has nothing to tell apart, so the threshold never falls below
    what noise and uneven light reach.
    """
    clipped = np.clip(density, 0, 0.3)
    split = float(threshold_otsu(clipped)) if np.ptp(clipped) > 0 else 1.0
    cells = clipped[clipped > split]
    typical = float(np.median(cells)) if cells.size else 1.0
    low = max(0.04, 4 * background_noise(density))
    return np.asarray(density > np.clip(0.3 * typical, low, 0.16))


def background_noise(plane: Plane) -> float:
    """Return the noise (one sigma) of a stain map on the empty slide, from its negative values."""
    below = plane[plane < 0]
    return 1.5 * float(np.median(-below)) if below.size else 0.0


def fill_holes(mask: Mask, max_area: float, min_solidity: float = 0.0) -> Mask:
    """Fill holes of at most ``max_area`` pixels that are as compact as the pallor of a red cell."""
    holes, count = ndimage.label(~mask)
    if count == 0:
        return mask
    areas = np.bincount(holes.ravel(), minlength=count + 1)
    fill = areas <= max_area
    fill[0] = False
    edge = np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    fill[edge] = False
    if min_solidity > 0:
        for index, where in enumerate(ndimage.find_objects(holes), start=1):
            if fill[index] and solidity(holes[where] == index) < min_solidity:
                fill[index] = False
    return np.asarray(mask | fill[holes])


def smooth(plane: Plane, sigma: float) -> Plane:
    """Blur with a Gaussian of ``sigma`` pixels."""
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.1)), dtype=np.float32)


def disc(radius: float) -> NDArray[np.uint8]:
    """Return a round structuring element of ``radius`` pixels."""
    size = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), dtype=np.uint8)


def opened(mask: Mask, radius: float) -> Mask:
    """Remove what is thinner than twice ``radius`` pixels."""
    if radius < 0.5:
        return mask
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(radius)) > 0)


def closed(mask: Mask, radius: float) -> Mask:
    """Bridge gaps narrower than twice ``radius`` pixels."""
    if radius < 0.5:
        return mask
    pad = max(1, round(radius)) + 1
    wide = np.pad(mask, pad).astype(np.uint8)
    done = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disc(radius)) > 0
    return np.asarray(done[pad:-pad, pad:-pad])


def solidity(region: Mask) -> float:
    """Area over the area of the convex hull, with pixels counted as unit squares."""
    points = np.argwhere(np.pad(region, 1))
    corners = np.concatenate([points + shift for shift in ((0, 0), (0, 1), (1, 0), (1, 1))])
    hull = cv2.convexHull(corners[:, ::-1].astype(np.int32))
    return float(region.sum() / max(cv2.contourArea(hull), 1.0))


def _plane(values: NDArray[np.floating]) -> Plane:
    return np.ascontiguousarray(values, dtype=np.float32)
