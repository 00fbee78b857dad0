"""Augmentation of context crops: geometry, stain, focus and sensor noise, a batch at once.

Another laboratory's colours are the hard case, so stains are varied where they live: in
optical densities (Beer-Lambert). Random mixing of the three densities, gains and a tint of
the lamp stand for dyes, their ages, thickness and white balance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from cytodiffusion.model.codec import WHITE, to_density
from cytodiffusion.training.augmentation.appearance import (
    REFERENCE,
    fringe,
    overexpose,
    repaint,
    retexture,
)
from cytodiffusion.training.augmentation.outlines import bend, exchange, leave_alone, spread_cells
from cytodiffusion.training.augmentation.settings import AugmentSettings

#: Optical densities (red, green, blue) of the azures of nuclei and of eosin, measured on PBC's
#: training images, and a third axis for what neither explains.
DYES = ((0.62, 0.73, 0.28), (0.18, 0.90, 0.40), (0.30, -0.30, 0.90))

#: Soft masks ``(M, 1, S, S)`` of the cells in the crops of a batch that are numbered by ``(M,)``.
Masks = Callable[[Tensor], Tensor]


def augment(
    unit: Tensor,
    size: int,
    generator: Generator,
    settings: AugmentSettings | None = None,
    masks: Masks | None = None,
) -> tuple[Tensor, Tensor]:
    """Vary context crops and cut out windows.

    Parameters
    ----------
    unit : (N, 3, S, S) float tensor
        Context crops, 0 to 1, background at ``WHITE``.
    size : int
        Side of the windows to cut out.
    masks : callable, optional
        Gives the cells' masks; without it surroundings stay as they are.

    Returns
    -------
    window : (N, 3, size, size) float32 tensor, 0 to 1
    plain : (N,) bool tensor
        Crops that were turned and shifted only.
    """
    settings = settings or AugmentSettings()
    plain = torch.rand(len(unit), generator=generator) < settings.plain_share
    unit = _surround(unit, masks, ~plain, generator, settings)
    window = turn(unit, size, generator, settings, straight=plain)
    varied = _rims(_stain(window, generator, settings), generator, settings)
    varied = fringe(varied, generator, strength=settings.fringe, share=settings.fringe_share)
    varied = _focus(varied, generator, settings)
    varied = _exposure(_sensor(varied, generator, settings), generator, settings)
    return torch.where(plain[:, None, None, None], window, varied), plain


def _uniform(n: int, span: float, generator: Generator) -> Tensor:
    return (torch.rand(n, generator=generator) * 2 - 1) * span


def _surround(
    unit: Tensor,
    masks: Masks | None,
    among: Tensor,
    generator: Generator,
    settings: AugmentSettings,
) -> Tensor:
    """Shrink and spread some of the cells ``among`` (a bool tensor), and vary what is around."""
    dried = among & (torch.rand(len(unit), generator=generator) < settings.dried_share)
    alone = among & (torch.rand(len(unit), generator=generator) < settings.alone_share)
    rows = (dried | alone).nonzero().squeeze(1)
    if masks is None or len(rows) == 0:
        return unit
    picked, cells = unit[rows], masks(rows)
    changed, outlines = spread_cells(
        picked, cells, generator, shrunken=settings.shrunken, spread=settings.spread
    )
    which = dried[rows][:, None, None, None]
    picked, cells = torch.where(which, changed, picked), torch.where(which, outlines, cells)
    moved = exchange(picked, cells, generator, share=settings.exchange_share)
    faded = leave_alone(moved, cells, generator, largest=settings.surroundings)
    varied = torch.where(alone[rows][:, None, None, None], faded, picked)
    return unit.index_copy(0, rows, varied)


def turn(
    unit: Tensor,
    size: int,
    generator: Generator,
    settings: AugmentSettings,
    straight: Tensor | None = None,
) -> Tensor:
    """Turn, mirror, zoom and shift crops ``(N, 3, S, S)``, and cut out windows of ``size``.

    Outlines of some are bent, but not of those that ``straight`` names (a bool tensor).
    """
    n, _, side, _ = unit.shape
    angle = torch.rand(n, generator=generator) * 2 * math.pi
    right = torch.rand(n, generator=generator) < 0.4  # right angles keep pixels sharp
    angle = torch.where(right, (angle / (math.pi / 2)).floor() * (math.pi / 2), angle)
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    zoom = torch.exp(_uniform(n, settings.scale, generator))
    zoom = torch.where(right & (torch.rand(n, generator=generator) < 0.5), 1.0, zoom)
    stretch = torch.exp(_uniform(n, settings.aspect, generator))
    ratio = size / side
    cos, sin = angle.cos() * ratio, angle.sin() * ratio
    sx, sy = zoom * stretch * flip, zoom / stretch
    shift = torch.stack([_uniform(n, settings.shift, generator) for _ in range(2)], 1) * 2 * ratio
    theta = torch.stack(
        [
            torch.stack([cos * sx, -sin * sy, shift[:, 0]], 1),
            torch.stack([sin * sx, cos * sy, shift[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    bent = bend(n, size, generator, strength=settings.bend, share=settings.bend_share)
    if straight is not None:
        bent = bent * ~straight[:, None, None, None]
    grid = _cut(grid + ratio * bent, ratio, generator, settings)
    return F.grid_sample(unit, grid, "bilinear", "reflection", align_corners=False)


def _cut(grid: Tensor, ratio: float, generator: Generator, settings: AugmentSettings) -> Tensor:
    """Mirror some crops at the borders of a smaller picture, as tight single-cell images are."""
    n = len(grid)
    chosen = torch.rand(n, generator=generator) < settings.cut_share
    half = ratio * (0.55 + 0.45 * torch.rand(n, 1, 1, 2, generator=generator))
    centre = (0.15 * ratio) * (torch.rand(n, 1, 1, 2, generator=generator) * 2 - 1)
    # a triangle wave is the identity between the borders and mirrors beyond
    phase = torch.remainder((grid - centre) / half + 1, 4.0)
    mirrored = centre + half * (1 - (phase - 2).abs())
    return torch.where(chosen[:, None, None, None], mirrored, grid)


def _stain(window: Tensor, generator: Generator, settings: AugmentSettings) -> Tensor:
    n = len(window)
    density = to_density(window)
    density = retexture(density, generator, strength=settings.texture, share=settings.texture_share)
    density = repaint(
        density,
        generator,
        strength=settings.palette,
        tone=settings.palette_tone,
        share=settings.palette_share,
    )
    density = _contrast(density, generator, settings)
    identity = torch.eye(3).expand(n, 3, 3)
    mixing = identity + settings.mixing * torch.randn(n, 3, 3, generator=generator)
    mixing = mixing / mixing.sum(2, keepdim=True).clamp(min=0.3)  # grey stays grey
    gain = torch.exp(settings.density * torch.randn(n, 3, 1, generator=generator))
    gain = gain * torch.exp(settings.thickness * torch.randn(n, 1, 1, generator=generator))
    matrix = gain * (mixing @ _hue_rotation(n, settings.hue, generator))
    matrix = _fading(n, generator, settings) @ matrix @ _dye_gains(n, settings.dyes, generator)
    mixed = torch.bmm(matrix, density.flatten(2)).reshape(density.shape)
    tint = torch.exp(settings.tint * torch.randn(n, 3, 1, 1, generator=generator))
    return (WHITE * tint * torch.exp(-mixed)).clamp(0.0, 1.0)


def _contrast(density: Tensor, generator: Generator, settings: AugmentSettings) -> Tensor:
    """Bend the optical densities: cameras are not linear, and nuclei saturate."""
    n = len(density)
    exponent = torch.exp(settings.contrast * torch.randn(n, 1, 1, 1, generator=generator))
    return density.abs().clamp(min=1e-4).pow(exponent) * density.sign()


def _dye_gains(n: int, spread: float, generator: Generator) -> Tensor:
    """Matrices ``(N, 3, 3)`` that strengthen each dye apart (cf. Tellez et al. 2019)."""
    gains = torch.exp(spread * torch.randn(n, 3, generator=generator))
    dyes = torch.tensor(DYES).T
    undo: Tensor = torch.linalg.inv(dyes)
    return dyes @ torch.diag_embed(gains) @ undo


def _fading(n: int, generator: Generator, settings: AugmentSettings) -> Tensor:
    """Matrices ``(N, 3, 3)`` that draw colours towards grey, for some of the crops."""
    chosen = torch.rand(n, generator=generator) < settings.grey_share
    amount = torch.rand(n, generator=generator) * settings.grey * chosen
    amount = amount[:, None, None]
    return (1 - amount) * torch.eye(3) + amount / 3


def _hue_rotation(n: int, spread: float, generator: Generator) -> Tensor:
    """Rotations ``(N, 3, 3)`` of colour space about the grey axis (Rodrigues)."""
    angle = (spread * torch.randn(n, generator=generator)).reshape(n, 1, 1)
    k = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return torch.eye(3) + angle.sin() * k + (1 - angle.cos()) * (k @ k)


def _rims(window: Tensor, generator: Generator, settings: AugmentSettings) -> Tensor:
    """Darken the outlines of some crops, as a condenser that is closed too far does."""
    n = len(window)
    chosen = torch.rand(n, generator=generator) < settings.rim_share
    strength = torch.rand(n, generator=generator) * settings.rim * chosen
    if settings.rim == 0 or not chosen.any():
        return window
    grey = to_density(window[chosen].mean(dim=1, keepdim=True))
    smooth = F.avg_pool2d(F.pad(grey, (2, 2, 2, 2), "reflect"), 3, 1)
    dy, dx = torch.gradient(smooth, dim=(2, 3))
    slope = F.avg_pool2d((dx.square() + dy.square()).sqrt(), 3, 1)
    result = window.clone()
    result[chosen] = window[chosen] * torch.exp(-8 * strength[chosen].reshape(-1, 1, 1, 1) * slope)
    return result


def _focus(window: Tensor, generator: Generator, settings: AugmentSettings) -> Tensor:
    """Blur a third of the crops and sharpen a sixth, each colour a little differently."""
    n, _, size, _ = window.shape
    choice = torch.rand(n, generator=generator)
    largest = settings.blur * size / REFERENCE
    sigma = torch.rand(n, generator=generator) * largest
    reach = max(3, math.ceil(2 * largest * math.exp(settings.chromatic)))
    reach = min(reach, size - 1)  # no reflection is wider than the crop
    offsets = torch.arange(-float(reach), reach + 1.0)
    spread = torch.exp(settings.chromatic * torch.randn(n, 3, 1, generator=generator))
    sigmas = (sigma[:, None, None] * spread).clamp(min=0.3)
    kernel = torch.exp(-offsets.square() / (2 * sigmas.square()))
    kernel = kernel / kernel.sum(2, keepdim=True)
    chosen = (choice < 0.5).nonzero().squeeze(1)
    if len(chosen) == 0:
        return window
    picked = window[chosen].reshape(1, -1, size, size)
    kernel = kernel[chosen].flatten(0, 1)
    groups = picked.shape[1]
    blurred = F.conv2d(
        F.pad(picked, (reach, reach, 0, 0), "reflect"), kernel[:, None, None], groups=groups
    )
    blurred = F.conv2d(
        F.pad(blurred, (0, 0, reach, reach), "reflect"), kernel[:, None, :, None], groups=groups
    )
    blurred = blurred.reshape(len(chosen), 3, size, size)
    sharpen = (choice[chosen] < 1 / 6)[:, None, None, None]
    sharp = window[chosen] * 2 - blurred
    result = window.clone()
    result[chosen] = torch.where(sharpen, sharp, blurred).clamp(0.0, 1.0)
    return result


def _exposure(window: Tensor, generator: Generator, settings: AugmentSettings) -> Tensor:
    """Let the camera clip the brightest tones of some crops."""
    chosen = torch.rand(len(window), generator=generator) < settings.exposure_share
    clipped = overexpose(window, generator, largest=settings.exposure)
    return torch.where(chosen[:, None, None, None], clipped, window)


def _sensor(window: Tensor, generator: Generator, settings: AugmentSettings) -> Tensor:
    n = len(window)
    level = torch.rand(n, 1, 1, 1, generator=generator).square() * settings.noise
    noise = torch.randn(window.shape, generator=generator)
    return (window + level * noise).clamp_(0.0, 1.0)
