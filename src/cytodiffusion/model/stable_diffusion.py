"""The published backbone: Stable Diffusion 1.5 with a one-hot class for a prompt.

CytoDiffusion (Deltadahl et al., Nature Machine Intelligence 7:1791, 2025) fine-tunes the U-Net of
Stable Diffusion 1.5 with its VAE frozen. In the place of the text stands the class: a one-hot
vector, padded with zeros to the width of the text (768) and repeated for each of its 77 tokens.
Every class costs one pass of the U-Net. `StableDiffusionDenoiser` puts that network behind the
`Denoiser` protocol, so that whatever takes our own network takes it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cytodiffusion.model.schedule import LEVELS, NoiseSchedule

if TYPE_CHECKING:  # importing them takes longer than importing torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

#: Side of a crop in pixels; the VAE makes 45 x 45 latents of it.
SIZE = 360
#: Side of the window in micrometres: all of a PBC image, whose pixels are 0.1 um wide.
PUBLISHED_WINDOW_UM = 36.0
#: Tokens that the condition is repeated for.
TOKENS = 77
#: Radius of the disc where errors count, as a share of the window's side: 20 of 45 latents.
DISC_RADIUS = 20 / 45
#: Coefficients of p, lowest power first; an error at level t weighs 1 / p((1000 - t) / 1000).
POLYNOMIAL = (0.92706, 9.83654, -4.68406, 6.01854, -9.33979)
#: (crop, class) pairs that go through the U-Net at once.
ROWS = {"cpu": 8, "cuda": 64, "mps": 16}


def published_weight(t: Tensor) -> Tensor:
    """Weight ``1 / p((1000 - t) / 1000)`` of an error at noise levels ``t``, of the same shape."""
    x = (LEVELS - t.double()) / LEVELS
    value = torch.zeros_like(x)
    for coefficient in reversed(POLYNOMIAL):
        value = value * x + coefficient
    return (1 / value).float()


def hard_disc(grid: int, radius: float) -> Tensor:
    """1 where the middle of a latent is within ``radius``, else 0."""
    axis = (torch.arange(grid) - grid // 2).double()
    squared = axis[:, None].square() + axis[None, :].square()
    return (squared <= (radius * grid) ** 2 + 1e-9).float()


class StableDiffusionSchedule(NoiseSchedule):
    """Stable Diffusion's noise levels: square roots of beta rise linearly.

    Parameters
    ----------
    config : dict, optional
        A diffusers scheduler's settings; those that do not change the levels are ignored.
    """

    def __init__(self, config: dict[str, Any] | None = None):
        known = ("beta_start", "beta_end", "beta_schedule", "prediction_type")
        self._config = {k: v for k, v in (config or {}).items() if k in known}
        super().__init__()

    def alphas_cumprod(self) -> Tensor:
        """Power of the signal at each level; diffusers knows every kind of schedule."""
        from diffusers import DDPMScheduler

        levels: Tensor = DDPMScheduler(**self.to_config()).alphas_cumprod
        return levels

    def to_config(self) -> dict[str, Any]:  # type: ignore[override]
        """Return the settings of the diffusers scheduler that this schedule is."""
        return {
            "num_train_timesteps": LEVELS,
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "prediction_type": "epsilon",
            "clip_sample": False,
            **self._config,
        }


class StableDiffusionCodec:
    """Pixels to the VAE's scaled latents and back; the VAE stays as it is.

    Parameters
    ----------
    size : int
        Side of a crop in pixels, a multiple of the VAE's reduction (8).
    """

    def __init__(self, vae: AutoencoderKL, size: int = SIZE):
        self.vae = vae.requires_grad_(False).eval()
        self.size = size
        self.reduction: int = 2 ** (len(vae.config.block_out_channels) - 1)
        if size < 1 or size % self.reduction:
            raise ValueError(f"crop size {size} is not a multiple of {self.reduction}")

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return int(self.vae.config.latent_channels)

    @property
    def grid(self) -> int:
        """Side of the latents' grid."""
        return self.size // self.reduction

    @property
    def scale(self) -> float:
        """What latents are multiplied by, so that they vary about as much as the noise."""
        return float(self.vae.config.scaling_factor)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Encode ``pixels (N, 3, S, S)`` in -1..1 to latents ``(N, C, grid, grid)``.

        The mean of the VAE's posterior, not a draw from it: same crop, same latents.
        """
        parts = [self.vae.encode(x).latent_dist.mode() for x in self._chunks(pixels)]
        return torch.cat(parts).float() * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to pixels ``(N, 3, S, S)``, about -1..1."""
        parts = [self.vae.decode(x).sample for x in self._chunks(latents / self.scale)]
        return torch.cat(parts).float()

    def _chunks(self, x: Tensor) -> Iterator[Tensor]:
        weights = next(self.vae.parameters())
        rows = ROWS.get(weights.device.type, 8)
        for start in range(0, max(len(x), 1), rows):
            yield x[start : start + rows].to(weights.device, weights.dtype)

    def to_config(self) -> dict[str, Any]:
        """Return the settings that, with the VAE, rebuild this codec."""
        return {"kind": "stable-diffusion", "size": self.size}


