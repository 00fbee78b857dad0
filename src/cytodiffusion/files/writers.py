"""cytodiffusion.files.writers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file, sha256

if TYPE_CHECKING:
    import pandas as pd


def final_names(frame: pd.DataFrame) -> pd.Series:
    """Return the classes of a table of cells to count: what a person said, else the prediction.

    Where people contradict each other, or nobody said anything, it is the prediction.
    """
    predicted = frame["predicted"].astype(str)
    if "human" not in frame:
        return predicted
    known = {name[2:] for name in map(str, frame.columns) if name.startswith("p_")}
    said = frame["human"].astype(str)
    return said.where(said.isin(known), predicted)


def write_cells_csv(path: str | Path, frame: pd.DataFrame) -> Path:
    """Write the table of cells as UTF-8 CSV with every digit, so that reading gives it back."""
    target = Path(path)
    if target.suffix.lower() != ".csv":
        raise InputError(f"The table is written as CSV: {target.name} should end in .csv.")
    with atomic_file(target) as partial:
        frame.to_csv(partial, index=False, encoding="utf-8", lineterminator="\n")
    return target


def write_excel_csv(path: str | Path, frame: pd.DataFrame, *, decimal_comma: bool) -> Path:
    """Write the table of cells as CSV that Excel opens with a double click.

    It tells UTF-8 by the mark at its beginning, and where numbers have a decimal comma it expects
    semicolons between the columns.
    """
    target = Path(path)
    if target.suffix.lower() != ".csv":
        raise InputError(f"The table is written as CSV: {target.name} should end in .csv.")
    between, decimal = (";", ",") if decimal_comma else (",", ".")
    with atomic_file(target) as partial:
        frame.to_csv(
            partial,
            sep=between,
            decimal=decimal,
            index=False,
            encoding="utf-8-sig",
            lineterminator="\r\n",
        )
    return target


def write_png(
    path: str | Path, rgb: NDArray[np.uint8], notes: Mapping[str, str] | None = None
) -> Path:
    """Write (Y, X, 3) uint8 as PNG with `notes` as text entries."""
    target = Path(path)
    info = PngInfo()
    for key, text in (notes or {}).items():
        info.add_text(key, text)
    with atomic_file(target) as partial:
        # Level 4 takes a third of the time of the usual 6 for a twentieth more bytes.
        Picture.fromarray(rgb).save(partial, format="PNG", compress_level=4, pnginfo=info)
    return target


def write_run_json(path: str | Path, record: Mapping[str, Any]) -> Path:
    """Write a record as indented JSON; numpy numbers, arrays and paths are converted."""
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
