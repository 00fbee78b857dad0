"""What a synthetic smear shows."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cytodiffusion.smear.placement import OVERLAP

Count = Annotated[int, Field(strict=True, ge=0, le=1000)]
Side = Annotated[int, Field(strict=True, ge=128, le=4096)]


class SmearSettings(BaseModel):
    """What a synthetic smear shows.

    Attributes
    ----------
    height, width : int
        Of the field in pixels.
    pixel_size_um : float
        Micrometres a pixel.
    n_white, n_platelets, n_artefacts : int
        White cells, platelets and clusters of stain precipitate.
    n_red : int, optional
        Red cells; by default as many as cover a third of the field.
    differential : dict, optional
        Shares of the white cells by class; they need not add up to 1. By default every class that
        the model knows, the common ones more often.
    overlap : float
        Share of the red cells that are laid against another one; 0 for none.
    stain_variation : float
        How far the stain is from the usual one: 0 not at all, 1 as much as laboratories differ.
    light_variation : float
        Unevenness and tint of the light: 0 for none, 1 for a usual microscope, up to 3.
    seed : int
        Same seed and settings, same field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: Side = 1024
    width: Side = 1280
    pixel_size_um: float = Field(0.12, ge=0.03, le=0.5)
    n_white: Count = 12
    n_red: int | None = Field(None, strict=True, ge=0, le=20_000)
    n_platelets: Count = 14
    n_artefacts: Count = 1
    differential: dict[str, float] | None = None
    overlap: float = Field(OVERLAP, ge=0, le=1)
    stain_variation: float = Field(0.25, ge=0, le=1)
    light_variation: float = Field(1.0, ge=0, le=3)
    seed: int = Field(0, strict=True, ge=0, lt=2**40)

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
