"""cytodiffusion.classification.settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ClassifySettings(BaseModel):
    """How hard to look at each cell.

    Attributes
    ----------
    trials : int
        Budget of trials a cell.
    min_trials : int
        Trials before the first test.
    alpha : float
        Level of the elimination test.
    seed : int
    batch_size : int
        Cells in flight; the result does not depend on it.
    coverage : float
        Of the prediction sets.
    by_class : bool, optional
        Whether the coverage is to hold for every class by itself, or for all cells together; None
        is by class where the model was calibrated on cells enough of each
        (`cytodiffusion.classification.conformal.enough_of_each`).
    error_rate : float, optional
        Share of accepted cells that may be wrong; cells too unsure for it are for review.
    alone : bool
        Whether to look at each cell by itself, even if the model can correct the cells of a
        slide for what they have in common (`cytodiffusion.classification.slide_correction`).
    """

    model_config = ConfigDict(frozen=True)

    trials: int = Field(12, ge=1, le=2000)
    min_trials: int = Field(3, ge=1, le=2000)
    alpha: float = Field(2e-3, gt=0, lt=0.5)
    seed: int = Field(0, ge=0, lt=2**40)
    batch_size: int = Field(256, ge=1, le=65536)
    coverage: float = Field(0.95, gt=0, lt=1)
    by_class: bool | None = None
    error_rate: float | None = Field(None, gt=0, lt=1)
    alone: bool = False
