"""How heatmaps are measured."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class HeatmapSettings(BaseModel):
    """How a heatmap is measured.

    Attributes
    ----------
    trials : int
        Passes of the network a cell. Rounded up to whole rounds of all noise levels, views and
        both signs of the noise.
    views : int
        Turns and flips of the crop: 1, 2 (flip), 4 (turns) or 8 (both).
    noise : tuple of float
        Noise amplitudes of the levels, above 0 (clean) and below 1 (nothing but noise); the
        signal's is ``sqrt(1 - noise**2)``. Chosen on validation cells.
    blur : float
        Standard deviation of the Gaussian that smooths the map, as a share of a latent's side:
        there is no finer detail in it, only the grid of the latents.
    sigmas : float
        Threshold, in standard deviations of the null.
    seed : int
    batch_size : int, optional
        Passes at once: memory and speed, never the map.
    """

    model_config = ConfigDict(frozen=True)

    trials: int = Field(64, ge=1, le=20_000)
    views: Literal[1, 2, 4, 8] = 8
    noise: tuple[float, ...] = Field((0.81, 0.92), min_length=1, max_length=50)
    blur: float = Field(0.5, ge=0, le=10)
    sigmas: float = Field(3.0, ge=0, le=100)
    seed: int = Field(0, ge=0, lt=2**40)
    batch_size: int | None = Field(None, ge=1, le=65536)

    @property
    def rounds(self) -> int:
        """Times that all levels and views are gone through; two halves can be made of them."""
        least = 2 if self.views == 1 else 1
        return max(least, -(-self.trials // (2 * self.views * len(self.noise))))

    @property
    def passes(self) -> int:
        """Trials that are really made."""
        return self.rounds * 2 * self.views * len(self.noise)
