"""Pictures side by side, as large as they fit, and the colour bar of a heatmap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QHelpEvent,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

_GAP = 8

#: Length of the scale bar in micrometres.
_BAR_UM = 5

#: Pictures smaller than this have no room for its number.
_ROOM = 110


@dataclass(frozen=True, eq=False)
class PictureTile:
    """A picture and what is said of it.

    Attributes
    ----------
    pixels : (Y, X, 3) uint8 or None
        None where there is nothing to show yet.
    caption : str
        One or more lines under the picture.
    instead : str
        Said in the place of a picture that is not there.
    key : object
        What a click on the picture means; None when it means nothing.
    tip : str
        Said where the pointer rests; the caption if empty, which may be cut.
    """

    pixels: np.ndarray | None
    caption: str
    instead: str = ""
    key: Any = None
    tip: str = ""


class TileBoard(QWidget):
    """Square pictures of equal size in as many columns as make them largest.

    Signals
    -------
    chosen (object)
        A picture was clicked; its key.

    Parameters
    ----------
    lines : int
        Lines of text under each picture; one more where a name does not fit.
    least : int
        Side in pixels below which no picture shrinks: rather the board asks for more height, in an
        area that scrolls.
    most : int
        Side in pixels above which no picture grows; 0 for no limit.
    """

    chosen = Signal(object)

    def __init__(self, lines: int, parent: QWidget, least: int = 0, most: int = 0) -> None:
        super().__init__(parent)
        self._lines, self._least, self._most = lines, least, most
        small = self.font()
        small.setPointSizeF(0.92 * small.pointSizeF())
        self.setFont(small)
        self._tiles: list[PictureTile] = []
        self._images: list[QImage | None] = []
        self._window_um = 0.0
        self._current: Any = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:
        """Room for two rows of pictures."""
        return QSize(320, 360)

    def minimumSizeHint(self) -> QSize:
        """Below this nothing can be made out."""
        return QSize(220, 220)

    def set_tiles(
        self, tiles: Sequence[PictureTile], window_um: float = 0.0, current: Any = None
    ) -> None:
        """Show pictures."""
        self._tiles, self._window_um, self._current = list(tiles), window_um, current
        self._images = [None if t.pixels is None else image_of(t.pixels) for t in tiles]
        self._ask_for_height()
        self.update()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Ask for another height at another width."""
        super().resizeEvent(event)
        self._ask_for_height()

    def _ask_for_height(self) -> None:
        """Ask for the height that pictures of the least size need."""
        least = self.minimumSizeHint().height()
        if self._least and len(self._tiles) > 1:
            columns, side = self._least_grid()
            rows = -(-len(self._tiles) // columns)
            needed = rows * (side + self._caption_height(side)) + (rows - 1) * _GAP
            least = max(least, math.ceil(needed))
        self.setMinimumHeight(least)

    def tiles(self) -> list[PictureTile]:
        """Return the pictures that are shown."""
        return list(self._tiles)

    def place_of(self, index: int) -> QRectF:
        """Where a picture is drawn."""
        columns, side = self._grid()
        across = min(columns, len(self._tiles))
        down = -(-len(self._tiles) // columns)
        high = side + self._caption_height(side)
        left = (self.width() - across * side - (across - 1) * _GAP) / 2
        top = (self.height() - down * high - (down - 1) * _GAP) / 2
        row, column = divmod(index, columns)
        return QRectF(left + column * (side + _GAP), top + row * (high + _GAP), side, side)

    def _caption_height(self, side: float) -> float:
        """Height of the text under pictures of a side: of the longest text there is."""
        longest = max((len(self._wrapped(t.caption, side)) for t in self._tiles), default=0)
        lines = min(max(self._lines, longest), self._lines + 1)
        return lines * self.fontMetrics().height() + 4

    def _wrapped(self, caption: str, side: float) -> list[str]:
        """Lines of a caption, broken between words where a line is too long."""
        lines: list[str] = []
        for line in caption.splitlines():
            lines.append("")
            for word in line.split():
                longer = f"{lines[-1]} {word}".strip()
                if lines[-1] and self.fontMetrics().horizontalAdvance(longer) > side:
                    lines.append(word)
                else:
                    lines[-1] = longer
        return lines

    def _grid(self) -> tuple[int, float]:
        """Columns, and the side of a picture."""
        number = max(1, len(self._tiles))
        best = (1, 1.0)
        for columns in range(1, number + 1):
            rows = -(-number // columns)
            wide = (self.width() - (columns - 1) * _GAP) / columns
            high = (self.height() - (rows - 1) * _GAP) / rows
            side = float(int(min(wide, high - self._caption_height(wide))))
            side = min(side, float(self._most or side))
            if side > best[1]:
                best = (columns, side)
        return best

    def _least_grid(self) -> tuple[int, float]:
        """Columns and side of the smallest pictures that are allowed at this width."""
        columns = max(1, min(len(self._tiles), (self.width() + _GAP) // (self._least + _GAP)))
        return columns, (self.width() - (columns - 1) * _GAP) // columns

    def _at(self, point: QPointF) -> PictureTile | None:
        high = self._caption_height(self._grid()[1])
        for index, tile in enumerate(self._tiles):
            if self.place_of(index).adjusted(0, 0, 0, high).contains(point):
                return tile
        return None

    def event(self, event: QEvent | None) -> bool:
        """Tell more of a picture, or its whole caption, which may be cut."""
        if isinstance(event, QHelpEvent):
            tile = self._at(QPointF(event.pos()))
            text = "" if tile is None else tile.tip or tile.caption
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Show which pictures can be clicked."""
        if event is not None:
            tile = self._at(event.position())
            clickable = tile is not None and tile.key is not None
            shape = Qt.CursorShape.PointingHandCursor if clickable else Qt.CursorShape.ArrowCursor
            self.setCursor(shape)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Tell that a picture was clicked."""
        tile = None if event is None else self._at(event.position())
        if tile is not None and tile.key is not None:
            self.chosen.emit(tile.key)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the pictures and the texts."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        text = self.palette().color(self.foregroundRole())
        for index, (tile, image) in enumerate(zip(self._tiles, self._images, strict=True)):
            place = self.place_of(index)
            if image is None:
                self._draw_empty(painter, place, tile.instead, text)
            else:
                painter.drawImage(place, image)
                if index == 0 and self._window_um:
                    self._draw_scale(painter, place)
            if self._current is not None and tile.key == self._current:
                painter.setPen(QPen(QColor("#ff9f1c"), 3))
                painter.drawRect(place.adjusted(1, 1, -1, -1))
            self._draw_caption(painter, place, tile.caption, text)
        painter.end()

    def _draw_caption(self, painter: QPainter, place: QRectF, caption: str, color: QColor) -> None:
        painter.setPen(color)
        metrics, top = self.fontMetrics(), place.bottom() + 2
        for line in self._wrapped(caption, place.width())[: self._lines + 1]:
            short = metrics.elidedText(line, Qt.TextElideMode.ElideRight, int(place.width()))
            painter.drawText(
                QRectF(place.left(), top, place.width(), metrics.height()),
                Qt.AlignmentFlag.AlignHCenter,
                short,
            )
            top += metrics.height()

    def _draw_empty(self, painter: QPainter, place: QRectF, text: str, color: QColor) -> None:
        shade = QColor(color)
        shade.setAlpha(25)
        painter.fillRect(place, shade)
        shade.setAlpha(170)
        painter.setPen(shade)
        centre = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(place.adjusted(6, 6, -6, -6), int(centre), text)

    def _draw_scale(self, painter: QPainter, place: QRectF) -> None:
        length = round(_BAR_UM / self._window_um * place.width())
        left, bottom = round(place.left()) + 8, round(place.bottom())
        painter.fillRect(left, bottom - 12, length, 4, QColor("black"))
        if place.width() >= _ROOM:
            painter.setPen(QColor("black"))
            painter.drawText(left, bottom - 16, f"{_BAR_UM} \u00b5m")


def image_of(pixels: np.ndarray) -> QImage:
    """Return (Y, X, 3) uint8 as an image of its own."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return image.copy()


def pixmap_of(pixels: np.ndarray, ratio: float = 1.0) -> QPixmap:
    """Return (Y, X, 3) uint8 as a picture with ``ratio`` of its pixels to one of the layout."""
    pixmap = QPixmap.fromImage(image_of(pixels))
    pixmap.setDevicePixelRatio(ratio)
    return pixmap
