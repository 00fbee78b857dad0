"""What a synthetic smear shows."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cytodiffusion.settings import Seed, setting
from cytodiffusion.smear.presets import PRESETS, Preset

#: Share of the red cells that lean on others in a usual smear.
OVERLAP = 0.22

Count = Annotated[int, Field(strict=True, ge=0, le=1000)]
Side = Annotated[int, Field(strict=True, ge=128, le=4096)]


class SmearSettings(BaseModel):
    """What a synthetic smear shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset | None = setting(
        None,
        "Preset",
        "Blood to show: sets the differential and the platelets that are not given otherwise.",
    )
    height: Side = setting(1024, "Height", "Height of the field in pixels.", unit="px")
    width: Side = setting(1280, "Width", "Width of the field in pixels.", unit="px")
    pixel_size_um: float = setting(
        0.12, "Pixel size", "Micrometres per pixel of the field.", unit="um", ge=0.03, le=0.5
    )
    n_white: Count = setting(12, "White cells", "Number of white cells.", unit="cells")
    n_red: int | None = setting(
        None,
        "Red cells",
        "Number of red cells; otherwise as many as cover a third of the field.",
        unit="cells",
        strict=True,
        ge=0,
        le=20_000,
    )
    n_platelets: Count = setting(14, "Platelets", "Number of platelets.")
    n_artefacts: Count = setting(
        1, "Stain precipitate", "Number of clusters of stain precipitate.", more=True
    )
    differential: dict[str, float] | None = setting(
        None,
        "Differential",
        "Share of a class among the white cells, such as neutrophil=0.6; shares need not add up "
        "to 1. Otherwise every class that the model knows, the common ones more often.",
        more=True,
    )
    overlap: float = setting(
        OVERLAP,
        "Overlap",
        "Share of the red cells that are laid against another one.",
        more=True,
        ge=0,
        le=1,
    )
    stain_variation: float = setting(
        0.25,
        "Stain variation",
        "0 is the usual stain, 1 as far from it as laboratories are.",
        more=True,
        ge=0,
        le=1,
    )
    light_variation: float = setting(
        1.0,
        "Light variation",
        "Unevenness and tint of the light: 0 none, 1 as in a usual microscope.",
        more=True,
        ge=0,
        le=3,
    )
    seed: Seed = setting(0, "Seed", "The same seed and settings give the same field.", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, values: Any) -> Any:
        """Fill in what a preset says, where nothing else was asked for."""
        blood = PRESETS.get(str(values.get("preset"))) if isinstance(values, dict) else None
        if blood is None:
            return values
        filled = {"n_platelets": blood.n_platelets, **values}
        if not values.get("differential"):
            filled["differential"] = dict(blood.differential)
        return filled

    @field_validator("differential")
    @classmethod
    def _shares(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        for name, share in (shares or {}).items():
            if not (math.isfinite(share) and share >= 0):
                raise ValueError(f"the share of {name} must be a number of at least 0")
        return shares or None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width
