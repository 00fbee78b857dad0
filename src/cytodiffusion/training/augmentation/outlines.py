"""Outlines of the cells in training crops, for changing what lies around them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.segmentation.watershed import watershed

#: The cell is kept with so much around it, in micrometres: outlines are not exact.
MARGIN_UM = 0.5

#: Width in micrometres of the soft border between the cell and its surroundings.
SOFT_UM = 0.25

#: A piece whose nearest point is further from the middle of the crop is not its cell.
NEAR_UM = 3.0


class Outlines:
    """The cell in the middle of each of many crops, found when first asked for.

    Parameters
    ----------
    pixels : (N, 3, S, S) uint8 tensor
        Crops.
    pixel_size_um : float
        Micrometres per pixel of the crops.
    """

    def __init__(self, pixels: Tensor, pixel_size_um: float):
        self.pixels = pixels
        self.pixel_size_um = pixel_size_um
        self._found: dict[int, Tensor] = {}

    def __call__(self, index: Tensor) -> Tensor:
        """Masks ``(len(index), 1, S, S)``, float32: 1 inside, 0 outside, soft between."""
        masks = []
        for i in index.tolist():
            if i not in self._found:
                crop = np.ascontiguousarray(self.pixels[i].permute(1, 2, 0).numpy())
                self._found[i] = torch.from_numpy(cell_mask(crop, self.pixel_size_um))
            masks.append(self._found[i])
        return torch.stack(masks)[:, None].float() / 255


def cell_mask(crop: NDArray[np.uint8], pixel_size_um: float) -> NDArray[np.uint8]:
    """Soft mask ``(S, S)`` of the cell in the middle of a crop, 0 to 255.

    Where no cell is found near the middle, all of the crop counts as the cell.

    Parameters
    ----------
    crop : (S, S, 3) uint8
    pixel_size_um : float
    """
    labels = watershed(crop, pixel_size_um).labels
    middle = np.array(labels.shape) / 2 - 0.5
    y, x = np.nonzero(labels)
    if len(y) == 0:
        return np.full(labels.shape, 255, np.uint8)
    distance = np.hypot(y - middle[0], x - middle[1])
    nearest = distance.argmin()
    if distance[nearest] * pixel_size_um > NEAR_UM:
        return np.full(labels.shape, 255, np.uint8)
    mask = np.where(labels == labels[y[nearest], x[nearest]], 255, 0).astype(np.uint8)
    reach = max(1, round(MARGIN_UM / pixel_size_um))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    soft = cv2.GaussianBlur(cv2.dilate(mask, element), (0, 0), SOFT_UM / pixel_size_um)
    return np.asarray(soft, np.uint8)
