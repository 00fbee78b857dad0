"""Results on disk: tables, pictures and the record of how they came about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion import __version__
from cytodiffusion.drawing.overlay import HasColour, magnification, overlay_image, uncertainty_image
from cytodiffusion.files.atomic import staged_folder
from cytodiffusion.files.writers import (
    file_record,
    final_names,
    write_cells_csv,
    write_png,
    write_run_json,
)
from cytodiffusion.image.geojson import write_geojson
from cytodiffusion.image.labels import write_labels_tif

if TYPE_CHECKING:
    import pandas as pd

#: Columns of ``cells.csv`` before the probabilities ``p_<class name>``.
CELL_COLUMNS = (
    "label",
    "y",
    "x",
    "area_um2",
    "predicted",
    "confidence",
    "entropy",
    "margin",
    "anomaly_score",
    "anomaly",
    "prediction_set",
    "trials",
    "touches_border",
    "review",
    "contradiction",
    "by_prior",
    "no_class_fits",
)


#: Outlines, classes and measurements of the cells, for QuPath.
OUTLINES = "cells.geojson"


def class_counts(frame: pd.DataFrame, classes: Sequence[HasColour]) -> dict[str, int]:
    """Return how many cells are of each class, in the order of the classes.

    A class that a person gave counts, not what was predicted.
    """
    found = final_names(frame).value_counts()
    return {c.name: int(found.get(c.name, 0)) for c in classes}


def export_results(
    folder: str | Path,
    rgb: NDArray[np.uint8],
    labels: NDArray[np.integer],
    frame: pd.DataFrame,
    classes: Sequence[HasColour],
    *,
    pixel_size_um: float,
    record: Mapping[str, Any],
) -> dict[str, Path]:
    """Write ``labels.tif``, ``cells.csv``, ``cells.geojson``, two pictures and ``run.json``.

    All of them appear together; when anything fails, none does and what was in the folder
    stays.
    """
    target = Path(folder)
    overlay = overlay_image(rgb, labels, frame, classes, pixel_size_um=pixel_size_um)
    notes = {
        "Software": f"cytodiffusion {__version__}",
        "Magnification": f"{magnification(rgb.shape):g}",
        "Pixel size of the image (um)": f"{pixel_size_um:.6g}",
    }
    with staged_folder(target) as staging:
        write_labels_tif(staging / "labels.tif", labels, pixel_size_um)
        write_cells_csv(staging / "cells.csv", frame)
        name = str(dict(record.get("image") or {}).get("name", ""))
        write_geojson(staging / OUTLINES, labels, frame, classes, name=name)
        write_png(staging / "overlay.png", overlay, notes)
        del overlay
        uncertainty = uncertainty_image(
            rgb, labels, frame, n_classes=len(classes), pixel_size_um=pixel_size_um
        )
        write_png(staging / "uncertainty.png", uncertainty, notes)
        outputs = [file_record(path) | {"path": path.name} for path in sorted(staging.iterdir())]
        results = {
            "cells": len(frame),
            "counts": class_counts(frame, classes),
            "anomalies": int(frame["anomaly"].sum()),
            "review": int(frame["review"].sum()) if "review" in frame else 0,
            "by_prior": int(frame["by_prior"].sum()) if "by_prior" in frame else 0,
            "contradictions": int(frame["contradiction"].sum()) if "contradiction" in frame else 0,
            "pixel_size_um": pixel_size_um,
        }
        write_run_json(staging / "run.json", {**record, "results": results, "outputs": outputs})
        names = [path.name for path in staging.iterdir()]
    return files_by_key(target, names)


def files_by_key(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the paths of results by what each is: its stem, or ``outlines``."""
    return {
        "outlines" if name == OUTLINES else Path(name).stem: folder / name for name in sorted(names)
    }
