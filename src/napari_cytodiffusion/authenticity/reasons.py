"""The page of a result that says what gives synthetic cells away: the judge, and cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from cytodiffusion.authenticity.standardise import enlarged
from napari_cytodiffusion.authenticity import jobs as words
from napari_cytodiffusion.shared.common import plain_note
from napari_cytodiffusion.shared.table import FigureTable
from napari_cytodiffusion.shared.tiles import pixmap_of

#: Pixels of a side of the picture of the chosen cell.
_SIDE = 128


class ReasonsPage(QWidget):
    """The judge beside the participants, and what it saw in each cell of the opened test."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.overall = plain_note("", self)
        self.cells = FigureTable(True, self)
        self.cells.setToolTip("Choose a cell to see it and what the judge saw in it")
        self.picture = QLabel(self)
        self.picture.setFixedSize(_SIDE, _SIDE)
        self.reason = plain_note("", self)
        self.reason.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        chosen = QHBoxLayout()
        chosen.addWidget(self.picture)
        chosen.addWidget(self.reason, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.overall)
        layout.addWidget(self.cells, 1)
        layout.addLayout(chosen)
        self._reasons: dict[int, str] = {}
        self._image: Callable[[int], np.ndarray] | None = None
        self.cells.itemSelectionChanged.connect(self._on_cell)

    def show_result(
        self, result: Any, test: str, image: Callable[[int], np.ndarray] | None
    ) -> None:
        """Say how good the judge is, and show the cells of the opened test."""
        self._image = image
        figures = result.figures
        self.overall.setText(" ".join(judge["sentence"] for judge in figures["judges"]))
        own = result.cells[result.cells["test"] == test]
        self._reasons = dict(zip(own["cell"].astype(int), own["reason"], strict=True))
        self.cells.set_table(words.reasons_table(own), text_columns=3)
        if self.cells.rowCount():
            self.cells.selectRow(0)
        self._on_cell()

    def _on_cell(self) -> None:
        """Show the cell of the chosen row."""
        item = self.cells.item(self.cells.currentRow(), 0)
        cell = None if item is None else int(item.text())
        self.reason.setText("" if cell is None else self._reasons.get(cell, ""))
        if cell is None or self._image is None:
            self.picture.clear()
            return
        ratio = self.devicePixelRatioF()
        picture = enlarged(self._image(cell), round(_SIDE * ratio))
        self.picture.setPixmap(pixmap_of(picture, ratio))
