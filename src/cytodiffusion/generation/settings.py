"""Settings of generated cells."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from cytodiffusion.settings import Seed, setting


class GenerationSettings(BaseModel):
    """How cells are generated, and which are rejected."""

    model_config = ConfigDict(frozen=True)

    steps: int = setting(
        40, "Steps", "Steps of the sampler.", unit="steps", more=True, ge=2, le=1000
    )
    guidance: float = setting(
        1.5,
        "Guidance",
        "1 draws a class as it was learned, more exaggerates it, 0 ignores it.",
        ge=0,
        le=20,
    )
    #: The third eosinophil of a seed is the same picture whatever else is asked for with it.
    seed: Seed = 0
    reject: bool = setting(
        True, "Reject and redraw", "Draw anew what the classifier takes for another class."
    )
    tries: int = setting(
        4,
        "Tries",
        "Most drawings of a cell; a cell that is never accepted is left out.",
        unit="drawings",
        more=True,
        ge=1,
        le=100,
    )
    least_confidence: float = setting(
        0.5,
        "Least confidence",
        "Least probability that the classifier must give to the class; it must also be its first "
        "choice.",
        more=True,
        ge=0,
        lt=1,
    )


class Mix(BaseModel):
    """Another class to go towards."""

    model_config = ConfigDict(frozen=True)

    name: str = setting(title="Towards", description="Class to go towards.", min_length=1)
    share: float = setting(
        0.5,
        "How far",
        "How far to go towards it: 0 stays at the class, 1 arrives at the other.",
        ge=0,
        le=1,
    )

    def text(self) -> str:
        """Return it as it is written on the command line."""
        return f"{self.name}={self.share:g}"
