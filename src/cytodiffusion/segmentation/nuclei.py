"""White cells: a nucleus, or all lobes of one, with the cytoplasm around it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed as flood

from cytodiffusion.segmentation.foreground import (
    Mask,
    Plane,
    Stains,
    closed,
    fill_holes,
    opened,
    smooth,
)

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class NucleusRules:
    """Sizes, in micrometres, that tell nuclei from platelets and cytoplasm from neighbours."""

    min_lobe_um2: float = 2.5
    min_nucleus_um2: float = 12.0
    max_gap_um: float = 2.5
    max_cell_um: float = 24.0
    max_cytoplasm_um: float = 7.0


def purple_level(purple: Plane, mask: Mask) -> float:
    """Threshold of ``purple`` above which a pixel is nucleus or platelet.

    Half of what the darkest nuclei reach, within what any stain leaves: red cells stay below
    0.3 in all of them.
    """
    strong = purple[mask & (purple > 0.45)]
    top = float(np.median(strong)) if strong.size > 50 else 0.7
    return float(np.clip(0.45 * top, 0.28, 0.55))


def find_nuclei(stains: Stains, mask: Mask, pixel_um: float, rules: NucleusRules) -> Labels:
    """Label nuclei, the lobes of one cell under one number.

    Parameters
    ----------
    stains, mask
        Maps of the field and its foreground, (Y, X).
    pixel_um : float
        Micrometres per pixel of these.
    rules : NucleusRules
        Sizes.

    Returns
    -------
    (Y, X) int32
        1..N on nuclear pixels.
    """
    purple = smooth(stains.purple, 0.25 / pixel_um)
    dark = fill_holes(purple > purple_level(purple, mask), 4 / pixel_um**2)
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
    near = far * pixel_um < rules.max_cytoplasm_um
    owner = nuclei[nearest[0], nearest[1]]
    tint = smooth(stains.tint, 0.5 / pixel_um)
    level, spread = red_tint(tint, mask & (far * pixel_um > 6.0))
    top = float(np.median(tint[nuclear]))
    split = float(np.clip(level + max(1.2 * spread, 0.3 * (top - level)), 0.2, 1.0))
    cytoplasm = mask & near & (tint > split)
    cytoplasm = opened(cytoplasm | nuclear, 0.8 / pixel_um) | nuclear
    cytoplasm = fill_holes(cytoplasm, 12 / pixel_um**2)
    if count > 1:
        steep = smooth(stains.density, 0.5 / pixel_um)
        slope = np.hypot(cv2.Sobel(steep, cv2.CV_32F, 1, 0), cv2.Sobel(steep, cv2.CV_32F, 0, 1))
        owner = flood(slope + 0.05 * far * pixel_um, nuclei, mask=cytoplasm)
    cells = np.where(cytoplasm, owner, 0).astype(np.int32)
    return _tidy(cells, nuclei, count, pixel_um)


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
        cell = opened(closed(cells[box] == index, 1.2 / pixel_um), 1.0 / pixel_um)
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
