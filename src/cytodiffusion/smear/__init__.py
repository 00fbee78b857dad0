"""A blood smear made on the spot, with every cell and its class known."""

from __future__ import annotations

from cytodiffusion.smear.generated import Sampling
from cytodiffusion.smear.settings import SmearSettings
from cytodiffusion.smear.synthetic import (
    ARTEFACT,
    DIFFERENTIAL,
    PLATELET,
    RED_CELL,
    Smear,
    synthetic_smear,
)

__all__ = [
    "ARTEFACT",
    "DIFFERENTIAL",
    "PLATELET",
    "RED_CELL",
    "Sampling",
    "Smear",
    "SmearSettings",
    "synthetic_smear",
]
