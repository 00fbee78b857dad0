"""A report read back from its folder: plain numbers and pictures; imports nothing heavy."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from cytodiffusion.drawing.style import fixed, is_adaptive
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.report_content import (
    KeyFigure,
    comparisons,
    key_figures,
    summary,
    title_of,
)

#: Tiles in a row of the sheet of pictures.
COLUMNS = 8
#: Keys without which a file is no report.
_NEEDED = ("format", "n", "accuracy", "balanced_accuracy", "per_class", "anomaly", "shift")
#: Versions that can be read.
_FORMATS = (1,)


@dataclass(frozen=True)
class StoredPlot:
    """A plot of the page."""

    caption: str
    text: str  #: SVG

    def svg(self, dark: bool) -> str:
        """SVG in the colours of a dark or a light window."""
        return fixed(self.text, dark)

    @property
    def on_white(self) -> bool:
        """Whether it needs a white background, as those of earlier versions do."""
        return not is_adaptive(self.text)


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
    plots : tuple of StoredPlot
        Those of the page, in its order.
    """

    folder: Path
    metrics: dict[str, Any]
    page: Path | None
    sheet: NDArray[np.uint8] | None
    plots: tuple[StoredPlot, ...] = ()

    def picture(self, tile: int) -> NDArray[np.uint8] | None:
        """Return a picture of the montage; None where the sheet is gone."""
        if self.sheet is None:
            return None
        found = tile_of(self.sheet, int(self.metrics["montage"]["tile"]), tile)
        return found if found.size else None

    def sentence(self) -> str:
        """Key figures in a line or two."""
        return summary(self.metrics)

    @property
    def title(self) -> str:
        """What was evaluated, in a line."""
        return title_of(self.metrics)

    @property
    def key_figures(self) -> list[KeyFigure]:
        """The figures that the page begins with."""
        return key_figures(self.metrics)

    @property
    def comparisons(self) -> list[str]:
        """A line for each other laboratory and each baseline."""
        return comparisons(self.metrics)


def tile_of(sheet: NDArray[np.uint8], tile: int, number: int) -> NDArray[np.uint8]:
    """Cut picture ``number``, ``tile`` pixels wide, out of a sheet; a view of it."""
    row, column = divmod(number, COLUMNS)
    return sheet[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]


def read_report(path: Path) -> StoredReport:
    """Read a report."""
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
    page, sheet = folder / "report.html", _read_sheet(folder / "montage.png")
    there = page.is_file()
    return StoredReport(
        folder, metrics, page if there else None, sheet, _read_plots(page) if there else ()
    )


class _Plots(HTMLParser):
    """Collects the plots of a page."""

    _PREFIX = "data:image/svg+xml;base64,"

    def __init__(self) -> None:
        super().__init__()
        self.found: list[StoredPlot] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        source = values.get("src") or ""
        if tag == "img" and source.startswith(self._PREFIX):
            text = base64.b64decode(source.removeprefix(self._PREFIX)).decode("utf-8")
            self.found.append(StoredPlot(values.get("alt") or "", text))


def _read_plots(page: Path) -> tuple[StoredPlot, ...]:
    """Return the plots of a page; none where it cannot be read, as the figures remain."""
    parser = _Plots()
    try:
        parser.feed(page.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(parser.found)


def _read_sheet(path: Path) -> NDArray[np.uint8] | None:
    try:
        with Picture.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, Picture.DecompressionBombError):
        return None
