"""The outline of a cell in its crop, and what is varied on either side of it.

A cell's size, measured in red cells, is one of the things that tell its class, and yet it differs
from smear to smear (shrunken and dark in thick parts, spread and pale in thin ones), and so does
how straight outlines are drawn. Zooming the whole crop does not stand for it: red cells keep their
size. Each class of a public data set comes from few smears, so that the red cells beside a cell
tell its class, too; in other smears they are pale, lysed, crowded or of another shape.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from cytodiffusion.model.codec import WHITE, to_density
from cytodiffusion.segmentation.watershed import watershed

#: The cell is kept with so much around it, in micrometres: outlines are not exact.
MARGIN_UM = 0.5

#: Width in micrometres of the soft border between the cell and its surroundings.
SOFT_UM = 0.25

#: Cells are looked for in copies of crops that are no wider than this, in pixels.
LARGEST_SIDE = 128

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
                self._found[i] = torch.from_numpy(soft_mask(crop, self.pixel_size_um))
            masks.append(self._found[i])
        return torch.stack(masks)[:, None].float() / 255

    def of(self, index: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what gives the masks of some rows of a batch of the crops ``index``."""
        return lambda rows: self(index[rows])


def soft_mask(crop: NDArray[np.uint8], pixel_size_um: float) -> NDArray[np.uint8]:
    """Mask of `cell_mask`, of a fine crop found in a coarser copy: its border is soft anyway."""
    side = len(crop)
    if side <= LARGEST_SIDE:
        return cell_mask(crop, pixel_size_um)
    small = cv2.resize(crop, (LARGEST_SIDE, LARGEST_SIDE), interpolation=cv2.INTER_AREA)
    found = cell_mask(np.asarray(small, np.uint8), pixel_size_um * side / LARGEST_SIDE)
    return np.asarray(cv2.resize(found, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def cell_mask(crop: NDArray[np.uint8], pixel_size_um: float) -> NDArray[np.uint8]:
    """Soft mask ``(S, S)`` of the cell in the middle of a crop, 0 to 255.

    Where no cell is found near the middle, all of the crop counts as the cell.

    Parameters
    ----------
    crop : (S, S, 3) uint8
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


#: Nodes of the coarse grid, across the window, that outlines are bent by.
NODES = 6

#: A cell whose mask reaches so much of the crop's border is not alone in it, or was not found.
LARGEST_BORDER = 0.25


def spread_cells(
    unit: Tensor, masks: Tensor, generator: Generator, *, shrunken: float, spread: float
) -> tuple[Tensor, Tensor]:
    """Shrink or spread the cells, and not what surrounds them.

    Parameters
    ----------
    unit : (N, 3, S, S) float tensor, 0 to 1, empty slide at ``WHITE``
    masks : (N, 1, S, S) float tensor
        1 in the cell, 0 outside. Crops whose mask reaches their border stay as they are.
    shrunken, spread : float
        Logarithms of the smallest and the largest factor of the diameter, both as positive
        numbers; the factor is uniform between them in its logarithm.
    """
    n = len(unit)
    log = torch.rand(n, 1, 1, 1, generator=generator) * (shrunken + spread) - shrunken
    power = 1.5 * torch.rand(n, 1, 1, 1, generator=generator)
    sides = (masks[..., 0, :], masks[..., -1, :], masks[..., 0], masks[..., -1])
    touched = torch.cat(sides, 2).mean(dim=(1, 2))[:, None, None, None]
    log = torch.where(touched > LARGEST_BORDER, 0.0, log)
    factor = log.exp()
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / factor.flatten()
    grid = F.affine_grid(theta, [n, 3, *unit.shape[2:]], align_corners=False)
    density = to_density(unit)
    cell = F.grid_sample(density * masks, grid, "bilinear", "zeros", align_corners=False)
    moved = F.grid_sample(masks, grid, "bilinear", "zeros", align_corners=False)
    around = density * (1 - masks) * (1 - moved)
    return WHITE * torch.exp(-(cell * factor.pow(-power) + around)), moved


def bend(n: int, size: int, generator: Generator, *, strength: float, share: float) -> Tensor:
    """Smooth displacements ``(N, size, size, 2)`` of a sampling grid, none for most crops.

    ``strength`` is the largest standard deviation, in half windows; ``share`` that of the crops
    that are bent (elastic distortion, cf. Simard et al. 2003).
    """
    chosen = torch.rand(n, 1, 1, 1, generator=generator) < share
    amount = strength * torch.rand(n, 1, 1, 1, generator=generator) * chosen
    nodes = torch.randn(n, 2, NODES, NODES, generator=generator)
    field = F.interpolate(nodes, (size, size), mode="bicubic", align_corners=True)
    return (amount * field).permute(0, 2, 3, 1)


def leave_alone(unit: Tensor, masks: Tensor, generator: Generator, *, largest: float) -> Tensor:
    """Fade what surrounds the cells: other smears have pale red cells, or lysed ones.

    Parameters
    ----------
    unit : (N, 3, S, S) float tensor, 0 to 1, empty slide at ``WHITE``
    masks : (N, 1, S, S) float tensor
        1 in the cell, 0 outside.
    largest : float
        The surroundings keep between none and this share of their optical density.
    """
    kept = largest * torch.rand(len(unit), 1, 1, 1, generator=generator)
    return WHITE * torch.exp(-to_density(unit) * (masks + (1 - masks) * kept))


def exchange(unit: Tensor, masks: Tensor, generator: Generator, *, share: float) -> Tensor:
    """Put some of the cells among what surrounds another one; where that one was is empty slide.

    Parameters
    ----------
    unit : (N, 3, S, S) float tensor, 0 to 1, empty slide at ``WHITE``
    masks : (N, 1, S, S) float tensor
        1 in the cell, 0 outside.
    share : float
        Share of the cells that move.
    """
    n = len(unit)
    moved = (torch.rand(n, 1, 1, 1, generator=generator) < share).float()
    turns, other = (int(x) for x in torch.randint(1, 4, (2,), generator=generator))
    order = torch.arange(n).roll(other)
    around = to_density(unit) * (1 - masks)
    theirs = torch.rot90(around[order], turns, (2, 3))
    own = to_density(unit) * masks
    outside = moved * theirs * (1 - masks) + (1 - moved) * around
    return WHITE * torch.exp(-(own + outside))
