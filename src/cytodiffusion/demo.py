"""The main job on a synthetic smear, where the class of every cell is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.image.labels import read_labels
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.pipeline import Analysis
from cytodiffusion.progress import Progress, silent
from cytodiffusion.smear import ARTEFACT, PLATELET, RED_CELL, Smear, SmearSettings, synthetic_smear
from cytodiffusion.smear.files import save_smear

#: The true labels, beside those that are found.
TRUTH_LABELS = "truth_labels.tif"


@dataclass(frozen=True)
class Count:
    """Cells that were made, found, and found with the class they were made as."""

    made: int = 0
    found: int = 0
    right: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.made + other.made, self.found + other.found, self.right + other.right)


@dataclass(frozen=True)
class Agreement:
    """How many of the cells that were made were found, and with the class they were made as.

    It checks the way from an image to a table, not the model: white cells and platelets were
    drawn by the same model and kept when it recognised them.

    Attributes
    ----------
    classes
        Counts for every class that was made.
    """

    classes: Mapping[str, Count]

    @property
    def all(self) -> Count:
        """Counts over all classes."""
        return sum(self.classes.values(), Count())

    @property
    def white(self) -> Count:
        """Counts without red cells, platelets and artefacts."""
        others = (RED_CELL, PLATELET, ARTEFACT)
        white = (count for name, count in self.classes.items() if name not in others)
        return sum(white, Count())

    def sentence(self) -> str:
        """Return what it says in words."""
        white, every = self.white, self.all
        share = 100 * every.right / max(every.made, 1)
        return (
            f"{white.made} white cells were made: {white.found} of them were found, and "
            f"{white.right} got the class they were made as. Of all {every.made} cells, "
            f"{every.found} were found and {every.right} ({share:.0f} %) got their class. The "
            "model itself made these cells, so this checks the program and not how well the model "
            "knows blood."
        )

    def record(self) -> dict[str, Any]:
        """Return the numbers by name."""
        white = {f"white_{name}": value for name, value in asdict(self.white).items()}
        classes = {name: asdict(count) for name, count in self.classes.items()}
        return {**asdict(self.all), **white, "classes": classes}


def make_smear(
    folder: Path, model: ModelBundle, *, seed: int = 0, progress: Progress = silent
) -> tuple[Smear, Path]:
    """Make a synthetic smear and write it and its truth into `folder`."""
    smear = synthetic_smear(model, SmearSettings(seed=seed), progress=progress)
    files = save_smear(smear, folder, model=model.record(), labels=TRUTH_LABELS)
    return smear, files["smear"]


def agreement(smear: Smear, analysis: Analysis) -> Agreement:
    """Compare what was found with what was made; found means an overlap (IoU) above one half."""
    partner = best_overlap(smear.labels, read_labels(analysis.files["labels"]))
    predicted = analysis.frame.set_index("label")["predicted"]
    made = smear.cells["class"].astype(str)
    given = smear.cells["label"].map(partner).map(predicted)
    found = given.notna()
    table = pd.DataFrame({"made": 1, "found": found, "right": found & (given.astype(str) == made)})
    sums = table.groupby(made).sum()
    return Agreement(
        {
            str(name): Count(int(row["made"]), int(row["found"]), int(row["right"]))
            for name, row in sums.iterrows()
        }
    )


def best_overlap(
    truth: NDArray[np.integer], found: NDArray[np.integer], least: float = 0.5
) -> dict[int, int]:
    """Return the label of `found` for each of `truth` that it overlaps with an IoU above `least`.

    Above one half at most one label can do so.
    """
    pairs = pd.DataFrame({"truth": truth.ravel(), "found": found.ravel()})
    shared = pairs.value_counts().rename("shared").reset_index()
    area = {name: shared.groupby(name)["shared"].sum() for name in ("truth", "found")}
    shared = shared[(shared["truth"] > 0) & (shared["found"] > 0)]
    union = shared["truth"].map(area["truth"]) + shared["found"].map(area["found"])
    good = shared[shared["shared"] / (union - shared["shared"]) > least]
    return {int(a): int(b) for a, b in zip(good["truth"], good["found"], strict=True)}
