"""Red cells: clumps divided into cells, pallor filled."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed as flood

from cytodiffusion.segmentation.foreground import Mask, Plane, Stains, fill_holes, opened, smooth

Labels = NDArray[np.int32]


def split_red_cells(
    stains: Stains, mask: Mask, taken: Mask, pixel_um: float, min_area_um2: float = 12.0
) -> Labels:
    """Label red cells in the foreground that no white cell has taken.

    Parameters
    ----------
    stains, mask
        Maps of the field and its foreground, (Y, X).
    taken : (Y, X) bool
        Pixels of white cells.
    pixel_um : float
        Micrometres per pixel.
    min_area_um2 : float
        Smaller pieces are debris.

    Returns
    -------
    (Y, X) int32
        1..N.
    """
    cells = fill_holes(mask & ~taken, 25 / pixel_um**2, 0.8) & ~taken
    cells = opened(cells, 0.6 / pixel_um)
    depth = _depth(cells, pixel_um)
    markers = _markers(depth, cells, pixel_um)
    labels = flood(-depth, markers, mask=cells)
    areas = np.bincount(labels.ravel()) * pixel_um**2
    keep = areas >= min_area_um2
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0)
    return np.asarray(numbers[labels], dtype=np.int32)


def _depth(cells: Mask, pixel_um: float) -> Plane:
    """Distance in micrometres to the nearest pixel outside, the image border not counting."""
    wide = np.pad(cells, 1, mode="edge").astype(np.uint8)
    depth = cv2.distanceTransform(wide, cv2.DIST_L2, 5)[1:-1, 1:-1] * pixel_um
    return smooth(np.asarray(depth, np.float32), 0.4 / pixel_um)


def _markers(depth: Plane, cells: Mask, pixel_um: float) -> Labels:
    """One marker for every bulge about as deep as a red cell."""
    labels, _ = ndimage.label(cells)
    peaks = peak_local_max(
        depth,
        min_distance=max(1, round(2.2 / pixel_um)),
        threshold_abs=1.0,
        labels=labels,
        exclude_border=False,
    )
    markers = np.zeros(depth.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return markers
