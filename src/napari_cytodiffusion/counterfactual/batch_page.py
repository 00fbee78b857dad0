"""Heatmaps of many cells: which ones, against which class, what came of it, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QTableWidgetItem, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_cytodiffusion.counterfactual.form import WindowSettings
from napari_cytodiffusion.counterfactual.jobs import HeatmapResult, MeanResult
from napari_cytodiffusion.counterfactual.look import HeatLook
from napari_cytodiffusion.counterfactual.targets import NUMBERS, SHAPES
from napari_cytodiffusion.counterfactual.texts import mean_text, mean_tiles, summary_table
from napari_cytodiffusion.layers.results import ANOMALY, REVIEW
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.shared.choosers import Choice
from napari_cytodiffusion.shared.common import note
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.shared.table import FigureTable
from napari_cytodiffusion.shared.tiles import PictureTile, TileBoard

#: Sides in pixels of the pictures of a mean map, at least and at most.
_SMALL, _LARGE = 120, 300

_TOO_FEW = "A mean map needs edited heatmaps of three cells of one class towards one target."


class BatchPage(QWidget):
    """Form of a batch, the mean map of each pair of classes, and a row for each heatmap.

    Signals
    -------
    chosen (int)
        A row was clicked; the label of its cell.
    """

    chosen = Signal(int)

    def __init__(self, colors: np.ndarray, parent: QWidget) -> None:
        super().__init__(parent)
        self._views: CellViews | None = None
        self._colors = colors
        self._means: list[MeanResult] = []
        self._look: HeatLook | None = None
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
        self.pair = QComboBox(self)
        self.pair.setToolTip("Classes whose mean map is shown: what the cells are, and the target.")
        self.sentence, self.remark = note("", self), note("", self)
        for text, lines in ((self.sentence, 4), (self.remark, 3)):
            # room for as many lines at any width, which the tabs do not ask the texts for
            policy = text.sizePolicy()
            policy.setHeightForWidth(False)
            text.setSizePolicy(policy)
            text.setMinimumHeight(lines * self.fontMetrics().lineSpacing() + 4)
            text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.board = TileBoard(2, self, least=_SMALL, most=_LARGE)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addWidget(self.form.native)
        for part in (self.pair, self.sentence, self.board, self.remark):
            part.setVisible(False)
            layout.addWidget(part)
        layout.addWidget(self.table, 1)
        self.which.changed.connect(self._on_which)
        self.table.itemClicked.connect(self._on_click)
        self.pair.currentIndexChanged.connect(self._on_pair)
        self.set_views(None)

    def set_views(self, views: CellViews | None) -> None:
        """Offer the cells and classes of one image."""
        self._views = views
        with self.which.changed.blocked():
            for chooser in (self.which, self.target):
                chooser.reset_choices()
                chooser.value = None
        self._on_which()

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

    def show_found(
        self, found: Sequence[HeatmapResult], means: Sequence[MeanResult], look: HeatLook
    ) -> None:
        """List the heatmaps that are made, and show a mean map of them."""
        self.table.set_table(summary_table(found), text_columns=2)
        if list(means) != self._means:
            self._means = list(means)
            with signals_blocked(self.pair):
                self.pair.clear()
                self.pair.addItems([_pair_text(one) for one in means])
        self.show_mean(look)

    def show_mean(self, look: HeatLook) -> None:
        """Show the mean map of the chosen pair of classes; also while a slider is dragged."""
        self._look = look
        shown = self._means[self.pair.currentIndex()] if self._means else None
        self.pair.setVisible(len(self._means) > 1)
        self.sentence.setVisible(shown is not None)
        self.board.setVisible(shown is not None)
        few = shown is None and self.table.rowCount() > 1
        self.remark.setVisible(shown is not None or few)
        if shown is None:
            self.remark.setText(_TOO_FEW)
            return
        pictures = mean_tiles(shown, look.sigmas, self._colors, look.alpha)
        tiles = [PictureTile(pixels, caption) for pixels, caption in pictures]
        self.board.set_tiles(tiles, shown.mean.heatmap.window_um)
        self.sentence.setText(shown.mean.sentence)
        self.remark.setText(mean_text(shown))

    def _on_pair(self, _: int) -> None:
        if self._look is not None:
            self.show_mean(self._look)

    def _on_which(self, _: Any = None) -> None:
        self.form.show_field("numbers", self.which.value == NUMBERS)

    def _on_click(self, item: QTableWidgetItem) -> None:
        first = self.table.item(item.row(), 0)
        if first is not None:
            self.chosen.emit(int(first.data(int(Qt.ItemDataRole.UserRole))))


def _pair_text(found: MeanResult) -> str:
    heatmap = found.mean.heatmap
    return f"{heatmap.predicted_name} \u2192 {heatmap.target_name} ({found.mean.cells} cells)"
