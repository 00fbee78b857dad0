"""A blood smear made on the spot, with every cell and its class known."""

from __future__ import annotations

from cytodiffusion.smear.generated import Sampling
from cytodiffusion.smear.synthetic import DIFFERENTIAL, Smear, synthetic_smear

__all__ = ["DIFFERENTIAL", "Sampling", "Smear", "synthetic_smear"]
