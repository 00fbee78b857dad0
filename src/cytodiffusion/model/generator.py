"""The generator of synthetic cells: a coarse picture first, then its detail.

A cascade (Ho et al. 2022, "Cascaded Diffusion Models"): ``base`` is a class-conditional diffusion
model of small pictures, where composition is cheap to learn; ``detail`` adds what the
enlarged small picture lacks, and is a diffusion model too, conditioned on the small picture and
the class. As detail is local, it is learned on parts of cells and drawn on whole ones.

The classifier's denoiser is not used here: it must see through foreign stains and blur and
knows the class only at its end, and its samples from pure noise show it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from cytodiffusion.errors import BundleError
from cytodiffusion.model.blocks import ResidualBlock, SpatialAttention, level_embedding
from cytodiffusion.model.files import check_weights, read_json, read_tensors
from cytodiffusion.model.network import SavedNetwork, register_to_config
from cytodiffusion.model.schedule import LEVELS

#: Width of the embedding of noise level and class.
LEVEL_WIDTH = 128

#: Clean coarse pictures may leave -1..1 by this much while they are drawn.
COARSE_BOUND = 1.05

#: Detail is nearly Gaussian; beyond so many standard deviations it is an accident.
DETAIL_BOUND = 8.0


class ClassUNet(nn.Module):
    """U-Net that knows level and class throughout; predicts the velocity.

    Parameters
    ----------
    num_classes : int
        K; the null class is added.
    widths, blocks : sequence of int
        Channels and residual blocks on each grid, finest first.
    attention : bool
        Whether positions of the coarsest grid attend to each other.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        out_channels: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        attention: bool,
    ):
        super().__init__()
        self.level = nn.Sequential(
            nn.Linear(LEVEL_WIDTH, LEVEL_WIDTH), nn.SiLU(), nn.Linear(LEVEL_WIDTH, LEVEL_WIDTH)
        )
        self.classes = nn.Embedding(num_classes + 1, LEVEL_WIDTH)
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            self.down.append(
                nn.ModuleList(ResidualBlock(width, width, LEVEL_WIDTH) for _ in range(count))
            )
            if i < len(widths) - 1:
                self.shrink.append(nn.Conv2d(width, widths[i + 1], 3, stride=2, padding=1))
        self.attention = SpatialAttention(widths[-1]) if attention else None
        self.middle = ResidualBlock(widths[-1], widths[-1], LEVEL_WIDTH)
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for i in range(len(widths) - 1, 0, -1):
            self.grow.append(nn.Conv2d(widths[i], widths[i - 1], 1))
            self.up.append(
                nn.ModuleList(
                    ResidualBlock((2 if n == 0 else 1) * widths[i - 1], widths[i - 1], LEVEL_WIDTH)
                    for n in range(blocks[i - 1])
                )
            )
        self.norm_out = nn.GroupNorm(8, widths[0])
        self.conv_out = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, t: Tensor, class_index: Tensor) -> Tensor:
        """Velocity ``(N, C, H, W)`` of ``z`` at levels ``t (N,)``; class -1 is the null class."""
        index = class_index.where(class_index >= 0, self.classes.num_embeddings - 1)
        level = self.level(level_embedding(t, LEVEL_WIDTH)) + self.classes(index)
        level = F.silu(level)
        h = self.conv_in(z.to(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for i, stage in enumerate(self.down):
            for block in cast(nn.ModuleList, stage):
                h = block(h, level)
            if i < len(self.shrink):
                skips.append(h)
                h = self.shrink[i](h)
        if self.attention is not None:
            h = self.attention(h)
        h = self.middle(h, level)
        for grow, up in zip(self.grow, self.up, strict=True):
            h = F.interpolate(grow(h), scale_factor=2.0, mode="nearest")
            h = torch.cat([h, skips.pop()], dim=1)
            for block in cast(nn.ModuleList, up):
                h = block(h, level)
        out: Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return out.float()


class Generator(SavedNetwork):
    """Both stages, and the way between pixels and what they work on.

    Parameters
    ----------
    num_classes : int
        K; the null class is added.
    size : int
        Side of a cell's window in pixels.
    factor : int
        How many times smaller the coarse picture is.
    base_patch : int
        Side of the blocks of pixels that are folded into channels in the coarse picture.
    detail_scale : float
        Standard deviation of the detail, which is divided by it.
    drawn_in : int
        Steps that the detail network was taught to draw in; 0 where any number will do.
    """

    @register_to_config
    def __init__(
        self,
        num_classes: int = 10,
        size: int = 128,
        factor: int = 4,
        base_patch: int = 2,
        base_widths: tuple[int, ...] = (64, 128, 128),
        base_blocks: tuple[int, ...] = (2, 2, 2),
        detail_widths: tuple[int, ...] = (64, 96),
        detail_blocks: tuple[int, ...] = (1, 2),
        detail_scale: float = 0.1,
        drawn_in: int = 0,
    ):
        super().__init__()
        self.size, self.factor, self.base_patch = size, factor, base_patch
        self.detail_scale = detail_scale
        self.num_classes = num_classes
        self.drawn_in = drawn_in
        channels = 3 * base_patch**2
        self.base = ClassUNet(
            num_classes, channels, channels, tuple(base_widths), tuple(base_blocks), True
        )
        channels = 3 * factor**2
        self.detail = ClassUNet(
            num_classes, channels + 3, channels, tuple(detail_widths), tuple(detail_blocks), False
        )

    @property
    def coarse_size(self) -> int:
        """Side of the coarse picture in pixels."""
        return int(self.size // self.factor)

    @property
    def detail_levels(self) -> Tensor | None:
        """Noise levels ``(drawn_in + 1,)`` that the detail is drawn through, from noise to clean.

        None where the detail network was not taught to draw in a number of steps.
        """
        if not self.drawn_in:
            return None
        return (torch.linspace(1, 0, self.drawn_in + 1) * (LEVELS - 1)).round().long()

    def shrink(self, pixels: Tensor) -> Tensor:
        """Coarse pictures ``(N, 3, s, s)`` of ``pixels (N, 3, S, S)``, both -1..1."""
        return F.avg_pool2d(pixels, self.factor)

    def enlarge(self, coarse: Tensor) -> Tensor:
        """Coarse pictures as large as cells, without detail."""
        return F.interpolate(
            coarse, scale_factor=float(self.factor), mode="bilinear", align_corners=False
        )

    def fold(self, coarse: Tensor) -> Tensor:
        """Latents ``(N, 12, s/2, s/2)`` of coarse pictures."""
        return F.pixel_unshuffle(coarse, self.base_patch)

    def unfold(self, latents: Tensor) -> Tensor:
        """Coarse pictures of their latents."""
        return F.pixel_shuffle(latents, self.base_patch)

    def detail_of(self, pixels: Tensor, coarse: Tensor) -> Tensor:
        """Latents ``(N, 48, s, s)`` of what ``pixels`` have beyond the ``coarse`` picture."""
        return F.pixel_unshuffle(pixels - self.enlarge(coarse), self.factor) / self.detail_scale

    def with_detail(self, coarse: Tensor, detail: Tensor) -> Tensor:
        """Pixels ``(N, 3, S, S)`` of a coarse picture and the latents of its detail."""
        return self.enlarge(coarse) + F.pixel_shuffle(detail, self.factor) * self.detail_scale


CONFIG = "generator.json"

WEIGHTS = "generator.safetensors"

FILES = (CONFIG, WEIGHTS)

#: Ending of the name of the units that a weight is counted in.
UNIT = ".unit"


def save_generator(folder: Path, generator: Generator) -> None:
    """Write a generator: convolutions in 8 bits a weight, the rest in half precision."""
    config = {k: v for k, v in generator.config.items() if not k.startswith("_")}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    packed: dict[str, Tensor] = {}
    for name, weight in generator.state_dict().items():
        packed |= _packed(name, weight.detach().cpu().float())
    save_file(packed, folder / WEIGHTS)


def _packed(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Tensors that stand for a weight: whole numbers and their unit in each output channel."""
    if weight.ndim < 4:
        return {name: weight.to(torch.float16).contiguous()}
    unit = weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-8) / 127
    return {name: (weight / unit).round().to(torch.int8).contiguous(), name + UNIT: unit}


def _unpacked(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.float() * packed.get(name + UNIT, torch.ones(()))
        for name, value in packed.items()
        if not name.endswith(UNIT)
    }


def load_generator(folder: Path, n_classes: int) -> Generator:
    """Read a generator; BundleError where it does not fit the bundle's classes or itself."""
    config = read_json(folder / CONFIG)
    try:
        generator = Generator(**config)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"{CONFIG} of the bundle {folder} describes no generator: {error}."
        ) from error
    if generator.num_classes != n_classes:
        raise BundleError(
            f"The bundle {folder} names {n_classes} classes, but its generator draws "
            f"{generator.num_classes}."
        )
    weights = _unpacked(read_tensors(folder / WEIGHTS))
    check_weights(weights, generator, folder)
    generator.load_state_dict(weights)
    return generator.eval()  # type: ignore[no-any-return]