class StableDiffusionDenoiser(nn.Module):
    """A U-Net of Stable Diffusion that predicts the noise, conditioned on a class.

    Parameters
    ----------
    unet : UNet2DConditionModel
        Its ``cross_attention_dim`` is the width of the condition, 768 as published.
    num_classes : int
        K, at most that width. The null class is the vector of zeros.
    """

    conditions: Tensor

    def __init__(
        self,
        unet: UNet2DConditionModel,
        num_classes: int,
        schedule: StableDiffusionSchedule | None = None,
    ):
        super().__init__()
        width = unet.config.cross_attention_dim
        if not isinstance(width, int) or not 1 <= num_classes <= width:
            raise ValueError(f"{num_classes} classes do not fit a condition of width {width}")
        self.unet = unet
        self.schedule = schedule or StableDiffusionSchedule()
        # One row a class; the last, of zeros, is reached by the index -1.
        self.register_buffer("conditions", torch.eye(num_classes + 1, width), persistent=False)
        self.conditions[-1] = 0
        self._middle: list[Tensor] = []
        unet.mid_block.register_forward_hook(self._keep_middle)

    def _keep_middle(self, module: nn.Module, given: Any, output: Tensor) -> None:
        self._middle = [output]

    @property
    def config(self) -> Any:
        """Settings of the U-Net."""
        return self.unet.config

    @property
    def num_classes(self) -> int:
        """Number of classes K, the null class not counted."""
        return len(self.conditions) - 1

    @property
    def embedding_width(self) -> int:
        """Length D of the embedding."""
        return int(self.unet.config.block_out_channels[-1])

    def predict_noise(self, z: Tensor, t: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the noise in ``z (M, C, H, W)`` at ``t (M,)`` under ``condition (M, width)``.

        Returns
        -------
        noise : (M, C, H, W) float32 tensor
        embedding : (M, D) float32 tensor
            Coarsest features of the U-Net, averaged over the positions.
        """
        kind = next(self.unet.parameters()).dtype
        tokens = condition.to(z.device, kind)[:, None].expand(-1, TOKENS, -1)
        noise = self.unet(z.to(kind), t, encoder_hidden_states=tokens).sample
        middle = self._middle.pop()
        return noise.float(), middle.float().mean(dim=(2, 3))

    def _in_rows(
        self, z: Tensor, t: Tensor, cells: Tensor, classes: Tensor
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Pass (crop, class) pairs through the U-Net, as many at once as fit."""
        rows = ROWS.get(z.device.type, 8)
        for start in range(0, len(cells), rows):
            part = slice(start, min(start + rows, len(cells)))
            index = cells[part]
            yield part, *self.predict_noise(z[index], t[index], self.conditions[classes[part]])

    def _pairs(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Each crop with each class: indices of both, ``(N K,)``."""
        cells = torch.arange(len(z), device=z.device).repeat_interleave(self.num_classes)
        classes = torch.arange(self.num_classes, device=z.device).repeat(len(z))
        return cells, classes

    def _clean(self, z: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return (z - self.schedule.noise(t) * noise) / self.schedule.signal(t)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """Predict the clean latents of every class, ``(N, K, C, H, W)``."""
        cells, classes = self._pairs(z)
        noise = [eps for _, eps, _ in self._in_rows(z, t, cells, classes)]
        clean = self._clean(z[cells], t[cells], torch.cat(noise))
        return clean.reshape(len(z), self.num_classes, *z.shape[1:])

    def predict_class(self, z: Tensor, t: Tensor, class_index: Tensor) -> Tensor:
        """Predict clean latents ``(N, C, H, W)`` of one class a crop; -1 is the null class."""
        cells = torch.arange(len(z), device=z.device)
        noise = [eps for _, eps, _ in self._in_rows(z, t, cells, class_index)]
        return self._clean(z, t, torch.cat(noise))

    def class_errors(
        self, z: Tensor, t: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean squared error of the noise that each class predicts; K passes a crop.

        Parameters
        ----------
        z, target : (N, C, H, W) tensor
            Noised and clean latents; the true noise follows from both.
        t : (N,) tensor
            Noise levels.
        weight : (H, W) tensor, optional
            Weight of each position; normalised to sum 1.

        Returns
        -------
        errors : (N, K) float32 tensor
        embedding : (N, D) float32 tensor
            Mean over the classes.
        """
        cells, classes = self._pairs(z)
        errors, embedding = self.pair_errors(z, t, target, weight, cells, classes)
        shape = (len(z), self.num_classes)
        return errors.reshape(shape), embedding.reshape(*shape, -1).mean(dim=1)

    def pair_errors(
        self,
        z: Tensor,
        t: Tensor,
        target: Tensor,
        weight: Tensor | None,
        cells: Tensor,
        classes: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Errors of chosen pairs only: one pass for each.

        Parameters
        ----------
        z, t, target, weight
            As for `class_errors`.
        cells, classes : (M,) tensor
            Index of the crop and of the class of each pair.

        Returns
        -------
        errors : (M,) float32 tensor
        embedding : (M, D) float32 tensor
        """
        true = (z - self.schedule.signal(t) * target) / self.schedule.noise(t)
        if weight is None:
            weight = torch.ones(z.shape[2:], device=z.device)
        share = weight.float() / (weight.sum() * z.shape[1])
        errors, embeddings = [], []
        for part, noise, embedding in self._in_rows(z, t, cells, classes):
            residual = true[cells[part]].float() - noise
            errors.append((residual.square() * share).sum(dim=(1, 2, 3)))
            embeddings.append(embedding)
        return torch.cat(errors), torch.cat(embeddings)

    def log_sharpness(self, t: Tensor) -> Tensor:
        """Logarithm of the published weight at ``t``; ``(N,)``."""
        return published_weight(t).log()


def mixed_conditions(denoiser: StableDiffusionDenoiser, labels: Tensor, share: Tensor) -> Tensor:
    """Conditions ``(N, width)`` of crops, each mixed with another's as `mixup` mixes the pixels.

    Parameters
    ----------
    labels : (N, 2) tensor
        Class of each crop and of the one mixed in; -1 for none.
    share : (N,) tensor
        Share of the former.
    """
    rows = denoiser.conditions[labels]
    weight = share.to(rows)[:, None]
    return rows[:, 0] * weight + rows[:, 1] * (1 - weight)


def full_size_unet() -> dict[str, Any]:
    """Return the settings of Stable Diffusion 1.5's U-Net: 860 million weights."""
    return {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    }


def full_size_vae() -> dict[str, Any]:
    """Return the settings of Stable Diffusion 1.5's VAE: 84 million weights."""
    return {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 512,
        "scaling_factor": 0.18215,
    }
