"""Noise levels: the cosine schedule, as in diffusers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

#: Number of noise levels; level 0 is nearly clean, 999 is pure noise.
LEVELS = 1000


class NoiseSchedule:
    """Signal and noise amplitudes of each level.

    The cosine schedule of Nichol & Dhariwal (2021), as diffusers computes it, so that
    every diffusers sampler fits the trained network.
    """

    def __init__(self) -> None:
        cumulative = self.alphas_cumprod().double()
        self._signal = cumulative.sqrt().float()
        self._noise = (1 - cumulative).sqrt().float()

    def alphas_cumprod(self) -> Tensor:
        """Power of the signal at each level, to the last bit that of diffusers' scheduler."""

        def remaining(share: float) -> float:
            return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

        betas = [
            min(1 - remaining((n + 1) / LEVELS) / remaining(n / LEVELS), 0.999)
            for n in range(LEVELS)
        ]
        return torch.cumprod(1.0 - torch.tensor(betas, dtype=torch.float32), dim=0)

    @staticmethod
    def to_config() -> dict[str, Any]:
        """Return the settings of the diffusers scheduler that this schedule is."""
        return {
            "num_train_timesteps": LEVELS,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": "sample",
            "clip_sample": False,
        }

    def signal(self, t: Tensor) -> Tensor:
        """Amplitude of the clean latents at levels ``t (N,)``, shaped ``(N, 1, 1, 1)``."""
        return self._signal.to(t.device)[t.long()].reshape(-1, 1, 1, 1)

    def noise(self, t: Tensor) -> Tensor:
        """Amplitude of the noise at levels ``t (N,)``, shaped ``(N, 1, 1, 1)``."""
        return self._noise.to(t.device)[t.long()].reshape(-1, 1, 1, 1)

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio (of powers) at levels ``t``, shaped ``(N,)``."""
        return (self.signal(t) / self.noise(t)).square().flatten()

    def add_noise(self, clean: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """Noised latents ``signal * clean + noise * epsilon``."""
        return self.signal(t) * clean + self.noise(t) * epsilon

    def velocity(self, clean: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """``signal * epsilon - noise * clean`` (Salimans & Ho 2022)."""
        return self.signal(t) * epsilon - self.noise(t) * clean

    def clean_of(self, z: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
        """Clean latents of noised ones whose velocity is known."""
        return self.signal(t) * z - self.noise(t) * velocity


def centred_disc(grid: int, radius: float, softness: float = 0.1) -> Tensor:
    """Weights of the positions: 1 in a centred disc, falling smoothly to 0."""
    axis = (torch.arange(grid, dtype=torch.float32) + 0.5) / grid - 0.5
    distance = (axis[:, None].square() + axis[None, :].square()).sqrt()
    return ((radius + softness / 2 - distance) / softness).clamp(0.0, 1.0)
