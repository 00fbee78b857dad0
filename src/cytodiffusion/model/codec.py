"""Pixels to latents and back.

The default codec folds blocks of pixels into channels: nothing is learned, nothing
is lost. Crops come in with the stain's empty background at ``background`` and leave
it at a fixed white, so that lamps and cameras do not reach the network.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

#: Value the empty background is moved to, on the scale 0 to 1.
WHITE = 0.92


class Codec(Protocol):
    """What classification, training and sampling ask of a codec."""

    size: int  #: side of a crop in pixels

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        ...

    @property
    def grid(self) -> int:
        """Side of the latents' grid."""
        ...

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode ``pixels (N, 3, S, S)`` in -1..1 to latents ``(N, C, grid, grid)``."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to pixels ``(N, 3, S, S)`` in -1..1."""
        ...

    def to_config(self) -> dict[str, Any]:
        """Return the settings that rebuild this codec."""
        ...


class PixelCodec:
    """Fold ``patch x patch`` pixels into channels.

    Parameters
    ----------
    size : int
        Side of a crop in pixels, a multiple of ``patch``.
    patch : int
        Side of a block.
    """

    def __init__(self, size: int, patch: int = 4):
        if size < 1 or patch < 1 or size % patch:
            raise ValueError(f"crop size {size} is not a multiple of the patch {patch}")
        self.size = size
        self.patch = patch

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return 3 * self.patch**2

    @property
    def grid(self) -> int:
        """Side of the latents' grid."""
        return self.size // self.patch

    def encode(self, pixels: Tensor) -> Tensor:
        """Fold ``pixels (N, 3, S, S)`` in -1..1 to latents ``(N, C, S/p, S/p)``."""
        return F.pixel_unshuffle(pixels, self.patch)

    def decode(self, latents: Tensor) -> Tensor:
        """Unfold latents to pixels ``(N, 3, S, S)`` in -1..1."""
        return F.pixel_shuffle(latents, self.patch)

    def to_config(self) -> dict[str, Any]:
        """Return the settings that rebuild this codec."""
        return {"kind": "pixel", "size": self.size, "patch": self.patch}


def codec_from_config(config: dict[str, Any]) -> PixelCodec:
    """Build the codec that ``config`` names."""
    if config.get("kind") != "pixel":
        raise ValueError(f"unknown codec {config.get('kind')!r}")
    return PixelCodec(int(config["size"]), int(config["patch"]))


def to_unit(pixels: Tensor, background: Tensor) -> Tensor:
    """Scale crops so that their empty background becomes ``WHITE``.

    Parameters
    ----------
    pixels : (N, 3, S, S) uint8 or float tensor
        Values 0 to 255.
    background : (N, 3) or (3,) float tensor
        Colour of the empty background, 0 to 255.

    Returns
    -------
    (N, 3, S, S) float32 tensor, 0 to 1
    """
    gain = WHITE / background.float().clamp(min=40.0)
    gain = gain.reshape(-1, 3, 1, 1)
    return (pixels.float() * gain).clamp_(0.0, 1.0)


def to_density(unit: Tensor) -> Tensor:
    """Optical densities, as natural logarithms, of pixels 0..1 whose empty slide is ``WHITE``."""
    return -torch.log((unit / WHITE).clamp(0.02, 1.1))


def to_network(unit: Tensor) -> Tensor:
    """Move pixels 0..1 to the network's -1..1."""
    return unit * 2 - 1


def to_uint8(network: Tensor) -> Tensor:
    """Move network pixels -1..1 to uint8 0..255."""
    return ((network.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
