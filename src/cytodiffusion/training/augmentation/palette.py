"""Random palettes: other dyes for nucleus, cytoplasm and granules, each on its own.

Gains and mixtures of dyes change all of a crop alike, so the cytoplasm keeps its colour relative
to the nucleus. Other laboratories do not keep it: there are stains in which a neutrophil's
cytoplasm is as pink as an eosinophil's is elsewhere. A smooth random map of colours to colours (of
optical densities, with the empty slide left alone) changes what is pale, what is pink and what is
dark independently, while what is alike stays alike.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from cytodiffusion.model.codec import WHITE

#: Optical density at which the scale of the map's nodes is half way from empty to opaque: nodes
#: lie close together where cytoplasm is, far apart where nuclei are.
HALF = 0.6

#: Nodes along each of the three densities.
NODES = 4


def repaint(
    density: Tensor, generator: Generator, *, strength: float, tone: float, share: float
) -> Tensor:
    """Map the optical densities of some crops by a smooth random map each.

    Parameters
    ----------
    density : (N, 3, S, S) float tensor
        Optical densities; what is negative stays as it is.
    generator : torch.Generator
    strength : float
        Standard deviation of the log gain of a node, common to the three densities, on average
        over the crops; between the nodes it is less.
    tone : float
        The same for each density apart.
    share : float
        Share of the crops that are repainted.
    """
    n = len(density)
    chosen = torch.rand(n, generator=generator) < share
    shape = (n, NODES, NODES, NODES)
    gain = strength * torch.randn(n, 1, *shape[1:], generator=generator)
    gain = gain + tone * torch.randn(n, 3, *shape[1:], generator=generator)
    gain = gain * 2 * torch.rand(n, 1, 1, 1, 1, generator=generator)  # from mild to wild
    if not chosen.any():
        return density
    picked = density[chosen]
    place = picked.clamp(min=0)
    place = 2 * place / (place + HALF) - 1  # (M, 3, S, S), -1..1
    grid = place.flip(1).permute(0, 2, 3, 1)[:, None]  # sampled as x, y, z: the last axis first
    factor = F.grid_sample(gain[chosen], grid, padding_mode="border", align_corners=True)
    result = density.clone()
    result[chosen] = picked * factor[:, :, 0].exp()
    return result


def overexpose(unit: Tensor, generator: Generator, *, largest: float) -> Tensor:
    """Clip each colour at the white of the empty slide after a random gain up to ``largest``."""
    gain = torch.exp(largest * torch.rand(len(unit), 3, 1, 1, generator=generator))
    return torch.minimum(unit * gain, torch.full((), WHITE))
