"""How cells are generated."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GenerationSettings(BaseModel):
    """How cells are generated, and which are rejected.

    Attributes
    ----------
    steps : int
        Steps of the sampler.
    guidance : float
        Weight of classifier-free guidance: 1 draws the class as it was learned, more exaggerates
        it, 0 ignores it.
    seed : int
        Same seed, same cells: the third eosinophil of a seed is the same picture whatever else is
        asked for with it.
    reject : bool
        Draw anew what the classifier does not take for the asked class.
    tries : int
        Drawings of a cell at most; what is not accepted by then is left out. Unused without
        rejection.
    least_confidence : float
        Probability that the classifier must give to the asked class, which must also be its
        first choice.
    """

    model_config = ConfigDict(frozen=True)

    steps: int = Field(30, ge=2, le=1000)
    guidance: float = Field(1.5, ge=0, le=20)
    seed: int = Field(0, ge=0, lt=2**40)
    reject: bool = True
    tries: int = Field(4, ge=1, le=100)
    least_confidence: float = Field(0.5, ge=0, lt=1)


class Mix(BaseModel):
    """Another class to go towards.

    Attributes
    ----------
    name : str
    share : float
        0 stays at the asked class, 1 arrives at the other.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(min_length=1)
    share: float = Field(0.5, ge=0, le=1)

    def text(self) -> str:
        """Return it as it is written on the command line."""
        return f"{self.name}={self.share:g}"
