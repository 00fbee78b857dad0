"""The denoiser: one trunk pass predicts the clean crop for every class at once.

The trunk (a convolutional U-Net) knows nothing of classes. It gives a class-free
prediction ``x_0``, feature maps ``f`` and the class table ``m`` turns them into the
prediction of class ``c`` by a gated linear map,

    x_c = x_0 + U (m_c * g * f),

with gates ``g`` of the whole crop. Because ``x_c`` is linear in the gates ``m_c``, the squared
error of *every* class follows from one vector and one small Gram matrix per crop, without ever
forming the ``(N, K, C, H, W)`` predictions: a trial costs the same for 8 classes as for 21.
New classes need new rows of ``m`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cytodiffusion.model.blocks import ResidualBlock, SpatialAttention, level_embedding
from cytodiffusion.model.network import SavedNetwork, register_to_config
from cytodiffusion.model.schedule import centred_disc

#: Width of the layer between the trunk and the traits, and the disc that fine features count in.
TRAIT_WIDTH = 192
TRAIT_RADIUS = 0.42


@runtime_checkable
class Denoiser(Protocol):
    """What classification, training and sampling ask of a network."""

    @property
    def num_classes(self) -> int:
        """Number of classes K, the null class not counted."""
        ...

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        """Predict the clean latents ``(N, K, C, H, W)`` from ``z (N, C, H, W)`` at ``t (N,)``."""
        ...

    def class_errors(
        self, z: Tensor, t: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Weighted mean squared error of each class ``(N, K)`` and an embedding ``(N, D)``."""
        ...

    def predict_class(self, z: Tensor, t: Tensor, class_index: Tensor) -> Tensor:
        """Predict the clean latents ``(N, C, H, W)`` of one class a crop; -1 is the null class."""
        ...


@dataclass
class TrunkOutput:
    """What one pass of the trunk gives; all float32."""

    base: Tensor  #: class-free prediction of the clean latents, (N, C, H, W)
    features: Tensor  #: maps gated by the classes, (N, R, H, W)
    gates: Tensor  #: what the whole crop adds to the gates, (N, R)
    embedding: Tensor  #: pooled coarse features, (N, D)
    traits: Tensor  #: logits of the values of all traits, (N, S)


