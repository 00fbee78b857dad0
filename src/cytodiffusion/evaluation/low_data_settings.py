"""Settings of the low-data curve: what every model is trained with, and what differs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from cytodiffusion.training.augment import AugmentSettings, nothing_but

#: Models of the curve; those with a plus use the unlabelled cells too.
Rival = Literal["diffusion", "resnet18", "vit", "resnet18+pseudo", "vit+pseudo"]


class LowDataSettings(BaseModel):
    """What the curve is measured with.

    Attributes
    ----------
    counts : tuple of int
        Labelled cells a class.
    seeds, first_seed : int
        Draws of labelled cells, and the seed of the first.
    models : tuple of str
    split : str
        Split that is reported: ``val`` while anything is still chosen, ``test`` once.
    trials, levels : int, tuple of int
        Trials a cell of the diffusion classifier, and the noise levels they go round; fixed,
        as there are too few labels to choose them by.
    confidence : float
        Least probability of a pseudo-label of the baselines.
    input_size : int
        Side of the crops in pixels, of every model.
    device : str
    ours, rivals : dict
        `TrainSettings` of either kind that differ from `OURS` and `RIVALS`.
    """

    model_config = ConfigDict(frozen=True)

    counts: tuple[PositiveInt, ...] = (10, 20, 50)
    seeds: PositiveInt = 5
    first_seed: int = Field(0, ge=0)
    models: tuple[Rival, ...] = ("diffusion", "resnet18", "vit", "resnet18+pseudo")
    split: Literal["val", "test"] = "test"
    trials: PositiveInt = 8
    levels: tuple[PositiveInt, ...] = (30, 60, 100, 200)
    confidence: float = Field(0.95, gt=0, lt=1)
    input_size: PositiveInt = 32
    device: str = "auto"
    ours: dict[str, Any] = {}
    rivals: dict[str, Any] = {}


#: One laboratory's cells: stains are hardly varied, as colours tell most with few labels.
GENTLE = AugmentSettings(
    **nothing_but(
        scale=0.2,
        aspect=0.07,
        shift=0.05,
        mixing=0.03,
        density=0.08,
        thickness=0.1,
        tint=0.01,
        hue=0.05,
        blur=0.5,
        noise=0.015,
        plain_share=0.25,
    )
)
#: Smaller crops, networks and batches than the default model's: a curve is dozens of trainings.
SMALL: dict[str, Any] = {"steps": 600, "warmup": 20, "augment": GENTLE, "ema_decay": 0.98}
OURS: dict[str, Any] = SMALL | {
    "batch_size": 64,
    "patch": 4,
    "widths": (32, 64, 128),
    "blocks": (1, 1, 2),
    "dropout": 0.0,
    "learning_rate": 2e-3,
    "class_loss": 1.0,
    "level_tilt": 3.0,
    "pseudo_labels": 0.3,
    "unlabelled_share": 0.0,
}
RIVALS: dict[str, Any] = SMALL | {"batch_size": 32}
