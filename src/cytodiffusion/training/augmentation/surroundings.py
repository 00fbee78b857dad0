"""What lies around the cell: faded, or another cell's.

Each class of a public data set comes from few smears, so that red cells beside a cell tell its
class. In other smears they are pale, lysed, crowded or of another shape.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from cytodiffusion.model.codec import WHITE, to_density


def leave_alone(unit: Tensor, masks: Tensor, generator: Generator, *, largest: float) -> Tensor:
    """Fade what surrounds the cells: other smears have pale red cells, or lysed ones.

    Parameters
    ----------
    unit : (N, 3, S, S) float tensor, 0 to 1, empty slide at ``WHITE``
    masks : (N, 1, S, S) float tensor
        1 in the cell, 0 outside.
    generator : torch.Generator
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
    generator : torch.Generator
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
