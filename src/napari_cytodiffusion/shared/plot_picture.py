"""A plot that the engine drew as SVG, in the colours of the window."""

from __future__ import annotations

from typing import Protocol

from qtpy.QtCore import QByteArray, QEvent, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QMouseEvent, QPainter, QPaintEvent, QPixmap
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_cytodiffusion.shared.plots import text_color


class Drawn(Protocol):
    """A plot in two sets of colours."""

    @property
    def caption(self) -> str:
        """What it shows."""

    @property
    def on_white(self) -> bool:
        """Whether it needs a white background."""

    def svg(self, dark: bool) -> str:
        """SVG in the colours of a dark or a light window."""


class PlotPicture(QWidget):
    """A plot in the colours of the window."""

    clicked = Signal()

    def __init__(self, plot: Drawn, parent: QWidget) -> None:
        super().__init__(parent)
        self.plot = plot
        self._renderer = QSvgRenderer(self)
        self._pixmap: QPixmap | None = None
        self._dark: bool | None = None
        self._read()
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMinimumWidth(240)
        self.setAccessibleName(plot.caption)

    def _read(self) -> None:
        """Take the colours of the theme."""
        dark = text_color(self).lightness() > 127
        if dark != self._dark:
            self._dark = dark
            self._renderer.load(QByteArray(self.plot.svg(dark).encode()))
            self._pixmap = None

    @property
    def is_dark(self) -> bool:
        """Whether it has the colours of a dark window."""
        return bool(self._dark)

    def sizeHint(self) -> QSize:
        """Size of the plot as it was drawn."""
        return self._renderer.defaultSize()

    def hasHeightForWidth(self) -> bool:
        """Keep the plot's proportions."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Height at a width."""
        size = self._renderer.defaultSize()
        return round(width * size.height() / max(1, size.width()))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the plot, anew only at another size or in other colours."""
        self._read()
        ratio = self.devicePixelRatioF()
        size = self.size() * ratio
        if self._pixmap is None or self._pixmap.size() != size:
            self._pixmap = QPixmap(size)
            on_white = Qt.GlobalColor.white if self.plot.on_white else Qt.GlobalColor.transparent
            self._pixmap.fill(on_white)
            self._pixmap.setDevicePixelRatio(ratio)
            with QPainter(self._pixmap) as inner:
                inner.setRenderHint(QPainter.RenderHint.Antialiasing)
                self._renderer.render(inner, self._target())
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._pixmap)
        painter.end()

    def _target(self) -> QRectF:
        """Return the middle of the widget, in the plot's proportions."""
        width = min(self.width(), self.height() * self.width() / self.heightForWidth(self.width()))
        height = self.heightForWidth(round(width))
        return QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Tell of a click."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit()
