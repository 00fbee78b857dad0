"""Cells described by words that are learned from the crops themselves, without labels.

Two dictionaries are found by k-means in optical densities: small patches, whitened, and colours
(Coates, Ng & Lee, An analysis of single-layer networks in unsupervised feature learning, 2011;
visual words as in Csurka et al. 2004). A cell is described by how much of each word there is in
its middle and in the rings around it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from cytodiffusion.model.codec import to_density
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.few_labels.descriptors import (
    CELL,
    SIDE,
    distance_from_middle,
    small_windows,
)

#: Side of a patch, number of patch words, and the rings they are counted in (shares of the window).
PATCH, PATCH_WORDS, PATCH_RINGS = 6, 256, (0.0, 0.15, CELL)

#: Number of colour words and their rings; distance of densities at which a pixel takes a word less.
COLOUR_WORDS, COLOUR_RINGS, REACH = 64, (0.0, 0.12, 0.24, CELL), 0.05

#: Patches or pixels that a dictionary is learned from, and rounds of k-means.
SAMPLES, ROUNDS = 60_000, 15

#: Added to the variances of patches before whitening, as a share of the largest.
FLOOR = 1e-3

BATCH = 256


def describe_patches(cells: CellSet, size: int, seed: int = 0) -> NDArray[np.float32]:
    """Describe crops ``(N, D)`` by the patches they are made of; needs no label.

    Parameters
    ----------
    cells : CellSet
    size : int
        Side of the windows in pixels.
    seed : int
        Of the dictionary.
    """
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
