"""Platelets: small purple bodies, alone or lying on a red cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.segmentation.foreground import Mask, Stains, fill_holes, opened, smooth
from cytodiffusion.segmentation.nuclei import red_tint

Labels = NDArray[np.int32]


def find_platelets(stains: Stains, mask: Mask, taken: Mask, pixel_um: float) -> Labels:
    """Label platelets outside the white cells.

    Parameters
    ----------
    stains, mask
        Maps of the field and its foreground, (Y, X).
    taken : (Y, X) bool
        Pixels of white cells.
    pixel_um : float
        Micrometres per pixel.

    Returns
    -------
    (Y, X) int32
        1..N.
    """
    purple = smooth(stains.purple, 0.25 / pixel_um)
    around = smooth(stains.purple, 2.5 / pixel_um)
    tint = smooth(stains.tint, 0.3 / pixel_um)
    level, spread = red_tint(tint, mask & ~taken)
    split = level + max(0.25, 2 * spread)
    spots = (purple - around > 0.08) & (purple > 0.15) & (tint > split) & ~taken
    spots = opened(fill_holes(spots, 2 / pixel_um**2), 0.4 / pixel_um)
    labels, count = ndimage.label(spots)
    areas = np.bincount(labels.ravel(), minlength=count + 1) * pixel_um**2
    keep = (areas >= 1.2) & (areas <= 20.0)
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0)
    return np.asarray(numbers[labels], dtype=np.int32)
