"""Heatmaps of many cells: which ones, against which class, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLineEdit,
    QSpinBox,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.counterfactual.jobs import HeatmapResult
from napari_cytodiffusion.counterfactual.targets import NUMBERS, SHAPES
from napari_cytodiffusion.counterfactual.texts import summary_table
from napari_cytodiffusion.layers.results import ANOMALY, REVIEW
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.shared.common import form
from napari_cytodiffusion.shared.table import FigureTable


class BatchPage(QWidget):
    """Form of a batch, and a row for each heatmap that is made.

    Signals
    -------
    chosen (int)
        A row was clicked; the label of its cell.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.which = QComboBox(self)
        self.which.setToolTip("Drawn shapes: the cells whose middle lies in a Shapes layer.")
        self.numbers = QLineEdit(self)
        self.numbers.setPlaceholderText("such as 3, 7, 12-15")
        self.target = QComboBox(self)
        self.most = QSpinBox(self)
        self.most.setRange(1, 10_000)
        self.most.setValue(20)
        self.most.setSuffix(" cells, uncertain first")
        self.versions = QCheckBox("Counterfactual cells too (slower)", self)
        self.table = FigureTable(True, self)
        self.table.setToolTip(
            "conv.: agreement of two halves of the trials, 1 is best. in cell: share of the map's "
            "energy inside the cell. A click shows the cell."
        )
        fields = form(self)
        fields.addRow("Cells", self.which)
        fields.addRow("", self.numbers)
        fields.addRow("Target", self.target)
        fields.addRow("At most", self.most)
        self._fields = fields
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addLayout(fields)
        layout.addWidget(self.versions)
        layout.addWidget(self.table, 1)
        self.which.currentIndexChanged.connect(self._on_which)
        self.table.itemClicked.connect(self._on_click)
        self.set_views(None)

    def set_views(self, views: CellViews | None) -> None:
        """Offer the cells and classes of one image."""
        with QSignalBlocker(self.which):
            self.which.clear()
            self.target.clear()
            self.target.addItem("each cell's runner-up", None)
            for title, only in self._choices(views):
                self.which.addItem(title, only)
            for index, name in enumerate(views.results.class_names if views else ()):
                self.target.addItem(name, index)
        self._on_which()
        self.show_found(())

    @staticmethod
    def _choices(views: CellViews | None) -> list[tuple[str, Any]]:
        choices: list[tuple[str, Any]] = [("all cells", None)]
        if views is not None and views.error_rate is not None:
            choices.append(("for review", REVIEW))
        choices += [("unlike anything known", ANOMALY), ("inside drawn shapes", SHAPES)]
        choices.append(("by number", NUMBERS))
        names = views.results.class_names if views is not None else ()
        return choices + [(name, index) for index, name in enumerate(names)]

    def show_found(self, found: Sequence[HeatmapResult]) -> None:
        """List the heatmaps that are made."""
        self.table.set_table(summary_table(found), text_columns=2)

    def _on_which(self, _: Any = None) -> None:
        self._fields.setRowVisible(self.numbers, self.which.currentData() == NUMBERS)

    def _on_click(self, item: QTableWidgetItem) -> None:
        first = self.table.item(item.row(), 0)
        if first is not None:
            self.chosen.emit(int(first.data(int(Qt.ItemDataRole.UserRole))))
