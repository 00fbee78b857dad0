"""White cells: a nucleus, or all lobes of one, with the cytoplasm around it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed as flood

from cytodiffusion.segmentation.foreground import (
    Mask,
    Plane,
    Stains,
    background_noise,
    closed,
    fill_holes,
    opened,
    smooth,
)
from cytodiffusion.segmentation.settings import NucleusRules as NucleusRules

Labels = NDArray[np.int32]

#: Weights of the cues that tell cytoplasm from red cells, in this order: tint between that of the
#: red cells (0) and of the nuclei (1), the same in standard deviations of the red cells,
#: `unlike_red_cells`, density over that of the red cells; and the constant. From a logistic
#: regression on white cells with masks, rounded; the density counts less than it found, since
#: it depends on the stain.
CUE_WEIGHTS = (2.0, 0.6, 1.5, -1.0, -1.2)


#: Less than this area of red cells does not tell what red cells look like here.
MIN_RED_UM2 = 30.0


def purple_level(purple: Plane, mask: Mask, min_area: float) -> float:
    """Threshold of ``purple`` above which a pixel is nucleus or platelet.

    Half of what the darkest nuclei reach, within what any stain leaves, and well above the red
    cells of the field: some stains turn them violet. Pieces of the foreground below ``min_area``
    pixels do not count as red cells.
    """
    strong = purple[mask & (purple > 0.45)]
    top = float(np.median(strong)) if strong.size > 50 else 0.7
    level = float(np.clip(0.45 * top, 0.28, 0.55))
    return max(level, 1.6 * _typical_purple(purple, mask, min_area) + 0.1)


def _typical_purple(purple: Plane, mask: Mask, min_area: float) -> float:
    """Purple of the typical piece of foreground, a red cell; 0 when there are but a few pieces."""
    pieces, count = ndimage.label(mask)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    chosen = np.flatnonzero(areas > min_area) + 1
    if len(chosen) < 6:
        return 0.0
    return float(np.median(ndimage.mean(purple, pieces, chosen)))


def find_nuclei(stains: Stains, mask: Mask, pixel_um: float, rules: NucleusRules) -> Labels:
    """Label nuclei, the lobes of one cell under one number.

    Returns
    -------
    (Y, X) int32
        1..N on nuclear pixels.
    """
    purple = smooth(stains.purple, 0.25 / pixel_um)
    dark = fill_holes(purple > purple_level(purple, mask, 12 / pixel_um**2), 4 / pixel_um**2)
    dark = opened(dark, 0.4 / pixel_um)
    lobes, count = ndimage.label(dark)
    if count == 0:
        return np.zeros(dark.shape, np.int32)
    areas = np.bincount(lobes.ravel(), minlength=count + 1) * pixel_um**2
    keep = areas >= rules.min_lobe_um2
    keep[0] = False
    lobes = np.where(keep[lobes], lobes, 0)
    # Lobes are strung on cytoplasm: bridge the gap where there is stain in between
    tinted = mask & (smooth(stains.tint, 0.4 / pixel_um) > 0.3)
    bridged = closed(lobes > 0, rules.max_gap_um / 2 / pixel_um) & (tinted | (lobes > 0))
    groups, count = ndimage.label(bridged)
    nuclear = np.bincount(groups[lobes > 0], minlength=count + 1) * pixel_um**2
    # Cut off by the image border, less of a nucleus is enough
    edge = np.zeros(count + 1, bool)
    edge[np.unique(np.concatenate([groups[0], groups[-1], groups[:, 0], groups[:, -1]]))] = True
    wanted = nuclear >= np.where(edge, 0.5, 1.0) * rules.min_nucleus_um2
    wanted[0] = False
    numbers = np.where(wanted, np.cumsum(wanted), 0)
    return np.asarray(np.where(lobes > 0, numbers[groups], 0), dtype=np.int32)


def grow_cytoplasm(
    stains: Stains, mask: Mask, nuclei: Labels, pixel_um: float, rules: NucleusRules
) -> Labels:
    """Extend every nucleus to its cell.

    Cytoplasm holds azure dye and red cells next to nothing, so the foreground near a nucleus is
    divided by its tint; the outline then follows the nearest edge and is made smooth.

    Parameters
    ----------
    stains, mask, pixel_um, rules
        As in `find_nuclei`.
    nuclei : (Y, X) int32
        Its result.

    Returns
    -------
    (Y, X) int32
        The whole white cells under the numbers of their nuclei.
    """
    count = int(nuclei.max(initial=0))
    if count == 0:
        return nuclei
    nuclear = nuclei > 0
    far, nearest = ndimage.distance_transform_edt(~nuclear, return_indices=True)
    far_um = far.astype(np.float32) * pixel_um
    near = far_um < rules.max_cytoplasm_um
    owner = nuclei[nearest[0], nearest[1]]
    # Pale cytoplasm is easier to see by its colour than by its density
    purple = smooth(stains.purple, 0.25 / pixel_um)
    faint = max(0.06, 4 * background_noise(purple), 0.1 * float(np.median(purple[nuclear])))
    mask = mask | (near & opened(purple > faint, 0.4 / pixel_um))
    odds = cytoplasm_odds(stains, mask & (far_um > 6.0), nuclear, pixel_um)
    cytoplasm = _flood_cytoplasm(stains, mask & near, nuclear, odds, pixel_um)
    if count > 1:
        slope = _slope(stains, pixel_um)
        owner = flood(slope + 0.05 * far_um, nuclei, mask=cytoplasm)
    cells = np.where(cytoplasm, owner, 0).astype(np.int32)
    return _tidy(cells, nuclei, count, pixel_um)


def _flood_cytoplasm(
    stains: Stains, mask: Mask, nuclear: Mask, odds: Plane, pixel_um: float
) -> Mask:
    """Foreground near nuclei that is no red cell, divided along the steepest edges."""
    white = nuclear | opened(mask & (odds > 0.7), 0.8 / pixel_um)
    red = opened(mask & (odds < -0.7), 0.9 / pixel_um) & ~white
    markers = np.where(white, 1, np.where(red, 2, 0)).astype(np.int32)
    sides = flood(_slope(stains, pixel_um), markers, mask=mask | nuclear)
    cytoplasm = opened(sides == 1, 0.8 / pixel_um) | nuclear
    return fill_holes(cytoplasm, 12 / pixel_um**2)


def _slope(stains: Stains, pixel_um: float) -> Plane:
    """Steepness of the density, where outlines of cells run."""
    plane = smooth(stains.density + 0.5 * stains.purple, 0.3 / pixel_um)
    across, down = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    return np.hypot(across, down).astype(np.float32, copy=False)


def cytoplasm_odds(stains: Stains, red: Mask, nuclear: Mask, pixel_um: float) -> Plane:
    """Logarithm of the odds that a pixel of the foreground is cytoplasm, not red cell.

    Parameters
    ----------
    stains : Stains
        Maps of the field, (Y, X).
    red, nuclear : (Y, X) bool
        Pixels known to be red cells, and to be nucleus.
    pixel_um : float
        Micrometres per pixel.

    Returns
    -------
    (Y, X) float32
        3 everywhere when there are hardly any red cells to compare with.
    """
    if red.sum() * pixel_um**2 < MIN_RED_UM2:
        return np.full(red.shape, 3.0, np.float32)
    tint = smooth(stains.tint, 0.5 / pixel_um)
    level, spread = red_tint(tint, red)
    top = max(float(np.median(tint[nuclear])) - level, 0.2)
    dense = np.maximum(smooth(stains.density, 0.5 / pixel_um), 0) + 0.05
    cues = (
        np.clip((tint - level) / top, -1, 1.5),
        np.clip((tint - level) / spread, -4, 6),
        smooth(unlike_red_cells(stains, red, pixel_um), 0.3 / pixel_um),
        np.clip(np.log(dense / float(np.median(dense[red]))), -2, 2),
        np.ones_like(tint),
    )
    odds = sum(weight * cue for weight, cue in zip(CUE_WEIGHTS, cues, strict=True))
    return np.asarray(odds, dtype=np.float32)


def unlike_red_cells(stains: Stains, red: Mask, pixel_um: float) -> Plane:
    """How little each pixel looks like the red cells of this field, in colour and in grain.

    The red cells are described by mean and covariance of their optical densities and of their
    fine texture; granules give even a reddish cytoplasm away by the latter. A pixel of one and a
    half or twice the density is compared as well: red cells lie on top of each other.

    Parameters
    ----------
    stains : Stains
        Maps of the field, (Y, X).
    red : (Y, X) bool
        Pixels that are red cells, as far as known.
    pixel_um : float
        Micrometres per pixel.

    Returns
    -------
    (Y, X) float32
        Logarithm of the squared Mahalanobis distance over that which nine of ten red-cell pixels
        keep, within -2..2.
    """
    blurred = cv2.GaussianBlur(stains.absorbed, (0, 0), 0.4 / pixel_um)
    fine = stains.density - smooth(stains.density, 0.35 / pixel_um)
    grain = np.log(np.maximum(smooth(fine**2, 0.6 / pixel_um), 0) + 1e-5)
    known = np.dstack([blurred, grain])[red]
    for _ in range(2):  # once more without what is not a red cell
        centre = known.mean(axis=0)
        inverse = np.linalg.inv(np.cov(known.T) + 1e-4 * np.eye(4)).astype(np.float32)
        inner = np.einsum("ij,ij->i", (known - centre) @ inverse, known - centre)
        limit = float(np.percentile(inner, 90))
        known = known[inner <= 2 * limit]
    distance = np.full(red.shape, np.inf, np.float32)
    for layers in (1.0, 1.5, 2.0):
        off = (np.dstack([blurred / layers, grain]) - centre).reshape(-1, 4)
        one = np.einsum("ij,ij->i", off @ inverse, off).reshape(red.shape)
        distance = np.minimum(distance, one)
    odds: Plane = np.clip(np.log(distance / limit + 1e-6), -2, 2).astype(np.float32)
    return odds


def red_tint(tint: Plane, red: Mask) -> tuple[float, float]:
    """Tint of the red cells of this field and how far it spreads upwards (one sigma)."""
    values = tint[red]
    if values.size < 200:
        return 0.25, 0.1
    level = float(np.median(values))
    return level, max(0.05, float(np.percentile(values, 84)) - level)


def _tidy(cells: Labels, nuclei: Labels, count: int, pixel_um: float) -> Labels:
    """Keep the part of each cell that holds its nucleus, fill it and round its outline."""
    result = np.zeros_like(cells)
    margin = int(2 / pixel_um) + 2
    for index, where in enumerate(ndimage.find_objects(cells, count), start=1):
        if where is None:
            continue
        box = tuple(
            slice(max(0, part.start - margin), min(size, part.stop + margin))
            for part, size in zip(where, cells.shape, strict=True)
        )
        cell = opened(closed(cells[box] == index, 1.2 / pixel_um), 1.4 / pixel_um)
        cell |= nuclei[box] == index
        cell = ndimage.binary_fill_holes(closed(cell, 0.8 / pixel_um))
        parts, found = ndimage.label(cell)
        if found > 1:
            # The part with most nucleus; a lobe left outside is joined to it by closing above
            held = np.bincount(parts[nuclei[box] == index], minlength=found + 1)
            held[0] = 0
            cell = parts == int(held.argmax())
        free = (result[box] == 0) & ((cells[box] == 0) | (cells[box] == index))
        result[box][cell & free] = index
    return result
