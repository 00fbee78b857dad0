"""How right a model is in the course of a training, or after more and more labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyqtgraph as pg
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cytodiffusion.shared.plot_board import PlotBoard
from napari_cytodiffusion.shared.plots import legible

_HEIGHT = 190


@dataclass(frozen=True)
class Axes:
    """What is drawn of rows: the column along the bottom, and lines with their words."""

    along: str
    bottom: str
    lines: tuple[tuple[str, str], tuple[str, str]]


#: Rows of the log of a training.
TRAINING = Axes(
    "step", "step", (("accuracy", "cells it learns from"), ("validation", "cells set aside"))
)
#: Rows of the curve of a version: how right it is after some of its labels.
LABELS = Axes(
    "cells",
    "labels it learned from",
    (("accuracy", "held-back cells"), ("balanced_accuracy", "mean of the classes")),
)
_COLORS = ("#e69f00", "#0072b2")


class AccuracyCurve(PlotBoard):
    """Accuracy against steps or labels; hidden where there is no curve."""

    def __init__(self, axes: Axes, parent: QWidget) -> None:
        super().__init__(parent)
        self._axes = axes
        self.plot.setMinimumHeight(_HEIGHT)
        self.setFixedHeight(_HEIGHT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        self.hide()

    def set_rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Show rows, each with what is along the bottom."""
        self.setVisible(len(rows) > 1)
        self._clear()
        self._legend((-8, -28))
        for (name, words), color in zip(self._axes.lines, _COLORS, strict=True):
            points = [(row[self._axes.along], row[name]) for row in rows if name in row]
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
        self._labels(self._axes.bottom, "accuracy")
