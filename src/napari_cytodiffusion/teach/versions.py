"""The versions of a taught model: which is in use, how right each is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.shared.common import note
from napari_cytodiffusion.shared.plot_picture import PlotPicture
from napari_cytodiffusion.shared.table import FigureTable
from napari_cytodiffusion.teach import texts
from napari_cytodiffusion.teach.curve import LABELS, AccuracyCurve

if TYPE_CHECKING:
    from cytodiffusion.evaluation.stored import StoredPlot
    from cytodiffusion.teaching import Version


class VersionList(QWidget):
    """Versions, the latest first; below them what is known of the one that is chosen.

    Signals
    -------
    used (object)
        The version to go on with; None is the model before all of them.
    discarded (object)
        The version to delete.
    chosen (object)
        The version that is looked at; None is the model before all of them.
    """

    used = Signal(object)
    discarded = Signal(object)
    chosen = Signal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._versions: tuple[Version, ...] = ()
        self._shown: int | None = -1
        self.plots: list[PlotPicture] = []
        self.table = FigureTable(False, self)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setToolTip("Accuracy on the labels that were held back")
        self.line = note("", self)
        self.use_button = QPushButton("", self)
        self.discard_button = QPushButton("Discard", self)
        self.discard_button.setToolTip("Delete this version of the model")
        buttons = QHBoxLayout()
        buttons.addWidget(self.use_button, 1)
        buttons.addWidget(self.discard_button)
        self.curve = AccuracyCurve(LABELS, self)
        self._pictures = QVBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addWidget(QLabel("Versions of the model", self))
        layout.addWidget(self.table)
        layout.addWidget(self.line)
        layout.addLayout(buttons)
        layout.addWidget(self.curve)
        layout.addLayout(self._pictures)
        self.table.itemSelectionChanged.connect(self._on_row)
        self.use_button.clicked.connect(lambda: self.used.emit(self.current))
        self.discard_button.clicked.connect(lambda: self.discarded.emit(self.current))

    @property
    def current(self) -> Version | None:
        """The version that is looked at; None is the model before all of them."""
        row = self.table.currentRow()
        found = list(reversed(self._versions))
        return found[row] if 0 <= row < len(found) else None

    @property
    def used_version(self) -> Version | None:
        """The version that the study goes on with; None is the model before all of them."""
        return next((version for version in self._versions if version.kept), None)

    def set_versions(self, versions: Sequence[Version], wanted: int | None = None) -> None:
        """Show versions; the one of the number ``wanted`` is chosen, else that of before."""
        before = self.current or self.used_version
        self._versions = tuple(versions)
        self.setVisible(bool(versions))
        number = wanted if wanted is not None else _number(before or self.used_version)
        blocked = self.table.blockSignals(True)
        self.table.set_table(texts.versions_table(self._versions))
        fit_rows(self.table)
        numbers = [version.number for version in reversed(self._versions)]
        row = numbers.index(number) if number in numbers else len(numbers)
        self.table.setCurrentCell(row, 0)
        self.table.blockSignals(blocked)
        if versions:
            self._on_row()

    def _on_row(self) -> None:
        version, used = self.current, self.used_version
        in_use = _number(version) == _number(used)
        later = (_number(version) or 0) > (_number(used) or 0)
        self.line.setText(texts.about(version))
        name = texts.version_name(version)
        self.use_button.setText(
            "In use" if in_use else f"Keep {name.lower()}" if later else f"Go back to {name}"
        )
        self.use_button.setToolTip("" if in_use else "Let the study go on with this model")
        self.use_button.setEnabled(not in_use)
        self.discard_button.setEnabled(version is not None)
        if _number(version) != self._shown:
            self._shown = _number(version)
            self.curve.set_rows([] if version is None else version.record.get("curve", ()))
            self.chosen.emit(version)

    def set_plots(self, version: Version | None, plots: Sequence[StoredPlot]) -> None:
        """Show the plots of a version, unless another one is looked at by now."""
        if _number(self.current) != _number(version):
            return
        while (old := self._pictures.takeAt(0)) is not None:
            old.widget().hide()
            old.widget().deleteLater()
        self.plots = [PlotPicture(plot, self) for plot in plots]
        for picture in self.plots:
            self._pictures.addWidget(note(picture.plot.caption, self))
            self._pictures.addWidget(picture)


def fit_rows(table: FigureTable) -> None:
    """Make a table as tall as its rows: the area around it scrolls."""
    rows = table.rowCount() * table.verticalHeader().defaultSectionSize()
    table.setFixedHeight(rows + table.horizontalHeader().sizeHint().height() + 6)


def _number(version: Version | None) -> int | None:
    return None if version is None else version.number
