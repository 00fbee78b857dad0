"""A report read back from its folder: plain numbers and pictures; imports nothing heavy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from cytodiffusion.errors import InputError

#: Tiles in a row of the sheet of pictures.
COLUMNS = 8
#: Keys without which a file is no report.
_NEEDED = ("format", "n", "accuracy", "balanced_accuracy", "per_class", "anomaly", "shift")
#: Versions that can be read.
_FORMATS = (1,)


@dataclass(frozen=True, eq=False)
class StoredReport:
    """A report on disk.

    Attributes
    ----------
    folder : Path
    metrics : dict
        Content of ``metrics.json``.
    page : Path or None
        The HTML report, where it is still beside it.
    sheet : (Y, X, 3) uint8 array or None
        The pictures of the montage.
    """

    folder: Path
    metrics: dict[str, Any]
    page: Path | None
    sheet: NDArray[np.uint8] | None

    def picture(self, tile: int) -> NDArray[np.uint8] | None:
        """Return a picture of the montage; None where the sheet is gone."""
        if self.sheet is None:
            return None
        found = tile_of(self.sheet, int(self.metrics["montage"]["tile"]), tile)
        return found if found.size else None

    def sentence(self) -> str:
        """Key figures in a line or two."""
        m = self.metrics
        low, high = m["intervals"]["balanced_accuracy"]
        ends = f" ({low:.3f} to {high:.3f})" if low < high else ""
        text = (
            f"{m['n']:,} cells: balanced accuracy {m['balanced_accuracy']:.3f}{ends}, "
            f"accuracy {m['accuracy']:.3f}, ECE {m['ece']:.3f}, "
            f"coverage {m['coverage']:.3f} with sets of {m['set_size']:.2f}, "
            f"{m['trials_mean']:.2f} trials a cell"
        )
        if m["anomaly"]["auc"] is not None:
            text += f", anomaly AUC {m['anomaly']['auc']:.3f}"
        for name, found in m["shift"].items():
            text += (
                f"\n{name}, {found['n']:,} cells: balanced accuracy "
                f"{found['balanced_accuracy']:.3f}, "
                f"{found['shared_balanced_accuracy']:.3f} with its classes only"
            )
        for name, found in m["baselines"].items():
            text += f"\n{name} beside it: balanced accuracy {found['balanced_accuracy']:.3f}"
        return text


def tile_of(sheet: NDArray[np.uint8], tile: int, number: int) -> NDArray[np.uint8]:
    """Cut picture ``number``, ``tile`` pixels wide, out of a sheet; a view of it."""
    row, column = divmod(number, COLUMNS)
    return sheet[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]


def read_report(path: Path) -> StoredReport:
    """Read a report.

    Parameters
    ----------
    path : Path
        Its folder, or its ``metrics.json``, or its ``report.html``.

    Raises
    ------
    InputError
        If there is no report, or one that this version cannot read.
    """
    folder = path if path.is_dir() else path.parent
    file = path if path.suffix == ".json" else folder / "metrics.json"
    if not file.is_file():
        raise InputError(f"There is no report in {folder}: it has no {file.name}.")
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read: it is not JSON.") from error
    if not isinstance(metrics, dict) or any(key not in metrics for key in _NEEDED):
        raise InputError(f"{file} is not the metrics.json of a report.")
    if metrics["format"] not in _FORMATS:
        raise InputError(
            f"{file} was written by another version of cytodiffusion "
            f"(format {metrics['format']}); evaluate again."
        )
    page, sheet = folder / "report.html", folder / "montage.png"
    return StoredReport(folder, metrics, page if page.is_file() else None, _read_sheet(sheet))


def _read_sheet(path: Path) -> NDArray[np.uint8] | None:
    try:
        with Picture.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, Picture.DecompressionBombError):
        return None
