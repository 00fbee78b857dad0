"""Results on disk: tables, pictures and the record of how they came about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from cytodiffusion import __version__
from cytodiffusion.errors import InputError
from cytodiffusion.labels import write_labels_tif
from cytodiffusion.output import atomic_file, sha256, staged_folder
from cytodiffusion.overlay import HasColour, magnification, overlay_image, uncertainty_image

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
)


def write_cells_csv(path: str | Path, frame: pd.DataFrame) -> Path:
    """Write the table of cells as UTF-8 CSV with every digit, so that reading gives it back.

    Raises
    ------
    InputError
        When the file cannot be written or is not named ``.csv``.
    """
    target = Path(path)
    if target.suffix.lower() != ".csv":
        raise InputError(f"The table is written as CSV: {target.name} should end in .csv.")
    with atomic_file(target) as partial:
        frame.to_csv(partial, index=False, encoding="utf-8", lineterminator="\n")
    return target


def write_png(
    path: str | Path, rgb: NDArray[np.uint8], notes: Mapping[str, str] | None = None
) -> Path:
    """Write (Y, X, 3) uint8 as PNG with `notes` as text entries.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    target = Path(path)
    info = PngInfo()
    for key, text in (notes or {}).items():
        info.add_text(key, text)
    with atomic_file(target) as partial:
        # Level 4 takes a third of the time of the usual 6 for a twentieth more bytes.
        Picture.fromarray(rgb).save(partial, format="PNG", compress_level=4, pnginfo=info)
    return target


def write_run_json(path: str | Path, record: Mapping[str, Any]) -> Path:
    """Write a record as indented JSON; numpy numbers, arrays and paths are converted.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    target = Path(path)
    with atomic_file(target) as partial:
        partial.write_text(to_json(record, indent=2) + "\n", encoding="utf-8")
    return target


def to_json(value: Any, indent: int | None = None) -> str:
    """Return strict JSON: numpy converted, numbers that are not finite become null."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def file_record(path: Path) -> dict[str, Any]:
    """Return the path, size and SHA-256 checksum of a file."""
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)}


def class_counts(frame: pd.DataFrame, classes: Sequence[HasColour]) -> dict[str, int]:
    """Return how many cells were given each class, in the order of the classes."""
    found = frame["predicted"].astype(str).value_counts()
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
    """Write ``labels.tif``, ``cells.csv``, ``overlay.png``, ``uncertainty.png`` and ``run.json``.

    All of them appear together; when anything fails, none does and what was in the folder
    stays.

    Parameters
    ----------
    folder
        Created where missing.
    rgb, labels, frame, classes, pixel_size_um
        As in `cytodiffusion.overlay.overlay_image`.
    record
        What goes into ``run.json`` beside counts and the checksums of the other files.

    Returns
    -------
    dict
        Path of every file by its stem, such as ``"cells"``.

    Raises
    ------
    InputError
        When the folder is read-only, the disk full, or labels and image do not fit.
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
            "pixel_size_um": pixel_size_um,
        }
        write_run_json(staging / "run.json", {**record, "results": results, "outputs": outputs})
        names = [path.name for path in staging.iterdir()]
    return {Path(name).stem: target / name for name in sorted(names)}


def _plain(value: Any) -> Any:
    """Return `value` as what JSON knows: text, numbers, lists and dictionaries."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
