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
from cytodiffusion.smear.exercise import BY_CELL, BY_CLASS, HIDDEN, blank_answers, hidden_text
from cytodiffusion.smear.synthetic import Smear

IMAGE, TRUTH, LABELS = "smear.tif", "truth.csv", "labels.tif"

#: What the files of an exercise say of themselves: not what the cells are.
_SAID = ("synthetic", "program", "pixel_size_um")


def save_smear(
    smear: Smear,
    folder: str | Path,
    *,
    model: Mapping[str, Any] | None = None,
    labels: str = LABELS,
    png: bool = False,
    exercise: bool = False,
) -> dict[str, Path]:
    """Write image, labels, classes and provenance; all of them appear, or none does.

    As an ``exercise``, the truth is in a file that nobody reads by accident, nothing else says
    what the cells are, and there are tables to fill in.
    """
    target, size = Path(folder), smear.pixel_size_um
    whole = smear_record(smear, model)
    record = {name: whole[name] for name in _SAID} if exercise else whole
    with staged_folder(target) as staging:
        write_synthetic_tiff(staging / IMAGE, smear.rgb, record, size)
        write_labels_tif(staging / labels, smear.labels, size)
        if exercise:
            (staging / HIDDEN).write_text(hidden_text(smear, whole), encoding="ascii")
            for name, table in blank_answers(smear).items():
                write_cells_csv(staging / name, table)
        else:
            write_cells_csv(staging / TRUTH, smear.cells.assign(synthetic="true"))
        write_run_json(staging / PROVENANCE, {"statement": STATEMENT, **record})
        if png:
            write_synthetic_png(staging / "smear.png", smear.rgb, record, size)
    tables = (HIDDEN, BY_CELL, BY_CLASS) if exercise else (TRUTH,)
    files = {Path(name).stem: target / name for name in (IMAGE, labels, *tables, PROVENANCE)}
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
