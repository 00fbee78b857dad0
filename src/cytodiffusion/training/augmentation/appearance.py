"""What a cell looks like in another stain and through another lens: colours, texture, fringes.

Gains and mixtures of dyes change all of a crop alike, so the cytoplasm keeps its colour relative
to the nucleus. Other laboratories do not keep it: there are stains in which a neutrophil's
cytoplasm is as pink as an eosinophil's is in others. A smooth random map of colours to colours (of
optical densities, with the empty slide left alone) changes what is pale, what is pink and what is
dark independently, while what is alike stays alike.

Stains also differ in how fine they draw: the chromatin of a monocyte may be lace or an even grey,
the granules of a neutrophil dust or nothing. So may lenses, for each colour apart. Blur alone
cannot stand for this: it softens outlines as much as what they enclose.
"""

from __future__ import annotations

import math
from itertools import pairwise

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


#: Edges of the bands of detail, standard deviations of Gaussian windows in pixels. The detail
#: between two of them is a band; lobes of nuclei are coarser than the last.
EDGES = (0.8, 1.6, 3.2)

#: Side of the window, in pixels, that lengths in pixels are meant for; others scale with theirs.
REFERENCE = 96

#: The border between pale and dark lies at this share of the way to the darkest parts of a crop,
#: and is so wide, as a share of the same.
BORDER, SOFTNESS = 0.45, 0.12

#: Share of a crop's pixels that are its darkest parts.
DARKEST = 0.05

#: Largest displacement of a colour in pixels, and largest difference in magnification.
OFFSET, MAGNIFIED = 1.5, 0.01


def retexture(density: Tensor, generator: Generator, *, strength: float, share: float) -> Tensor:
    """Strengthen or weaken the detail of some crops, band by band, in pale and dark parts apart.

    Parameters
    ----------
    density : (N, 3, S, S) float tensor
        Optical densities.
    strength : float
        Gains of the bands are uniform within 1 -+ this; 1 takes a band away or doubles it.
    share : float
        Share of the crops that are changed.
    """
    n = len(density)
    chosen = torch.rand(n, generator=generator) < share
    gains = 1 + strength * (2 * torch.rand(2, len(EDGES), n, generator=generator) - 1)
    if strength == 0 or not chosen.any():
        return density
    picked, gains = density[chosen], gains[:, :, chosen, None, None, None]
    finer = density.shape[-1] / REFERENCE
    levels = [picked, *(_smooth(picked, sigma * finer) for sigma in EDGES)]
    dark = _dark_parts(levels[-2])
    changed = levels[-1]
    for band, (fine, coarse) in enumerate(pairwise(levels)):
        gain = dark * gains[0, band] + (1 - dark) * gains[1, band]
        changed = changed + gain * (fine - coarse)
    result = density.clone()
    result[chosen] = changed
    return result


def fringe(window: Tensor, generator: Generator, *, strength: float, share: float) -> Tensor:
    """Displace and magnify the colours of some crops ``(N, 3, S, S)`` a little, each its own way.

    As the lateral colour error of a simple lens does; ``strength`` is the share of the largest
    error, reached by few.
    """
    n = len(window)
    chosen = torch.rand(n, generator=generator) < share
    size = window.shape[-1]
    offset = 2 * torch.rand(n, 3, 2, generator=generator) - 1
    magnified = 2 * torch.rand(n, 3, generator=generator) - 1
    if strength == 0 or not chosen.any():
        return window
    picked = window[chosen].flatten(0, 1)[:, None]
    theta = torch.zeros(len(picked), 2, 3)
    scale = 1 + strength * MAGNIFIED * magnified[chosen].flatten()
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = strength * OFFSET * 2 / REFERENCE * offset[chosen].flatten(0, 1)
    grid = F.affine_grid(theta, list(picked.shape), align_corners=False)
    moved = F.grid_sample(picked, grid, "bilinear", "reflection", align_corners=False)
    result = window.clone()
    result[chosen] = moved.reshape(-1, 3, size, size)
    return result


def _smooth(picture: Tensor, sigma: float) -> Tensor:
    """Blur ``(N, C, S, S)`` with a Gaussian window."""
    reach = min(math.ceil(2.5 * sigma), picture.shape[-1] - 1)
    offsets = torch.arange(-float(reach), reach + 1.0)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = picture.flatten(0, 1)[:, None]
    flat = F.pad(flat, (reach, reach, reach, reach), "reflect")
    flat = F.conv2d(flat, kernel[None, None, :, None])
    return F.conv2d(flat, kernel[None, None, None, :]).reshape(picture.shape)


def _dark_parts(smooth: Tensor) -> Tensor:
    """Soft map ``(N, 1, S, S)`` of what is dark in each crop, nuclei above all."""
    grey = smooth.mean(dim=1, keepdim=True)
    pixels = grey.flatten(1)
    rank = max(1, round(DARKEST * pixels.shape[1]))
    darkest = pixels.topk(rank, dim=1).values[:, -1:].clamp(min=0.05)[..., None, None]
    return torch.sigmoid((grey / darkest - BORDER) / SOFTNESS)
