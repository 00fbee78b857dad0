"""Settings of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveInt, model_validator

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.settings import (
    RESAMPLES,
    AllowDownload,
    Device,
    Layout,
    PixelSize,
    setting,
)

#: Name of the evaluated data among the sets.
EVALUATED = "data"
#: Models of the low-data curve; those with a plus use the unlabelled cells too.
Rival = Literal["diffusion", "resnet18", "vit", "resnet18+pseudo", "vit+pseudo"]


def _several(value: Any) -> Any:
    return () if value is None else (value,) if isinstance(value, str | Path) else value


class EvaluateSettings(BaseModel):
    """Everything a report depends on; the same settings give the same figures."""

    model_config = ConfigDict(frozen=True)

    model: str = setting(
        "default",
        "Model",
        '"default" (bundled), the folder of a model or baseline, or a Hugging Face id.',
    )
    data: Path = setting(
        title="Labelled images",
        description="Labelled single-cell images: whatever cytodiffusion train takes.",
    )
    output: Path = setting(title="Folder of the report", description="Folder for the report.")
    layout: Layout = "auto"
    shift: dict[str, Path] = setting(
        {},
        "Other laboratories",
        "Another laboratory's data, by the name it has in the report; its test split, or all of "
        "it.",
    )
    leave_out: str | None = setting(
        None,
        "Class to leave out",
        "Class whose cells are the anomalies. Where the model knows it, a copy is trained without "
        "it and kept in REPORT/without-CLASS.",
        more=True,
    )
    leave_out_model: Annotated[tuple[Path, ...], BeforeValidator(_several)] = setting(
        (),
        "Models without the class",
        "A model or baseline that was trained without that class; it stands for the first of its "
        "kind among the model and the baselines.",
        more=True,
    )
    leave_out_steps: PositiveInt | None = setting(
        None,
        "Steps without the class",
        "Training steps of that copy; otherwise as many as the model took.",
        unit="steps",
        more=True,
    )
    baselines: tuple[Path, ...] = setting(
        (), "Baselines", "Another classifier to stand beside the model in every table."
    )
    annotations: Path | None = setting(
        None,
        "Human annotations",
        "Answers of human annotators, for psychometric curves: a CSV, or a study whose images of "
        "one cell several people labelled.",
        more=True,
    )
    taxonomy: str | None = setting(
        None,
        "Class hierarchy",
        "Class hierarchy of the tolerant scores, by name or as a JSON file; otherwise the one "
        "that fits the classes.",
        more=True,
    )
    low_data: tuple[PositiveInt, ...] = setting(
        (),
        "Few labelled cells",
        "Train with so few labelled cells a class, such as 10,20,50. Takes long.",
        unit="cells",
        more=True,
    )
    low_data_steps: PositiveInt | None = setting(
        None,
        "Steps with few labels",
        "Training steps of each of these runs.",
        unit="steps",
        more=True,
    )
    seeds: PositiveInt = setting(
        5, "Repetitions", "Repetitions of the training with few labelled cells.", more=True
    )
    split: Literal["test", "val", "train", "all"] = setting(
        "test", "Split", "Part of the data to measure on: test, val, train or all."
    )
    limit: PositiveInt | None = setting(
        None,
        "Images at most",
        "Images of each set, drawn at random; otherwise all.",
        unit="images",
    )
    pixel_size_um: PixelSize = None
    shift_pixel_size_um: PixelSize = setting(
        None,
        "Pixel size of the others",
        "Micrometres per pixel of the other laboratories' images; otherwise estimated for each "
        "set.",
        unit="um",
        more=True,
    )
    resamples: int = setting(
        RESAMPLES,
        "Bootstrap samples",
        "Bootstrap samples of an interval.",
        more=True,
        ge=10,
        le=100_000,
    )
    trial_cells: int = setting(
        400,
        "Cells of the trial curve",
        "Cells on which accuracy is measured after each number of trials.",
        unit="cells",
        more=True,
        ge=0,
    )
    published_cells: int = setting(
        0,
        "Cells by the published rule",
        "Classify so many cells by the published rule as well, for a model with Stable "
        "Diffusion's network; takes up to 2,000 trials a cell.",
        unit="cells",
        more=True,
        ge=0,
    )
    published_trials: int = setting(
        2000,
        "Trials of the published rule",
        "Most trials that the published rule may take for a cell.",
        unit="trials",
        more=True,
        ge=1,
        le=100_000,
    )
    device: Device = "auto"
    allow_download: AllowDownload = False
    classify: ClassifySettings = setting(
        ClassifySettings(), "Classification", "How cells are classified."
    )

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


class LowDataSettings(BaseModel):
    """How the low-data curve is measured."""

    model_config = ConfigDict(frozen=True)

    counts: tuple[PositiveInt, ...] = setting(
        (10, 20, 50), "Labelled cells", "Labelled cells a class.", unit="cells"
    )
    seeds: PositiveInt = setting(5, "Repetitions", "Draws of the labelled cells.")
    first_seed: int = setting(0, "First seed", "Seed of the first draw.", ge=0)
    models: tuple[Rival, ...] = setting(
        ("diffusion", "resnet18", "vit", "resnet18+pseudo"), "Models", "Models of the curve."
    )
    split: Literal["val", "test"] = setting(
        "test",
        "Split",
        "Split that is reported: val while anything is still chosen, test once.",
    )
    # fixed, as there are too few labels to choose trials and levels by
    trials: PositiveInt = setting(
        8, "Trials", "Trials a cell of the diffusion classifier.", unit="trials"
    )
    levels: tuple[PositiveInt, ...] = setting(
        (30, 60, 100, 200), "Noise levels", "Noise levels that the trials go round."
    )
    confidence: float = setting(
        0.95,
        "Confidence",
        "Least probability of a pseudo-label of the baselines.",
        gt=0,
        lt=1,
    )
    input_size: PositiveInt = setting(
        32, "Input size", "Side of the crops of every model, in pixels.", unit="px"
    )
    device: Device = "auto"
    ours: dict[str, Any] = setting(
        {}, "Training of the diffusion model", "Training settings that differ from the usual."
    )
    rivals: dict[str, Any] = setting(
        {}, "Training of the baselines", "Training settings that differ from the usual."
    )
