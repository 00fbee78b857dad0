"""Settings of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.metrics.intervals import RESAMPLES

#: Name of the evaluated data among the sets.
EVALUATED = "data"
#: What ``split`` may be.
SPLIT_PATTERN = "^(train|val|test|all)$"


def _several(value: Any) -> Any:
    return () if value is None else (value,) if isinstance(value, str | Path) else value


class EvaluateSettings(BaseModel):
    """Everything a report depends on; the same settings give the same figures.

    Attributes
    ----------
    model : str
        ``default``, the folder of a model or baseline, or a Hub id.
    data, output : Path
        Labelled single-cell images, and the folder of the report.
    layout : str
        How ``data`` lie on disk, one of `cytodiffusion.datasets.LAYOUTS`; found out when ``auto``.
    shift : dict
        Other laboratories' data by the name they have in the report.
    leave_out : str or None
        Class whose cells are the anomalies.
    leave_out_model : tuple of Path
        Models that were trained without that class: of the model, and of baselines. One path
        alone is taken too.
    leave_out_steps : int or None
        Budget to train one; what the model itself took when None.
    baselines : tuple of Path
        Folders of the classifiers beside it.
    annotations : Path or None
        Table of human annotations, for the psychometric curves.
    taxonomy : str or None
        Name of a class hierarchy, for strict and tolerant scores.
    low_data : tuple of int
        Labelled cells a class of the low-data curve; none measures no curve.
    low_data_steps : int or None
        Training budget of each of its runs.
    seeds : int
        Repetitions of the low-data curve.
    split : str
        ``test``, ``val``, ``train`` or ``all`` of ``data``.
    limit : int or None
        Images of each set, drawn at random with the seed; all when None.
    pixel_size_um, shift_pixel_size_um : float or None
        Of the images; estimated from each image when None.
    resamples : int
        Of the bootstrap intervals.
    trial_cells : int
        Cells of the curve of trials against accuracy, which runs every trial of the budget.
    published_cells, published_trials : int
        Cells that the published rule is measured on, for a model with Stable Diffusion's network,
        and the trials that one of them may take.
    device : str
    allow_download : bool
    classify : ClassifySettings
        Trials, coverage and seed.
    """

    model_config = ConfigDict(frozen=True)

    model: str = "default"
    data: Path
    output: Path
    layout: str = "auto"
    shift: dict[str, Path] = {}
    leave_out: str | None = None
    leave_out_model: Annotated[tuple[Path, ...], BeforeValidator(_several)] = ()
    leave_out_steps: PositiveInt | None = None
    baselines: tuple[Path, ...] = ()
    annotations: Path | None = None
    taxonomy: str | None = None
    low_data: tuple[PositiveInt, ...] = ()
    low_data_steps: PositiveInt | None = None
    seeds: PositiveInt = 5
    split: str = Field("test", pattern=SPLIT_PATTERN)
    limit: PositiveInt | None = None
    pixel_size_um: PositiveFloat | None = None
    shift_pixel_size_um: PositiveFloat | None = None
    resamples: int = Field(RESAMPLES, ge=10, le=100_000)
    trial_cells: int = Field(400, ge=0)
    published_cells: int = Field(0, ge=0)
    published_trials: int = Field(2000, ge=1, le=100_000)
    device: str = "auto"
    allow_download: bool = False
    classify: ClassifySettings = ClassifySettings()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse what cannot go together."""
        if self.leave_out is None and (self.leave_out_model or self.leave_out_steps):
            raise ValueError("name the class to leave out with --leave-out")
        if EVALUATED in self.shift:
            raise ValueError(f"{EVALUATED} is the evaluated set: call the other one NAME=FOLDER")
        return self

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        return self.classify.seed
