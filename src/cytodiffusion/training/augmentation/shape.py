"""How cells dry: shrunken and dark in thick parts of a smear, spread and pale in thin ones.

A cell's size, measured in red cells, is one of the things a class is told by, and yet it differs
from smear to smear, and so does how straight outlines are drawn. Zooming the whole crop does not
stand for it: red cells keep their size.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from cytodiffusion.model.codec import WHITE, to_density

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
    generator : torch.Generator
    shrunken, spread : float
        Logarithms of the smallest and the largest factor of the diameter, both as positive
        numbers; the factor is uniform between them in its logarithm.

    Returns
    -------
    unit, masks : tensors of the same shapes
        What was under a cell that shrank is empty slide. Up to one and a half times as much dye
        is kept as the diameter has lost: the optical density goes with a power of the factor
        between 0 and -1.5.
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
