"""A plot that draws one thing after another: what all plots of a report are made with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QResizeEvent
from qtpy.QtWidgets import QWidget

from napari_cytodiffusion.shared.plots import text_color


class PlotBoard(QWidget):
    """A plot in the colours of the window, and the strokes that plots are drawn with."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.plot = pg.PlotWidget(self, background=None)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMinimumHeight(300)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Keep the plot from growing much taller than it is wide."""
        super().resizeEvent(event)
        self.plot.setMaximumHeight(max(320, round(1.15 * self.width())))

    def _clear(self) -> None:
        """Forget everything that an earlier plot has set."""
        item = self.plot.getPlotItem()
        self.plot.clear()
        if item.legend is not None:
            item.legend.scene().removeItem(item.legend)
            item.legend = None
        view = self.plot.getViewBox()
        view.invertY(False)
        view.setMouseEnabled(False, False)
        for side in ("left", "bottom"):
            axis = self.plot.getAxis(side)
            axis.setTicks(None)
            axis.setStyle(tickTextOffset=4)
            axis.setTextPen(text_color(self))
            axis.enableAutoSIPrefix(False)
            axis.setLabel("")
        self.plot.getAxis("left").setWidth(None)
        # pyqtgraph's own height cuts the descenders of the label
        self.plot.getAxis("bottom").setHeight(2 * self.fontMetrics().height() + 16)

    def _legend(self, corner: tuple[int, int]) -> None:
        self.plot.addLegend(offset=corner, labelTextColor=text_color(self))

    def _dashed(self, low: float = 0.0) -> None:
        grey = QColor(text_color(self))
        grey.setAlpha(130)
        self.plot.plot([low, 1], [low, 1], pen=pg.mkPen(grey, style=Qt.PenStyle.DashLine))

    def _dots(self, x: Any, y: Any, colour: QColor, name: str | None = None) -> None:
        self.plot.plot(
            x,
            y,
            pen=pg.mkPen(colour, width=2),
            symbol="o",
            symbolSize=7,
            symbolBrush=colour,
            symbolPen=None,
            name=name,
        )

    def _write(self, text: str, x: float, y: float, colour: Any, anchor: Any) -> None:
        item = pg.TextItem(text, color=colour, anchor=anchor)
        item.setPos(x, y)
        self.plot.addItem(item)

    def _labels(self, bottom: str, left: str) -> None:
        self.plot.setLabel("bottom", bottom)
        self.plot.setLabel("left", left)

    def _band(self, x: Any, low: Any, high: Any, colour: QColor) -> None:
        shade = QColor(colour)
        shade.setAlpha(50)
        ends = [pg.PlotCurveItem(np.asarray(x), np.asarray(y)) for y in (low, high)]
        self.plot.addItem(pg.FillBetweenItem(*ends, brush=shade))

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the panel that scrolls."""
        event.ignore()
