"""What a cell looks like, in numbers that need no training.

With ten labels a class, colours, sizes and textures tell more of an unlabelled cell than features
that a short training without labels finds: those tell one crop from the next, by its red cells
as well as by anything else. All are of the middle of the window, and none depends on how
the cell is turned.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cytodiffusion.model.codec import to_density, to_unit
from cytodiffusion.training.data import CellSet

#: Side that windows are brought to.
SIDE = 32

#: Radius of what belongs to the cell, and width and number of the rings; shares of the window.
CELL, RING, RINGS = 0.36, 0.06, 8

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

#: Optical densities above which a pixel is dark: cytoplasm, to the darkest nuclei.
DARK = (0.25, 0.5, 0.8, 1.1)


def describe_cells(cells: CellSet, size: int) -> NDArray[np.float32]:
    """Describe crops by colours, textures and sizes.

    Parameters
    ----------
    cells : CellSet
    size : int
        Side of the windows in pixels.

    Returns
    -------
    (N, D) array
    """
    unit = small_windows(cells, size)
    density = to_density(unit)
    axes = torch.cat([density[:, :2] - density[:, 1:], density.sum(1, keepdim=True)], dim=1)
    radius = distance_from_middle(SIDE)
    parts = [
        _colours(unit, radius),
        _colours(axes, radius),
        _rings(unit, radius),
        _textures(unit),
        _dark_part(density, radius),
    ]
    return np.asarray(torch.cat(parts, dim=1).numpy())


def small_windows(cells: CellSet, size: int) -> Tensor:
    """Windows ``(N, 3, SIDE, SIDE)``, 0 to 1, of crops whose windows have ``size`` pixels."""
    pixels = torch.from_numpy(cells.windows(size)).permute(0, 3, 1, 2)
    return F.interpolate(to_unit(pixels, cells.backgrounds), (SIDE, SIDE), mode="area")


def distance_from_middle(side: int) -> Tensor:
    """Distance ``(side, side)`` of each pixel from the centre, as a share of the side."""
    line = (torch.arange(side) + 0.5) / side - 0.5
    return (line[:, None].square() + line[None].square()).sqrt()


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> Tensor:
    found = torch.quantile(values, torch.tensor(shares), dim=2)
    return found.permute(1, 0, 2).flatten(1)


def _colours(planes: Tensor, radius: Tensor) -> Tensor:
    inside = planes[:, :, radius < CELL]
    return torch.cat([_quantiles(inside, QUANTILES), inside.std(2)], dim=1)


def _rings(planes: Tensor, radius: Tensor) -> Tensor:
    number = (radius / RING).long()
    rings = [planes[:, :, number == i] for i in range(RINGS)]
    return torch.cat([torch.cat([ring.mean(2), ring.std(2)], dim=1) for ring in rings], dim=1)


def _textures(unit: Tensor) -> Tensor:
    """Quantiles of the gradients on three scales."""
    parts = []
    for factor in (1, 2, 4):
        small = F.avg_pool2d(unit, factor)
        down = small[:, :, 2:, 1:-1] - small[:, :, :-2, 1:-1]
        right = small[:, :, 1:-1, 2:] - small[:, :, 1:-1, :-2]
        steep = (down.square() + right.square()).sqrt()
        inside = distance_from_middle(small.shape[-1])[1:-1, 1:-1] < CELL
        parts.append(_quantiles(steep[:, :, inside], (0.25, 0.5, 0.75, 0.95)))
    return torch.cat(parts, dim=1)


def _dark_part(density: Tensor, radius: Tensor) -> Tensor:
    """Size, extent and looseness of what is darker than each threshold, in red and in green."""
    inside = (radius < 0.45).float()
    line = (torch.arange(SIDE) + 0.5) / SIDE - 0.5
    parts = []
    for plane in (density[:, 0], density[:, 1]):
        for threshold in DARK:
            dark = torch.sigmoid((plane * inside - threshold) / 0.1) * inside
            area = dark.sum((1, 2)) + 1e-3
            x = (dark * line).sum((1, 2)) / area
            y = (dark * line[:, None]).sum((1, 2)) / area
            distance = (line - x[:, None, None]).square()
            distance = distance + (line[:, None] - y[:, None, None]).square()
            extent = (dark * distance).sum((1, 2)) / area
            share = area / SIDE**2
            parts += [share.sqrt(), extent.sqrt(), extent / share]
    return torch.stack(parts, dim=1)
