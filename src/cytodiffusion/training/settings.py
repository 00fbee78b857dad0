"""Settings of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from cytodiffusion.cells.crops import WINDOW_UM
from cytodiffusion.datasets.duplicates import Policy
from cytodiffusion.training.augmentation.augment import AugmentSettings, nothing_but

#: Side in pixels from which on a generator has enough of a coarse picture to learn detail from.
SMALLEST_DRAWN = 64
#: What differs from the defaults for other kinds of models.
RECIPES: dict[str, dict[str, Any]] = {
    "resnet18": {"steps": 3000, "learning_rate": 1e-3},
    "vit": {"steps": 3000, "learning_rate": 5e-4},
    "generator": {
        "input_size": 128,
        "batch_size": 64,
        "steps": 8000,
        "balance": 0.7,
        "augment": nothing_but(scale=0.06, aspect=0.03, shift=0.02),
    },
    "laboratory": {
        "steps": 3000,
        "learning_rate": 2e-3,
        "weight_decay": 0.1,
        "augment": {
            "scale": 0.25,
            "shift": 0.05,
            "cut_share": 0.1,
            "dried_share": 0.4,
            "blur": 2.4,
            "plain_share": 0.1,
        },
    },
    "stable-diffusion": {  # as published for few images; `balance` and augmentation are ours
        "input_size": 360,
        "disc_radius": 20 / 45,
        "steps": 20_000,
        "batch_size": 10,
        "learning_rate": 1e-5,
        "weight_decay": 0.01,
        "warmup": 500,
        "cooldown": 0.0,
        "ema_decay": 0.9999,
    },
}


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of which those in ``second`` count, name by name also in dictionaries."""
    result = {**first, **second}
    for key in first.keys() & second.keys():
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            result[key] = first[key] | second[key]
    return result


