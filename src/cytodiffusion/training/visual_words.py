"""What a cell looks like, in numbers that need no training with labels.

Colours, sizes and textures of the middle of the window, none of which depends on how the cell is
turned; and visual words (Csurka et al. 2004), for which two dictionaries are found by k-means in
optical densities: small patches, whitened, and colours (Coates, Ng & Lee, An analysis of
single-layer networks in unsupervised feature learning, 2011). A cell is described by how much of
each word there is in its middle and in the rings around it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from cytodiffusion.model.codec import to_density, to_unit
from cytodiffusion.training.data import CellSet, generator_for

#: Side that windows are brought to.
SIDE = 32

#: Radius of what belongs to the cell, and width and number of the rings; shares of the window.
CELL, RING, RINGS = 0.36, 0.06, 8

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

#: Optical densities above which a pixel is dark: cytoplasm, to the darkest nuclei.
DARK = (0.25, 0.5, 0.8, 1.1)

#: Side of a patch, number of patch words, and the rings they are counted in (shares of the window).
PATCH, PATCH_WORDS, PATCH_RINGS = 6, 256, (0.0, 0.15, CELL)

#: Number of colour words and their rings; distance of densities at which a pixel takes a word less.
COLOUR_WORDS, COLOUR_RINGS, REACH = 64, (0.0, 0.12, 0.24, CELL), 0.05

#: Patches or pixels that a dictionary is learned from, and rounds of k-means.
SAMPLES, ROUNDS = 60_000, 15

#: Added to the variances of patches before whitening, as a share of the largest.
FLOOR = 1e-3

BATCH = 256


def describe_cells(cells: CellSet, size: int) -> NDArray[np.float32]:
    """Describe crops by colours, textures and sizes.

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


def describe_patches(cells: CellSet, size: int, seed: int = 0) -> NDArray[np.float32]:
    """Describe crops ``(N, D)`` by the patches they are made of; needs no label."""
    density = to_density(small_windows(cells, size))
    generator = generator_for(seed, 0, "patch words")
    middle = F.unfold(distance_from_middle(SIDE)[None, None], PATCH)[0].mean(dim=0)
    inside = middle < CELL
    sample = _some_patches(density, inside, generator)
    mean, whiten = _whitening(sample)
    words = _k_means((sample - mean) @ whiten, PATCH_WORDS, generator)
    parts = []
    for first in range(0, len(density), BATCH):
        patches = F.unfold(density[first : first + BATCH], PATCH)[:, :, inside].transpose(1, 2)
        distance = _distances((patches - mean) @ whiten, words)
        taken = (distance.mean(dim=2, keepdim=True) - distance).clamp(min=0)  # "triangle" code
        parts.append(_in_rings(taken, middle[inside], PATCH_RINGS))
    return np.asarray(torch.cat(parts).sqrt().numpy())


def describe_colours(cells: CellSet, size: int, seed: int = 0) -> NDArray[np.float32]:
    """Describe crops ``(N, D)`` by the colours they are made of; as `describe_patches`."""
    density = to_density(small_windows(cells, size)).flatten(2).transpose(1, 2)
    generator = generator_for(seed, 0, "colour words")
    radius = distance_from_middle(SIDE).flatten()
    density, radius = density[:, radius < CELL], radius[radius < CELL]
    pixels = _some(density.flatten(0, 1), SAMPLES, generator)
    words = _k_means(pixels, COLOUR_WORDS, generator)
    parts = []
    for first in range(0, len(density), BATCH):
        distance = _distances(density[first : first + BATCH], words)
        taken = torch.softmax(-distance / REACH, dim=2)
        parts.append(_in_rings(taken, radius, COLOUR_RINGS))
    return np.asarray(torch.cat(parts).sqrt().numpy())


def _some(rows: Tensor, most: int, generator: Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:most]]


def _some_patches(density: Tensor, inside: Tensor, generator: Generator) -> Tensor:
    """Patches ``(M, D)`` of some crops, a quarter of them turned by each right angle."""
    enough = 2 * SAMPLES // int(inside.sum()) + 4
    crops = _some(density, enough, generator)
    quarters = [crops[i::4].rot90(i, (2, 3)) for i in range(4)]
    patches = [F.unfold(part, PATCH)[:, :, inside].transpose(1, 2) for part in quarters]
    return _some(torch.cat(patches).flatten(0, 1), SAMPLES, generator)


def _whitening(sample: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and matrix ``(D, D)`` that make all directions alike (ZCA)."""
    mean = sample.mean(dim=0)
    centred = sample - mean
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(sample))
    scale = (variance.clamp(min=0) + FLOOR * variance.max() + 1e-12).rsqrt()
    return mean, directions * scale @ directions.T


def _k_means(rows: Tensor, count: int, generator: Generator) -> Tensor:
    """Centres ``(count, D)`` of rows ``(M, D)`` (Lloyd 1982); one that is left alone stays."""
    centres = rows[torch.randint(len(rows), (count,), generator=generator)]
    for _ in range(ROUNDS):
        nearest = (centres.square().sum(dim=1) - 2 * rows @ centres.T).argmin(dim=1)
        number = torch.bincount(nearest, minlength=count).float()[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
        centres = torch.where(number > 0, sums / number.clamp(min=1), centres)
    return centres


def _distances(rows: Tensor, words: Tensor) -> Tensor:
    """Euclidean distances ``(N, P, K)`` of rows ``(N, P, D)`` from words ``(K, D)``."""
    squares = rows.square().sum(dim=2, keepdim=True) + words.square().sum(dim=1)
    return (squares - 2 * rows @ words.T).clamp(min=0).sqrt()


def _in_rings(taken: Tensor, radius: Tensor, bounds: tuple[float, ...]) -> Tensor:
    """Mean of each word in each ring, ``(N, rings K)``."""
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(bounds)]
    return torch.cat([taken[:, ring].mean(dim=1) for ring in rings], dim=1)
