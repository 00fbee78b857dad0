"""Settings of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from cytodiffusion.crops import WINDOW_UM

from .augment import AugmentSettings


class TrainSettings(BaseModel):
    """Everything a training run depends on; the same settings give the same model."""

    model_config = ConfigDict(frozen=True)

    data: Path
    output: Path
    name: str = "cytodiffusion"
    seed: int = Field(0, ge=0, lt=2**40)
    pixel_size_um: PositiveFloat | None = None  #: of the images; estimated when None
    input_size: PositiveInt = 96  #: side of the model's input in pixels
    window_um: PositiveFloat = WINDOW_UM
    patch: PositiveInt = 4
    widths: tuple[int, ...] = (64, 128, 256)
    blocks: tuple[int, ...] = (1, 2, 2)
    head_channels: PositiveInt = 64
    dropout: float = Field(0.1, ge=0, lt=1)
    steps: PositiveInt = 7000
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 8e-4
    weight_decay: float = Field(0.02, ge=0)
    warmup: PositiveInt = 200
    cooldown: float = Field(0.3, ge=0, le=1)  #: share of the steps in which the rate falls
    ema_decay: float = Field(0.999, gt=0, lt=1)
    class_loss: float = Field(0.2, ge=0)  #: lambda of the hybrid loss
    label_smoothing: float = Field(0.02, ge=0, lt=1)
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

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse a network that cannot be built, or cannot take the input."""
        if not self.widths or len(self.widths) != len(self.blocks):
            raise ValueError("widths and blocks must name the same number of levels")
        if any(w < 1 or w % 8 for w in self.widths) or any(b < 1 for b in self.blocks):
            raise ValueError("widths must be multiples of 8, blocks at least 1")
        cell = self.patch * 2 ** (len(self.widths) - 1)
        if self.input_size % cell:
            raise ValueError(f"the input size must be a multiple of {cell} (patch and levels)")
        return self
