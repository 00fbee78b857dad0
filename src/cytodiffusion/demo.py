"""The main job on a smear made on the spot, where the truth is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from cytodiffusion.export import write_cells_csv
from cytodiffusion.headless import Analysis
from cytodiffusion.labels import read_labels, write_labels_tif
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.output import staged_folder
from cytodiffusion.progress import Progress, silent
from cytodiffusion.smear import Smear, synthetic_smear

#: File names of the smear and its truth, beside the results.
SMEAR, TRUTH, TRUTH_LABELS = "smear.tif", "truth.csv", "truth_labels.tif"


@dataclass(frozen=True)
class Agreement:
    """How many of the cells that were made were found, and with the class they were made as.

    Attributes
    ----------
    made, found, right
        All cells.
    white_made, white_found, white_right
        Without red cells, platelets and artefacts.
    """

    made: int
    found: int
    right: int
    white_made: int
    white_found: int
    white_right: int

    def sentence(self) -> str:
        """Return what it says about the white cells."""
        return (
            f"Of {self.white_made} white cells made, {self.white_found} were found, "
            f"{self.white_right} of them with the class they were made as."
        )

    def record(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)


def make_smear(
    folder: Path, model: ModelBundle, *, seed: int = 0, progress: Progress = silent
) -> tuple[Smear, Path]:
    """Make a synthetic smear and write it and its truth into `folder`.

    Returns
    -------
    Smear, Path
        The smear, and where its image is.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    smear = synthetic_smear(model, seed=seed, progress=progress)
    size = smear.pixel_size_um
    with staged_folder(folder) as staging:
        _write_image(staging / SMEAR, smear.rgb, size)
        write_labels_tif(staging / TRUTH_LABELS, smear.labels, size)
        write_cells_csv(staging / TRUTH, smear.cells)
    return smear, folder / SMEAR


def agreement(smear: Smear, analysis: Analysis) -> Agreement:
    """Compare what was found with what was made; found means an overlap (IoU) above one half."""
    partner = best_overlap(smear.labels, read_labels(analysis.files["labels"]))
    predicted = analysis.frame.set_index("label")["predicted"]
    made = smear.cells["class"].astype(str)
    given = smear.cells["label"].map(partner).map(predicted)
    found = given.notna()
    right = found & (given.astype(str) == made)
    white = ~made.isin(["red cell", "platelet", "artefact"])
    return Agreement(
        made=len(made),
        found=int(found.sum()),
        right=int(right.sum()),
        white_made=int(white.sum()),
        white_found=int((found & white).sum()),
        white_right=int((right & white).sum()),
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


def _write_image(path: Path, rgb: NDArray[np.uint8], pixel_size_um: float) -> None:
    metadata = {
        "axes": "YXS",
        "PhysicalSizeX": pixel_size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": pixel_size_um,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(
        path, rgb, photometric="rgb", ome=True, compression="zlib", predictor=True,
        metadata=metadata,
    )  # fmt: skip
