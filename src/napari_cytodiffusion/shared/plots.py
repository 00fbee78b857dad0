"""Small plots of one cell: posterior as bars, denoising error by noise level, a gauge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_cytodiffusion.layers.results import percent


class PosteriorPlot(pg.PlotWidget):
    """Posterior of one cell as horizontal bars in the colours of the classes."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, background=None)
        self.setMouseEnabled(False, False)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setXRange(0, 1.22, padding=0)
        self.getAxis("bottom").setTicks([[(0, "0"), (0.5, "0.5"), (1, "1")]])
        self.getAxis("left").setPen(None)
        self.getViewBox().invertY(True)
        self.classes: tuple[tuple[str, str], ...] = ()
        self._bars: pg.BarGraphItem | None = None
        self._values: list[pg.TextItem] = []

    def sizeHint(self) -> QSize:
        """As narrow as the dock wants it."""
        return QSize(200, 120)

    def set_classes(self, names: Sequence[str], colors: Sequence[str]) -> None:
        """Make room for these classes."""
        self.classes = tuple(zip(names, colors, strict=True))
        self.clear()
        rows = np.arange(len(names))
        self._bars = pg.BarGraphItem(
            x0=0, y=rows, height=0.72, width=np.zeros(len(names)), brushes=list(colors), pen=None
        )
        self.addItem(self._bars)
        self.getAxis("left").setTicks([list(zip(rows.tolist(), names, strict=True))])
        metrics = self.fontMetrics()
        widest = max((metrics.horizontalAdvance(name) for name in names), default=40)
        self.getAxis("left").setWidth(widest + 10)
        self.setYRange(-0.6, len(names) - 0.4, padding=0)
        self.setFixedHeight(max(3, len(names)) * (metrics.height() + 1) + 30)
        self._values = []
        for row in rows:
            text = pg.TextItem("", anchor=(0, 0.5))
            text.setPos(0, row)
            self.addItem(text)
            self._values.append(text)

    def set_posterior(self, posterior: np.ndarray, in_set: np.ndarray, color: QColor) -> None:
        """Show a posterior (K,); classes of the prediction set carry a mark after the number."""
        if self._bars is None:
            return
        self._bars.setOpts(width=np.asarray(posterior))
        for text, share, member in zip(self._values, posterior, in_set, strict=True):
            shown = percent(float(share)) if share >= 0.005 else ""
            text.setText(f"{shown} \u2022" if member else shown, color=color)
            text.setPos(float(share), text.pos().y())

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the panel that scrolls."""
        event.ignore()


class ErrorPlot(pg.PlotWidget):
    """Denoising error of every class at every noise level that was tried."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, background=None)
        self.setMouseEnabled(False, False)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setLabel("bottom", "noise level (of 1,000)")
        self.setLabel("left", "above best")
        for side in ("left", "bottom"):
            self.getAxis(side).enableAutoSIPrefix(False)
        self.setFixedHeight(135)

    def sizeHint(self) -> QSize:
        """As narrow as the dock wants it."""
        return QSize(200, 135)

    def set_errors(
        self, levels: np.ndarray, errors: np.ndarray, colors: Sequence[str], predicted: int
    ) -> None:
        """Show errors (L, K), each relative to the smallest of its level."""
        self.clear()
        tried = ~np.isnan(errors).all(axis=1)
        if not tried.any():
            return
        order = np.argsort(levels[tried])
        x, rows = levels[tried][order], errors[tried][order]
        rows = rows - np.nanmin(rows, axis=1, keepdims=True)
        drawn = [legible(color, self) for color in colors]
        # the predicted class is drawn last, on top of the others
        for k in [*(k for k in range(rows.shape[1]) if k != predicted), predicted]:
            width = 3 if k == predicted else 1.2
            symbol = "o" if k == predicted or len(x) == 1 else None
            self.plot(
                x,
                rows[:, k],
                pen=pg.mkPen(drawn[k], width=width),
                symbol=symbol,
                symbolSize=5,
                symbolBrush=drawn[k],
                symbolPen=None,
                connect="finite",
            )

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the panel that scrolls."""
        event.ignore()


class Gauge(QWidget):
    """A value on a scale, with a threshold; beyond it the bar turns to the warning colour."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._value, self._top = 0.0, 1.0
        self._threshold: float | None = None

    def set_value(self, value: float, threshold: float | None, top: float) -> None:
        """Show ``value`` on a scale from 0 to ``top``."""
        self._value, self._threshold, self._top = value, threshold, max(top, 1e-9)
        self.update()

    def sizeHint(self) -> QSize:
        """Size of a thin bar."""
        return QSize(120, 12)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the bar and the mark of the threshold."""
        painter = QPainter(self)
        width, height = self.width(), self.height()
        text = self.palette().color(self.foregroundRole())
        track = QColor(text)
        track.setAlpha(50)
        painter.fillRect(0, 2, width, height - 4, track)
        beyond = self._threshold is not None and self._value > self._threshold
        length = round(width * min(1.0, max(0.0, self._value / self._top)))
        color = QColor("#ff9f1c") if beyond else QColor("#5aa9e6")
        painter.fillRect(0, 2, length, height - 4, color)
        if self._threshold is not None:
            mark = round(width * min(1.0, max(0.0, self._threshold / self._top)))
            painter.fillRect(min(mark, width - 2), 0, 2, height, text)
        painter.end()


def text_color(widget: QWidget) -> QColor:
    """Colour of text in the theme of the window."""
    return widget.palette().color(widget.foregroundRole())


def legible(color: str, widget: QWidget) -> QColor:
    """Return the colour, lighter on a dark or darker on a bright theme until lines can be seen."""
    dark = text_color(widget).lightness() > 127
    shade = QColor(color)
    for _ in range(8):
        if (shade.lightness() > 110) if dark else (shade.lightness() < 150):
            break
        lightness = shade.lightness() + (15 if dark else -15)
        shade.setHsl(shade.hslHue(), shade.hslSaturation(), min(255, max(0, lightness)))
    return shade
