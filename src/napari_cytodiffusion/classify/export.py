"""Classified cells as files: a table, one for Excel, and outlines for QuPath."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QLocale, Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.progress import Progress
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import note, tell
from napari_cytodiffusion.shared.save_dialog import ask_where
from napari_cytodiffusion.workers import Job

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


class ExportBar(QWidget):
    """A button with a menu of formats, and what becomes of the export.

    Signals
    -------
    ended ()
        A file is written, or is not going to be.
    """

    ended = Signal()

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._job: Job | None = None
        self.button = QPushButton("Export cells ...", self)
        self.button.setToolTip("Write the classified cells of this image to a file")
        menu = QMenu(self.button)
        self.actions_by_kind = {kind: menu.addAction(text) for kind, text, _ in KINDS}
        for kind, _, files in KINDS:
            self.actions_by_kind[kind].triggered.connect(partial(self._on_action, kind, files))
        self.button.setMenu(menu)
        self.stop = QPushButton("Cancel", self)
        self.stop.clicked.connect(self._on_stop)
        self.stop.hide()
        self.line = note("", self)
        self.line.hide()
        row = QHBoxLayout()
        row.addWidget(self.button, 1)
        row.addWidget(self.stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.line)
        self.refresh()

    def refresh(self) -> None:
        """Offer the export where there is something to export."""
        views = self._session.current
        some = views is not None and len(views.results) > 0
        self.button.setEnabled(some and self._job is None)

    def _on_action(self, kind: str, files: str, _: bool = False) -> None:
        views = self._session.current
        if views is None or self._job is not None:
            return
        path = ask_where(self, "Export cells", f"{views.image.name} cells", files)
        if path is not None:
            self.export(kind, path, views)

    def export(self, kind: str, path: Path, views: CellViews) -> None:
        """Write the cells in a thread."""
        self._job = Job(export_body(self._session, kind, path, views), self)
        self._job.progressed.connect(self._on_progress)
        self._job.yielded.connect(self._on_written)
        self._job.failed.connect(tell)
        self._job.ended.connect(self._on_ended)
        self._say(f"Writing {path.name} ...")
        self.stop.show()
        self._job.start()
        self.refresh()

    def _say(self, text: str) -> None:
        self.line.setText(text)
        self.line.setVisible(bool(text))

    def _on_progress(self, share: float, text: str) -> None:
        self._say(f"{text[:1].upper()}{text[1:]} ({100 * share:.0f} %)")

    def _on_written(self, written: tuple[Path, int]) -> None:
        path, number = written
        self._say(f"{number:,} cells are in {path.name}.")
        self.line.setToolTip(str(path))

    def _on_ended(self, outcome: str) -> None:
        self._job = None
        self.stop.hide()
        if outcome != "done":
            self._say("Nothing was written.")
        self.refresh()
        self.ended.emit()

    def _on_stop(self) -> None:
        if self._job is not None:
            self._job.cancel()
