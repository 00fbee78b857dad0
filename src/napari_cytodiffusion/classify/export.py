"""Classified cells as files: a table, one for Excel, and outlines for QuPath."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qtpy.QtCore import QLocale
from qtpy.QtWidgets import QWidget

from cytodiffusion.progress import Progress
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.export_bar import ExportBar
from napari_cytodiffusion.shared.save_dialog import ask_where

#: What the cells can be exported as: key of the engine, text of the menu, kind of file.
KINDS = (
    ("csv", "Table (CSV) ...", "CSV (*.csv)"),
    ("excel", "Table for Excel (CSV) ...", "CSV (*.csv)"),
    ("geojson", "Outlines for QuPath (GeoJSON) ...", "GeoJSON (*.geojson)"),
)


def decimal_mark() -> str:
    """Return what stands between the whole and its parts on this computer, as Excel has it."""
    return str(QLocale.system().decimalPoint())


def export_body(
    session: Session, kind: str, path: Path, views: CellViews
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that writes cells and yields the path and their number."""
    results, decimal_comma = views.results, decimal_mark() == ","
    # taken now: a run that goes on adds to the list
    batches, name, engine = list(results.batches), views.image.name, session.engine

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "making the table")
        number = engine.export_cells(
            kind,
            path,
            batches,
            full_size(views.labels),
            list(zip(results.class_names, results.colors, strict=True)),
            name=name,
            decimal_comma=decimal_comma,
            progress=report,
        )
        yield path, number

    return body


class CellExport(ExportBar):
    """Exports the classified cells of the current image."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        tip = "Write the classified cells of this image to a file"
        super().__init__("Export cells ...", tip, KINDS, parent)
        self._session = session
        self.refresh()

    def has_something(self) -> bool:
        """Whether cells are classified."""
        views = self._session.current
        return views is not None and len(views.results) > 0

    def choose(self, kind: str, files: str) -> None:
        """Ask where to write the cells, and begin."""
        views = self._session.current
        if views is None:
            return
        path = ask_where(self, "Export cells", f"{views.image.name} cells", files)
        if path is not None:
            self.export(kind, path, views)

    def export(self, kind: str, path: Path, views: CellViews) -> None:
        """Write the cells in a thread."""
        self.begin(export_body(self._session, kind, path, views), path.name)

    def written(self, what: tuple[Path, int]) -> tuple[str, str]:
        """Say how many cells are in which file."""
        path, number = what
        return f"{number:,} cells are in {path.name}.", str(path)
