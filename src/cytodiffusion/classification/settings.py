"""Settings of classification: our trials, and the published rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveFloat, model_validator

from cytodiffusion.settings import BatchSize, Seed, setting


def _pairs(given: Any) -> Any:
    """Return shares that were written as one text, such as ``lymphocyte=0.8, neutrophil=0.1``."""
    if not isinstance(given, str):
        return given
    parts = [part.rpartition("=") for part in given.split(",") if part.strip()]
    if any(not name.strip() for name, _, _ in parts):
        raise ValueError("write it as lymphocyte=0.8, neutrophil=0.1")
    return {name.strip(): share.strip() for name, _, share in parts}


class ClassifySettings(BaseModel):
    """How many trials a cell may take, and how sure a decision must be."""

    model_config = ConfigDict(frozen=True)

    trials: int = setting(
        12,
        "Trials",
        "Most trials a cell may take; cells that are clear stop earlier.",
        unit="trials",
        ge=1,
        le=2000,
    )
    min_trials: int = setting(
        3,
        "Least trials",
        "Trials that a cell takes before classes are ruled out, unless the first settles it.",
        unit="trials",
        more=True,
        ge=1,
        le=2000,
    )
    alpha: float = setting(
        2e-3,
        "Elimination level",
        "Significance level of the test that rules a class out.",
        more=True,
        gt=0,
        lt=0.5,
    )
    seed: Seed = 0
    batch_size: BatchSize = 256
    coverage: float = setting(
        0.95,
        "Coverage",
        "How often prediction sets hold the true class, as a share.",
        gt=0,
        lt=1,
    )
    by_class: bool | None = setting(
        None,
        "Coverage by class",
        "Let the coverage hold for every class by itself rather than for all cells together; "
        "otherwise by class where the model has seen enough validation cells of each.",
        more=True,
    )
    error_rate: float | None = setting(
        0.02,
        "Error rate",
        "Share of the accepted cells that may be wrong, among the white cells and among all; cells "
        "too unsure for it are marked for review. With none, no cell is.",
        gt=0,
        lt=1,
    )
    level: Literal["coarse", "fine"] = setting(
        "coarse",
        "Level",
        "Level of the classes in tables, counts and colours: coarse, the classes of the model; or "
        "fine, the finer classes of those that have some, such as band and segmented neutrophil.",
    )
    alone: bool = setting(
        False,
        "Each cell by itself",
        "Look at each cell by itself; do not correct the cells of an image or folder for what "
        "they have in common.",
        more=True,
    )
    prior: Literal["auto", "even", "normal-blood", "own"] = setting(
        "auto",
        "Expected cells",
        "Which mixture of nucleated cells is expected (the prior over classes): even, all alike; "
        "normal-blood, that of a healthy adult; own, the shares of one's own; auto, normal blood "
        "for whole fields and even for images of single cells.",
    )
    prior_shares: Annotated[dict[str, PositiveFloat], BeforeValidator(_pairs)] = setting(
        {},
        "Own shares",
        "Expected shares of classes among the nucleated cells, such as lymphocyte=0.8; what they "
        "leave to 1 is divided among the classes that are not named.",
        more=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _shares_are_meant(cls, given: Any) -> Any:
        """Take shares for a prior of one's own, also where that is not said."""
        if isinstance(given, Mapping) and given.get("prior_shares"):
            return {**given, "prior": "own"} if given.get("prior", "auto") == "auto" else given
        return given

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.prior == "own" and not self.prior_shares:
            raise ValueError("the prior own needs shares, such as lymphocyte=0.8")
        if self.prior != "own" and self.prior_shares:
            raise ValueError(f"shares are for the prior own, not for {self.prior}")
        total = sum(self.prior_shares.values())
        if total > 1.001:
            raise ValueError(f"the shares of the prior add up to {total:.3g}, which is more than 1")
        return self


class PublishedSettings(BaseModel):
    """Constants of the published rule; the defaults are the published ones."""

    model_config = ConfigDict(frozen=True)

    trials: int = setting(
        2000, "Trials", "Most trials a cell may take.", unit="trials", ge=1, le=100_000
    )
    min_trials: int = setting(
        20,
        "Least trials",
        "Trials before classes are tested; the first test comes one trial later.",
        unit="trials",
        more=True,
        ge=2,
    )
    test_every: int = setting(
        5, "Test every", "Trials between two tests.", unit="trials", more=True, ge=1
    )
    p: float = setting(
        2e-3,
        "Elimination level",
        "Two-sided significance level of the test that rules a class out.",
        more=True,
        gt=0,
        lt=1,
    )
    jitter: float = setting(
        0.25,
        "Colour jitter",
        "Largest relative change of brightness, contrast and saturation in a trial; the hue "
        "turns by at most half as many turns.",
        more=True,
        ge=0,
        lt=1,
    )
    rotation: Literal["any", "quarter"] = setting(
        "any",
        "Rotation",
        "Turn the cell by any angle, which leaves black corners, or by quarter turns.",
        more=True,
    )
    seed: Seed = 0
    snr_limit: float = setting(
        math.inf,
        "Limit of the weight",
        "Our network only: largest signal-to-noise ratio that the error of the clean crop is "
        "multiplied by.",
        more=True,
        gt=0,
    )
    cells_at_once: int = setting(
        1,
        "Cells at a time",
        "Cells computed at a time, one as published; changes speed, never the results.",
        unit="cells",
        more=True,
        ge=1,
    )
