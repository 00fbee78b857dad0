"""A synthetic smear on disk, with its truth and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cytodiffusion.files.atomic import staged_folder
from cytodiffusion.files.record import circumstances
from cytodiffusion.files.synthetic_mark import (
    PROVENANCE,
    STATEMENT,
    write_synthetic_png,
    write_synthetic_tiff,
)
from cytodiffusion.files.writers import write_cells_csv, write_run_json
from cytodiffusion.image.labels import write_labels_tif
from cytodiffusion.smear.synthetic import Smear

IMAGE, TRUTH, LABELS = "smear.tif", "truth.csv", "labels.tif"


def save_smear(
    smear: Smear,
    folder: str | Path,
    *,
    model: Mapping[str, Any] | None = None,
    labels: str = LABELS,
    png: bool = False,
) -> dict[str, Path]:
    """Write image, labels, classes and provenance; all of them appear, or none does."""
    target, size = Path(folder), smear.pixel_size_um
    record = smear_record(smear, model)
    frame = smear.cells.assign(synthetic="true")
    with staged_folder(target) as staging:
        write_synthetic_tiff(staging / IMAGE, smear.rgb, record, size)
        write_labels_tif(staging / labels, smear.labels, size)
        write_cells_csv(staging / TRUTH, frame)
        write_run_json(staging / PROVENANCE, {"statement": STATEMENT, **record})
        if png:
            write_synthetic_png(staging / "smear.png", smear.rgb, record, size)
    files = {Path(name).stem: target / name for name in (IMAGE, labels, TRUTH, PROVENANCE)}
    return files | ({"png": target / "smear.png"} if png else {})


def smear_record(smear: Smear, model: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return how a smear came about: settings, seed, model, versions, counts."""
    return {
        "synthetic": True,
        "program": "cytodiffusion",
        "model": None if model is None else dict(model),
        "settings": smear.settings,
        "seed": smear.seed,
        **circumstances(),
        "counts": smear.cells["class"].value_counts().to_dict(),
        "pixel_size_um": smear.pixel_size_um,
    }
