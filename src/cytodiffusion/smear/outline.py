"""Outline of the one cell in the middle of a crop.

A closed line around the middle is sought on a polar grid by dynamic programming: it should
run where stain gives way to empty slide, around all of the nucleus, and not leap over an
empty gap to a neighbour. Knowing that there is exactly one cell, in the centre, makes this
surer than segmenting a field.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from cytodiffusion.smear.patches import FloatImage, Mask, blur

_ANGLES = 120
_STEP_UM = 0.1
#: Stain that tells cytoplasm from empty slide, and the density from which more says nothing.
_FAINT, _FULL = 0.06, 0.20
#: Density of the red channel in nuclei and platelets.
_NUCLEAR = 0.45
_GAP_COST = 0.12


def central_outline(density: FloatImage, px_um: float) -> Mask | None:
    """Outline the cell in the middle."""
    nucleus = _nucleus(density, px_um)
    if nucleus is None:
        return None
    centre = np.argwhere(nucleus).mean(axis=0)
    reach_um = (min(density.shape[:2]) / 2 - 2) / px_um
    radii = np.arange(0, reach_um, _STEP_UM)
    angles = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    rows = centre[0] + np.sin(angles)[:, None] * radii * px_um
    columns = centre[1] + np.cos(angles)[:, None] * radii * px_um
    grid = columns.astype(np.float32), rows.astype(np.float32)
    stain = np.clip(_stain(density, px_um), 0, _FULL)
    along = cv2.remap(stain, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    kernel = cv2.remap(nucleus.astype(np.float32), *grid, cv2.INTER_LINEAR)
    path = _closed_path(_cost(np.asarray(along), np.asarray(kernel)))
    r = ndi.gaussian_filter1d(radii[path], 1.0, mode="wrap") * px_um
    corners = np.column_stack([centre[1] + np.cos(angles) * r, centre[0] + np.sin(angles) * r])
    mask = np.zeros(density.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 1, shift=4)
    return mask > 0


def _nucleus(density: FloatImage, px_um: float) -> Mask | None:
    """Find what is strongly stained in and around the middle."""
    side = density.shape[0]
    line = (np.arange(side) - (side - 1) / 2) / px_um
    distance = np.hypot(line[:, None], line[None, :])
    pieces, _ = ndi.label(blur(density, 0.2 * px_um)[..., 0] > _NUCLEAR)
    inner = np.unique(pieces[distance < 3.0])
    nucleus = np.isin(pieces, inner[inner > 0])
    if nucleus.sum() < 1.0 * px_um**2:
        return None
    # Further lobes lie near the first ones; platelets and other cells further off.
    near = ndi.distance_transform_edt(~nucleus) < 1.2 * px_um
    lobes = np.unique(pieces[near & (distance < 6.5)])
    return np.isin(pieces, lobes[lobes > 0])


def _stain(density: FloatImage, px_um: float) -> FloatImage:
    """Density by which a pixel counts as part of the cell: red cells count less."""
    smooth = blur(density, 0.12 * px_um)
    soft = np.maximum(blur(density, 0.35 * px_um), 1e-3)
    red, green, blue = (soft[..., k] for k in range(3))
    # Haemoglobin takes as much blue as red light and not much more green.
    like = np.clip((blue / red - 0.55) / 0.2, 0, 1) * np.clip((2.1 - green / red) / 0.4, 0, 1)
    like = like * np.clip((red - 0.10) / 0.06, 0, 1)
    return np.asarray(smooth.max(axis=-1) * (1 - 0.7 * like), np.float32)


def _cost(
    along: npt.NDArray[np.floating], nucleus: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Cost of ending a ray at each radius, ``(angles, radii)``."""
    apart = 3  # samples: 0.3 um either side of the line
    inside = np.roll(along, apart, axis=1)
    outside = np.roll(along, -apart, axis=1)
    edge = inside - outside
    edge[:, :apart] = edge[:, -apart:] = 0
    empty = np.cumsum(along < _FAINT, axis=1) * _GAP_COST * _STEP_UM * 10
    cost = -edge + empty
    # The line must run outside the nucleus.
    covered = np.cumsum((nucleus > 0.5)[:, ::-1], axis=1)[:, ::-1] > 0
    return np.where(covered, 10.0, cost).astype(np.float64)


def _closed_path(cost: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Cheapest smooth closed path: one radius index for every angle."""
    n, m = cost.shape
    wrapped = np.concatenate([cost, cost, cost])
    total = np.empty_like(wrapped)
    total[0] = wrapped[0]
    back = np.zeros(wrapped.shape, np.intp)
    jumps = np.arange(-3, 4)
    bend = 0.012 * jumps.astype(float) ** 2
    padded = np.full(m + 6, np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 7)  # (m, jumps), of what it holds
    here = np.arange(m)
    for row in range(1, len(wrapped)):
        padded[3:-3] = total[row - 1]
        options = windows + bend
        choice = options.argmin(axis=1)
        total[row] = wrapped[row] + options[here, choice]
        back[row] = np.clip(here + jumps[choice], 0, m - 1)
    path = np.empty(len(wrapped), np.intp)
    path[-1] = int(total[-1].argmin())
    for row in range(len(wrapped) - 1, 0, -1):
        path[row - 1] = back[row, path[row]]
    return path[n : 2 * n]
