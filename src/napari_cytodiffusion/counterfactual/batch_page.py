"""Heatmaps of many cells: which ones, against which class, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QTableWidgetItem, QVBoxLayout, QWidget

from napari_cytodiffusion.counterfactual.form import WindowSettings
from napari_cytodiffusion.counterfactual.jobs import HeatmapResult
from napari_cytodiffusion.counterfactual.targets import NUMBERS, SHAPES
from napari_cytodiffusion.counterfactual.texts import summary_table
from napari_cytodiffusion.layers.results import ANOMALY, REVIEW
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.shared.choosers import Choice
from napari_cytodiffusion.shared.settings_form import SettingsForm
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
        self._views: CellViews | None = None
        self.which = Choice(
            lambda _: self._cells(),
            name="which",
            label="Cells",
            tooltip="Drawn shapes: the cells whose middle lies in a Shapes layer.",
        )
        self.target = Choice(
            lambda _: [("each cell's likeliest other class", None), *self._classes()],
            name="target",
            label="Target",
            tooltip="The class that each cell is compared with.",
        )
        self.form = SettingsForm(
            WindowSettings,
            ("which", "numbers", "target", "most", "versions"),
            widgets={"which": self.which, "target": self.target},
        )
        self.table = FigureTable(True, self)
        self.table.setToolTip(
            "conv.: agreement of two halves of the versions or passes, 1 is best. in cell: share "
            "of the map's energy inside the cell. A click shows the cell."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addWidget(self.form.native)
        layout.addWidget(self.table, 1)
        self.which.changed.connect(self._on_which)
        self.table.itemClicked.connect(self._on_click)
        self.set_views(None)

    def set_views(self, views: CellViews | None) -> None:
        """Offer the cells and classes of one image."""
        self._views = views
        with self.which.changed.blocked():
            for chooser in (self.which, self.target):
                chooser.reset_choices()
                chooser.value = None
        self._on_which()
        self.show_found(())

    def _classes(self) -> list[tuple[str, int]]:
        names = () if self._views is None else self._views.coarse.class_names
        return [(name, index) for index, name in enumerate(names)]

    def _cells(self) -> list[tuple[str, Any]]:
        views = self._views
        choices: list[tuple[str, Any]] = [("all cells", None)]
        if views is not None and views.error_rate is not None:
            choices.append(("for review", REVIEW))
        choices += [("unlike anything in the training", ANOMALY), ("inside drawn shapes", SHAPES)]
        choices.append(("by number", NUMBERS))
        return choices + self._classes()

    def show_found(self, found: Sequence[HeatmapResult]) -> None:
        """List the heatmaps that are made."""
        self.table.set_table(summary_table(found), text_columns=2)

    def _on_which(self, _: Any = None) -> None:
        self.form.show_field("numbers", self.which.value == NUMBERS)

    def _on_click(self, item: QTableWidgetItem) -> None:
        first = self.table.item(item.row(), 0)
        if first is not None:
            self.chosen.emit(int(first.data(int(Qt.ItemDataRole.UserRole))))