class TrainSettings(BaseModel):
    """Everything a training run depends on; the same settings give the same model."""

    model_config = ConfigDict(frozen=True)

    data: Path
    layout: str = "auto"  #: how the data lie on disk; found out when auto
    output: Path
    duplicates: Policy = "refuse"  #: what to do with an image that is in two splits
    #: Ours; the baselines; the published network; what draws synthetic cells; what corrects the
    #: cells of a slide for what they have in common.
    kind: Literal["diffusion", "resnet18", "vit", "stable-diffusion", "generator", "laboratory"] = (
        "diffusion"
    )
    pretrained: bool = False  #: baselines only: start from ImageNet weights
    allow_download: bool = False  #: of those weights, when they are not on this machine
    name: str = "cytodiffusion"
    seed: int = Field(0, ge=0, lt=2**40)
    init: str | None = None  #: model to start from; the network is then like its
    pixel_size_um: PositiveFloat | None = None  #: of the images; estimated when None
    input_size: PositiveInt = 96  #: side of the model's input in pixels
    window_um: PositiveFloat = WINDOW_UM
    patch: PositiveInt = 4
    widths: tuple[int, ...] = (64, 128, 256)
    blocks: tuple[int, ...] = (1, 2, 2)
    head_channels: PositiveInt = 64
    dropout: float = Field(0.1, ge=0, lt=1)
    base_widths: tuple[int, ...] = (64, 128, 128)  #: generator: network of the coarse picture
    base_blocks: tuple[int, ...] = (2, 2, 2)
    detail_widths: tuple[int, ...] = (64, 96)  #: generator: network of the detail
    detail_blocks: tuple[int, ...] = (1, 2)
    detail_steps: PositiveInt = 5000  #: generator: steps of the detail's network
    laboratories: PositiveInt = 400  #: laboratory: how many are made up
    steps: PositiveInt = 7000
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 8e-4
    weight_decay: float = Field(0.02, ge=0)
    warmup: PositiveInt = 200
    cooldown: float = Field(0.3, ge=0, le=1)  #: share of the steps in which the rate falls
    ema_decay: float = Field(0.999, gt=0, lt=1)
    class_loss: float = Field(0.2, ge=0)  #: lambda of the hybrid loss
    label_smoothing: float = Field(0.02, ge=0, lt=1)
    level_tilt: PositiveFloat = 1.25  #: 1 draws noise levels alike; more, rather low ones
    pseudo_labels: float = Field(0.0, ge=0, le=1)  #: least share of votes of a guess; 0: none
    lora: int = Field(0, ge=0, le=1024)  #: stable-diffusion: rank; 0 trains all weights
    snr_gamma: PositiveFloat = 5.0  #: stable-diffusion: of the min-SNR weight
    noise_offset: float = Field(0.1, ge=0, le=1)  #: stable-diffusion: noise common to a channel
    mixup: float = Field(0.0, ge=0)  #: stable-diffusion: alpha; 0.3 as published, 0 mixes nothing
    class_dropout: float = Field(0.1, ge=0, lt=1)  #: share trained through the null class
    balance: float = Field(0.5, ge=0, le=1)
    unlabelled_share: float = Field(0.25, ge=0, le=1)  #: of a batch, where there are any
    disc_radius: float = Field(0.42, gt=0)  #: of the window; where errors count in classifying
    augment: AugmentSettings = AugmentSettings()
    mixed_precision: str = Field("auto", pattern="^(auto|no|bf16)$")
    device: str = "auto"
    checkpoint_every: PositiveInt = 250
    validate_every: PositiveInt = 500
    coverage: float = Field(0.95, gt=0, lt=1)
    false_alarms: float = Field(0.02, gt=0, lt=1)  #: stated rate of the anomaly threshold
    resume: bool = False
    attribution: str = ""  #: whose data, under which licence; goes into the model card
    colors: dict[str, str] = {}
    groups: dict[str, str] = {}
    taxonomy: str | None = None  #: ready one or a file; else the ready one that fits the classes

    @model_validator(mode="before")
    @classmethod
    def _recipe(cls, given: Any) -> Any:
        """Fill in what suits the kind of model better than the defaults."""
        if not isinstance(given, dict):
            return given
        recipe = RECIPES.get(given.get("kind", "diffusion"), {})
        if given.get("kind") == "stable-diffusion" and given.get("lora"):
            recipe = recipe | {"learning_rate": 1e-4}
        return merged(recipe, given)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        """Refuse what only another kind of model has."""
        if self.kind in ("diffusion", "stable-diffusion") and self.pretrained:
            raise ValueError("pre-trained weights are for the kinds resnet18 and vit")
        if self.kind in ("resnet18", "vit") and self.init is not None:
            raise ValueError("only a diffusion model can start from another")
        if self.kind == "stable-diffusion" and self.init is None:
            raise ValueError("name the Stable Diffusion 1.5 to start from with init")
        if self.kind == "generator" and self.init is None:
            raise ValueError("name the model that the generator is for with init")
        if self.kind == "laboratory" and self.init is None:
            raise ValueError("name the model that the correction is for with init")
        if self.kind != "stable-diffusion" and self.lora:
            raise ValueError("low-rank adapters (lora) are for the kind stable-diffusion")
        if self.kind != "diffusion" and self.pseudo_labels:
            raise ValueError("only a diffusion model is trained on crops without a label")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse a network that cannot be built, or cannot take the input."""
        networks = {"": (self.widths, self.blocks)}
        if self.kind == "generator":
            networks["base_"] = (self.base_widths, self.base_blocks)
            networks["detail_"] = (self.detail_widths, self.detail_blocks)
        for name, (widths, blocks) in networks.items():
            if not widths or len(widths) != len(blocks):
                raise ValueError(
                    f"{name}widths and {name}blocks must name the same number of levels"
                )
            if any(w < 1 or w % 8 for w in widths) or any(b < 1 for b in blocks):
                raise ValueError(f"{name}widths must be multiples of 8, {name}blocks at least 1")
        cell = self.patch * 2 ** (len(self.widths) - 1)
        if self.kind == "stable-diffusion":
            cell = 8  # of its VAE
        if self.kind == "generator":
            cell = 4 * 2 ** len(self.base_widths)
        if self.input_size % cell:
            raise ValueError(f"the input size must be a multiple of {cell} for this network")
        if self.kind == "generator" and self.input_size < SMALLEST_DRAWN:
            raise ValueError(f"cells can be drawn from an input size of {SMALLEST_DRAWN} on")
        return self
