"""Settings of teaching: a model from the labels of a study."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt

from cytodiffusion.settings import Device, Seed, setting


class TeachSettings(BaseModel):
    """How a model learns from the cells of a study that people gave a class."""

    model_config = ConfigDict(frozen=True)

    deep: bool = setting(
        False,
        "Thoroughly",
        "Train the whole network further, for hours on a CPU; otherwise a small head is fitted to "
        "what the network, as it is, says of the cells, in seconds.",
    )
    held_back: float = setting(
        0.2,
        "Held back",
        "Share of the labelled cells that nothing is learnt from, so that the model can be tried "
        "on them; which ones never changes.",
        ge=0,
        le=0.5,
    )
    seed: Seed = 0
    steps: PositiveInt = setting(
        1500, "Steps", "Thoroughly: training steps.", unit="steps", more=True
    )
    rehearsal: Path | None = setting(
        None,
        "Images to rehearse",
        "Thoroughly: labelled images of the original classes, so that they are not forgotten; "
        "without any the generator of the model draws them.",
        more=True,
    )
    rehearsed: PositiveInt = setting(
        40,
        "Cells to rehearse",
        "Thoroughly: cells of each original class that are rehearsed.",
        unit="cells",
        more=True,
    )
    device: Device = "auto"