class UNetDenoiser(SavedNetwork):
    """U-Net trunk with bilinear class heads; predicts the clean latents.

    Parameters
    ----------
    num_classes : int
        K; a null class for unlabelled crops and guidance is added.
    in_channels : int
        Channels C of the latents.
    widths : sequence of int
        Channels on each grid, finest first; each grid has half the side of the last.
    blocks : sequence of int
        Residual blocks on the way down on each grid.
    head_channels : int
        R, feature maps that the classes gate.
    level_width : int
        Width of the noise-level embedding.
    dropout : float
        Dropout inside the coarsest blocks while training.
    trait_sizes : sequence of int
        Numbers of values of what is told beside the class (`cytodiffusion.traits`).
    """

    @register_to_config
    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 48,
        widths: tuple[int, ...] = (64, 128, 256),
        blocks: tuple[int, ...] = (1, 2, 2),
        head_channels: int = 64,
        level_width: int = 128,
        dropout: float = 0.0,
        trait_sizes: tuple[int, ...] = (),
    ):
        super().__init__()
        self.level_width = level_width
        self.level = nn.Sequential(
            nn.Linear(level_width, level_width), nn.SiLU(), nn.Linear(level_width, level_width)
        )
        self.style = nn.Parameter(torch.zeros(level_width))
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self._build_trunk(tuple(widths), tuple(blocks), level_width, dropout)
        self.norm_out = nn.GroupNorm(8, widths[0])
        self.base = nn.Conv2d(widths[0], in_channels, 3, padding=1)
        self.features = nn.Conv2d(widths[0], head_channels, 3, padding=1)
        self.gate = nn.Linear(widths[-1], head_channels)
        self.head_out = nn.Parameter(torch.randn(in_channels, head_channels) * 0.02)
        self.class_table = nn.Parameter(torch.randn(num_classes, head_channels))
        self.sharpness = nn.Sequential(nn.Linear(level_width, 64), nn.SiLU(), nn.Linear(64, 1))
        nn.init.zeros_(self.sharpness[2].weight)  # type: ignore[arg-type]
        nn.init.constant_(self.sharpness[2].bias, 5.0)  # type: ignore[arg-type]
        self.trait_head: nn.Module | None = None
        if trait_sizes:
            given = widths[-1] + 2 * head_channels
            self.trait_head = nn.Sequential(
                nn.LayerNorm(given),
                nn.Linear(given, TRAIT_WIDTH),
                nn.SiLU(),
                nn.Linear(TRAIT_WIDTH, sum(trait_sizes)),
            )

    def _build_trunk(
        self, widths: tuple[int, ...], blocks: tuple[int, ...], level_width: int, dropout: float
    ) -> None:
        coarsest = len(widths) - 1
        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            drop = dropout if i == coarsest else 0.0
            self.down.append(
                nn.ModuleList(ResidualBlock(width, width, level_width, drop) for _ in range(count))
            )
            if i < coarsest:
                self.shrink.append(nn.Conv2d(width, widths[i + 1], 3, stride=2, padding=1))
        self.attention = SpatialAttention(widths[-1])
        self.middle = ResidualBlock(widths[-1], widths[-1], level_width, dropout)
        self.grow = nn.ModuleList()
        self.up = nn.ModuleList()
        for i in range(coarsest, 0, -1):
            self.grow.append(nn.Conv2d(widths[i], widths[i - 1], 1))
            self.up.append(ResidualBlock(2 * widths[i - 1], widths[i - 1], level_width))

    @property
    def num_classes(self) -> int:
        """Number of classes K, the null class not counted."""
        return int(self.class_table.shape[0])

    def trunk(self, z: Tensor, t: Tensor, training_style: Tensor | None = None) -> TrunkOutput:
        """Run the class-agnostic part.

        Parameters
        ----------
        z : (N, C, H, W) tensor
            Noised latents.
        t : (N,) tensor
            Noise levels.
        training_style : (N,) bool tensor, optional
            Crops known to have the stain and focus of the training images; sampling asks
            for it, classification never does.
        """
        level = self.level(level_embedding(t, self.level_width))
        if training_style is not None:
            level = level + training_style.to(level.dtype)[:, None] * self.style
        level = F.silu(level)
        h = self.conv_in(z.to(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for i, stage in enumerate(self.down):
            for block in cast(nn.ModuleList, stage):
                h = block(h, level)
            if i < len(self.shrink):
                skips.append(h)
                h = self.shrink[i](h)
        h = self.middle(self.attention(h), level)
        pooled = h.mean(dim=(2, 3))
        for grow, up in zip(self.grow, self.up, strict=True):
            h = F.interpolate(grow(h), scale_factor=2.0, mode="nearest")
            h = up(torch.cat([h, skips.pop()], dim=1), level)
        h = F.silu(self.norm_out(h))
        gates = 1 + self.gate(pooled)
        features = self.features(h).float()
        return TrunkOutput(
            self.base(h).float(),
            features,
            gates.float(),
            pooled.float(),
            self._traits(features, pooled.float()),
        )

    def _traits(self, features: Tensor, pooled: Tensor) -> Tensor:
        """Logits ``(N, S)`` of the traits, from the middle of the finest features and the pooled.

        What tells granules, vacuoles and chromatin is fine: means and spreads over the middle.
        """
        if self.trait_head is None:
            return pooled.new_zeros(len(pooled), 0)
        weight = centred_disc(features.shape[-1], TRAIT_RADIUS).to(features)
        weight = weight / weight.sum()
        mean = (features * weight).sum(dim=(2, 3))
        spread = ((features - mean[:, :, None, None]).square() * weight).sum(dim=(2, 3))
        given = torch.cat([pooled, mean, (spread + 1e-6).sqrt()], dim=1)
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.trait_head(given)
        return logits

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """Predict the clean latents of every class, ``(N, K, C, H, W)``."""
        out = self.trunk(z, t)
        table = self.class_table * out.gates[:, None]
        gated = torch.einsum("cr,nkr,nrhw->nkchw", self.head_out, table, out.features)
        return out.base[:, None] + gated

    def predict_class(self, z: Tensor, t: Tensor, class_index: Tensor) -> Tensor:
        """Predict clean latents ``(N, C, H, W)`` of one class a crop, in the training style.

        Class -1 is the null class.
        """
        return self.prediction_from(self.trunk(z, t, torch.ones_like(t)), class_index)

    def prediction_from(self, out: TrunkOutput, class_index: Tensor) -> Tensor:
        """Prediction ``(N, C, H, W)`` of one class a crop from a trunk pass."""
        with torch.autocast(out.base.device.type, enabled=False):
            return self._prediction(out, class_index)

    def _prediction(self, out: TrunkOutput, class_index: Tensor) -> Tensor:
        table = F.pad(self.class_table, (0, 0, 0, 1))  # the null class gates nothing
        index = class_index.where(class_index >= 0, table.shape[0] - 1)
        gates = table[index] * out.gates  # (N, R)
        offset = (_positions_first(out.features) * gates[:, None]) @ self.head_out.float().T
        n, _, h, w = out.base.shape
        return out.base + offset.reshape(n, h, w, -1).permute(0, 3, 1, 2)

    def class_errors(
        self, z: Tensor, t: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean squared error of each class's prediction, without forming it.

        Parameters
        ----------
        z, target : (N, C, H, W) tensor
            Noised and clean latents.
        t : (N,) tensor
            Noise levels.
        weight : (H, W) tensor, optional
            Weight of each position; normalised to sum 1.

        Returns
        -------
        errors : (N, K) float32 tensor
        embedding : (N, D) float32 tensor
        """
        out = self.trunk(z, t)
        return self.errors_from(out, target, weight), out.embedding

    def class_evidence(
        self, z: Tensor, t: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `class_errors` does, and logits ``(N, S)`` of the values of all traits."""
        out = self.trunk(z, t)
        return self.errors_from(out, target, weight), out.embedding, out.traits

    def errors_from(self, out: TrunkOutput, target: Tensor, weight: Tensor | None) -> Tensor:
        """Errors ``(N, K)`` of all classes from a trunk pass (see the module's docstring)."""
        # Differences between classes are small: half precision would drown them.
        with torch.autocast(target.device.type, enabled=False):
            return self._errors(out, target, weight)

    def _errors(self, out: TrunkOutput, target: Tensor, weight: Tensor | None) -> Tensor:
        _, c, h, w = target.shape
        if weight is None:
            weight = torch.ones(h, w, device=target.device)
        position = (weight.float().flatten() / (weight.sum() * c)).sqrt()
        inside = position.nonzero().squeeze(1)  # positions of no weight cost nothing
        position = position[inside][:, None]
        residual = _positions_first(target)[:, inside] - _positions_first(out.base)[:, inside]
        residual = residual * position
        maps = _positions_first(out.features)[:, inside] * position  # (N, P, R)
        head = self.head_out.float()
        table = self.class_table.float() * out.gates[:, None]  # (N, K, R)
        common = residual.square().sum(dim=(1, 2))
        linear = ((residual @ head) * maps).sum(dim=1)  # (N, R)
        gram = _Gram.apply(maps) * (head.T @ head)  # (N, R, R)
        quadratic = ((table @ gram) * table).sum(dim=2)
        errors: Tensor = common[:, None] - 2 * (table @ linear[:, :, None])[:, :, 0] + quadratic
        return errors

    def log_sharpness(self, t: Tensor) -> Tensor:
        """Logarithm of s(t), the weight of an error at noise level ``t``; ``(N,)``."""
        level = level_embedding(t, self.level_width)
        return self.sharpness(level).float().squeeze(1)  # type: ignore[no-any-return]


def _positions_first(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` as contiguous float32 ``(N, H W, C)``."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).contiguous().float()


class _Gram(torch.autograd.Function):
    """``y (N, P, R) -> y^T y``; its own backward keeps gradients in the layout of ``y``."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return torch.bmm(y.transpose(1, 2), y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.bmm(y, grads[0] + grads[0].transpose(1, 2))


def embedding_width(model: Any) -> int:
    """Length D of the embedding that a denoiser returns."""
    own = getattr(model, "embedding_width", None)
    return int(model.config.widths[-1] if own is None else own)
