"""Building blocks of the U-Net denoiser."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def level_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of noise levels.

    Parameters
    ----------
    t : (N,) float tensor
        Noise levels, 0 (clean) to 999 (pure noise).
    width : int
        Length of the embedding, even.

    Returns
    -------
    (N, width) float32 tensor
    """
    half = width // 2
    rates = torch.exp(
        -math.log(10_000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    )
    angles = t.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, the noise level added between them (DDPM, Ho et al. 2020)."""

    def __init__(self, in_channels: int, channels: int, level_width: int, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.level = nn.Linear(level_width, channels)
        self.norm2 = nn.GroupNorm(8, channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, channels, 1) if in_channels != channels else None
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Apply the block to ``x (N, C, H, W)`` at ``level (N, level_width)``."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.level(level)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        result: Tensor = h + (x if self.skip is None else self.skip(x))
        return result


class SpatialAttention(nn.Module):
    """Self-attention over all positions; used on the coarsest grid only."""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Apply attention to ``x (N, C, H, W)``."""
        n, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        result: Tensor = x + self.out(mixed.transpose(-1, -2).reshape(n, c, h, w))
        return result
