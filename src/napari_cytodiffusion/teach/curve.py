"""How a training goes: its figures against its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyqtgraph as pg
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cytodiffusion.shared.plot_board import PlotBoard
from napari_cytodiffusion.shared.plots import legible

#: Columns of the log of a training that are drawn, what they are called and their colours.
_LINES = (
    ("accuracy", "cells it learns from", "#e69f00"),
    ("validation", "cells set aside", "#0072b2"),
)
_HEIGHT = 190


class TrainingCurve(PlotBoard):
    """Accuracy in the course of a training."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.plot.setMinimumHeight(_HEIGHT)
        self.setFixedHeight(_HEIGHT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)

    def set_rows(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Show the rows of a log, each with a ``step``."""
        self._clear()
        self._legend((-8, -28))
        for name, words, color in _LINES:
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            if points:
                shade: QColor = legible(color, self)
                self.plot.plot(
                    *zip(*points, strict=True),
                    pen=pg.mkPen(shade, width=2),
                    symbol="o" if len(points) < 30 else None,
                    symbolSize=5,
                    symbolBrush=shade,
                    symbolPen=None,
                    name=words,
                )
        self.plot.setYRange(0, 1)
        self._labels("step", "accuracy")
