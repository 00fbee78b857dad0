"""Settings of heatmaps and counterfactual cells."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from cytodiffusion.settings import Seed, setting


class HeatmapSettings(BaseModel):
    """How a heatmap is measured."""

    model_config = ConfigDict(frozen=True)

    method: Literal["edited", "published"] = setting(
        "edited",
        "Method",
        "edited shows what changes where the cell is drawn as the target class; published is the "
        "difference of the denoising errors of both classes, as in the paper.",
    )
    versions: Literal[2, 4, 8] = setting(
        4,
        "Versions",
        "edited: how many versions of the cell the map is the mean of; the cell is turned and "
        "flipped for each.",
        more=True,
    )
    strength: float = setting(
        0.6,
        "Strength",
        "edited: how far the cell may change, as a share of the noise levels.",
        more=True,
        gt=0,
        le=1,
    )
    guidance: float = setting(
        5.0,
        "Guidance",
        "edited: 1 follows the class as it was learned, more exaggerates it.",
        more=True,
        ge=0,
        le=20,
    )
    trials: int = setting(
        64,
        "Passes",
        "published: passes of the network for a cell, rounded up to whole rounds of noise levels "
        "and views; more make the map converge.",
        unit="passes",
        ge=1,
        le=20_000,
    )
    views: Literal[1, 2, 4, 8] = setting(
        8,
        "Views",
        "published: turns and flips of the cell: 1, 2 (flip), 4 (turns) or 8 (both).",
        more=True,
    )
    noise: tuple[float, ...] = setting(
        (0.81, 0.92),
        "Noise levels",
        "published: noise amplitudes at which the cell is looked at, between 0 (clean) and 1 (only "
        "noise).",
        more=True,
        min_length=1,
        max_length=50,
    )
    blur: float = setting(
        0.5,
        "Smoothing",
        "Standard deviation of the Gaussian that smooths the map, in cells of the network's grid.",
        more=True,
        ge=0,
        le=10,
    )
    sigmas: float = setting(
        3.0,
        "Threshold",
        "Standard deviations of chance that a place must exceed to be shown in the overlay.",
        unit="sigmas",
        ge=0,
        le=100,
    )
    seed: Seed = 0
    batch_size: int | None = setting(
        None,
        "Batch size",
        "Passes computed at a time; changes memory and speed, never the results.",
        unit="passes",
        more=True,
        ge=1,
        le=65536,
    )

    @property
    def rounds(self) -> int:
        """Times that all levels and views are gone through; two halves can be made of them."""
        least = 2 if self.views == 1 else 1
        return max(least, -(-self.trials // (2 * self.views * len(self.noise))))

    @property
    def passes(self) -> int:
        """Trials that are really made, or versions that the map is the mean of."""
        if self.method == "edited":
            return self.versions
        return self.rounds * 2 * self.views * len(self.noise)


class CounterfactualSettings(BaseModel):
    """How a cell is turned into its version of another class."""

    model_config = ConfigDict(frozen=True)

    strength: float | None = setting(
        None,
        "Strength",
        "How far the cell may change: near 0 only in fine texture, at 1 in everything but its "
        "background; otherwise the least that suffices.",
        gt=0,
        le=1,
    )
    confidence: float = setting(
        0.99,
        "Confidence",
        "Probability of the target that suffices where the least strength is looked for: at 0.5 "
        "the version is nearest to the cell, near 1 it convinces other networks more often.",
        more=True,
        ge=0.1,
        le=0.9999,
    )
    guidance: float = setting(
        5.0,
        "Guidance",
        "1 follows the class as it was learned, more exaggerates it.",
        ge=0,
        le=20,
    )
    steps: int = setting(
        12,
        "Steps",
        "Steps of each way through the noise levels.",
        unit="steps",
        more=True,
        ge=2,
        le=200,
    )
    method: Literal["inversion", "noise"] = setting(
        "inversion",
        "Method",
        "inversion keeps most of the cell; noise is plain noising and denoising (SDEdit).",
        more=True,
    )
    seed: Seed = 0
    trials: int = setting(
        12,
        "Trials",
        "Most trials that the classifier may take for a cell.",
        unit="trials",
        more=True,
        ge=1,
        le=2000,
    )
    batch_size: int | None = setting(
        None,
        "Batch size",
        "Cells computed at a time; changes memory and speed, never the results.",
        unit="cells",
        more=True,
        ge=1,
        le=65536,
    )
