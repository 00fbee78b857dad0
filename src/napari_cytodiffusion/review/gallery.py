"""A gallery of very many cells: only what is seen is laid out, drawn and cut out.

Qt's own list of icons lays out all its items again whenever their order or its width changes: 0.4 s
for 50,000, and 0.7 s to select all of them. Here the place of a cell is computed from its position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import (
    QColor,
    QDrag,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPixmap,
    QResizeEvent,
)
from qtpy.QtWidgets import QAbstractScrollArea, QApplication, QFrame, QToolTip, QWidget

from napari_cytodiffusion.layers.placement import HUMAN_COLOR

#: What is dragged says so by this type; which cells, the gallery knows.
CELLS_MIME = "application/x-cytodiffusion-cells"

#: Pixels between two cells, and what the colour of the current one is.
_GAP, _CURRENT = 6, "#ff9f1c"

#: Milliseconds and pixels of a step when a rubber band is drawn beyond the edge.
_SCROLL_MS, _SCROLL_BY = 30, 24

_KEYS = Qt.Key


@dataclass(frozen=True)
class TileLook:
    """How a cell looks in the gallery.

    Attributes
    ----------
    name : str
        Its class, empty where it is not to be seen.
    color : str
        ``#rrggbb`` of the class.
    labelled : bool
        Whether a person gave the class.
    disputed : bool
        Whether people gave different ones.
    """

    name: str = ""
    color: str = "#888888"
    labelled: bool = False
    disputed: bool = False


class CellGallery(QAbstractScrollArea):
    """Pictures of cells in rows, of which one is current and any number selected.

    Drawing a band over cells selects them; pressing the button on a selected cell and moving drags
    all that are selected. Positions count along the order, rows are those of the table of cells.

    Signals
    -------
    current_changed (int)
        Another cell is current; its row.
    clicked (int)
        A cell was clicked; its row.
    selection_changed ()
        Other cells are selected.
    scrolled ()
        Other cells are seen.
    """

    current_changed = Signal(int)
    clicked = Signal(int)
    selection_changed = Signal()
    scrolled = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.picture_of: Callable[[int], QImage | None] = _no_picture
        self.look_of: Callable[[int], TileLook] = _no_look
        self.tip_of: Callable[[int], str] = _no_tip
        self.empty_text = ""
        self._keys: dict[str, Callable[[], object]] = {}
        self._order = np.zeros(0, np.int64)
        self._place = np.zeros(0, np.int64)
        self._selected = np.zeros(0, bool)
        self._current = self._anchor = -1
        self._side = 96
        self._in_sight = False  # the current cell, before the size changes
        self._pressed: QPoint | None = None
        self._pressed_on_selected = False
        self._band: tuple[QPoint, QPoint] | None = None
        self._base = self._selected
        self._scrolling = QTimer(self)
        self._scrolling.setInterval(_SCROLL_MS)
        self._scrolling.timeout.connect(self._scroll_on)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.viewport().setMouseTracking(False)
        self.verticalScrollBar().valueChanged.connect(self._on_scroll)
        self.setAccessibleName("Cells")

    # -- what is shown ------------------------------------------------------------------------

    def set_order(self, rows: np.ndarray, current: int | None = None) -> None:
        """Show these rows in this order; ``current`` is the row to be current if it is there."""
        self._order = np.asarray(rows, np.int64)
        self._place = np.full(int(self._order.max(initial=-1)) + 1, -1, np.int64)
        self._place[self._order] = np.arange(len(self._order))
        self._selected = np.zeros(len(self._order), bool)
        self._band = self._pressed = None
        position = -1 if current is None else self.position_of(current)
        self._current = self._anchor = position
        if position >= 0:
            self._selected[position] = True
        self._resize_content()
        if position >= 0:
            self.scroll_to(position)
        else:
            self.verticalScrollBar().setValue(0)
        self.viewport().update()
        self.selection_changed.emit()

    @property
    def order(self) -> np.ndarray:
        """Rows in the order shown."""
        return self._order

    def position_of(self, row: int) -> int:
        """Where a row is in the order, -1 where it is not shown."""
        return int(self._place[row]) if 0 <= row < len(self._place) else -1

    def positions_of(self, rows: np.ndarray) -> np.ndarray:
        """Where rows are in the order; those that are not shown are left out."""
        known = rows[(rows >= 0) & (rows < len(self._place))]
        found = self._place[known]
        return found[found >= 0]

    def set_side(self, side: int) -> None:
        """Set the side of a picture in pixels; what is current stays in sight."""
        if side != self._side:
            seen = self._current if self._is_seen(self._current) else self._first_seen()
            self._side = side
            self._resize_content()
            if seen >= 0:
                self.scroll_to(seen)
            self.viewport().update()
            self.scrolled.emit()

    @property
    def side(self) -> int:
        """Side of a picture in pixels."""
        return self._side

    def seen(self, more: int = 0) -> np.ndarray:
        """Rows in sight, and of so many lines below them."""
        first, last = self._seen_positions(more)
        return self._order[first:last]

    # -- current and selected -----------------------------------------------------------------

    @property
    def current_row(self) -> int:
        """Row of the current cell, -1 without one."""
        return int(self._order[self._current]) if self._current >= 0 else -1

    def selected_rows(self) -> np.ndarray:
        """Rows that are selected, in their order."""
        return self._order[self._selected]

    @property
    def selected_count(self) -> int:
        """How many are selected."""
        return int(np.count_nonzero(self._selected))

    def choose(self, position: int, *, extend: bool = False) -> None:
        """Make a cell current and the only one selected, or select all up to it."""
        if not 0 <= position < len(self._order):
            return
        self._selected[:] = False
        if extend and self._anchor >= 0:
            low, high = sorted((self._anchor, position))
            self._selected[low : high + 1] = True
        else:
            self._selected[position] = True
            self._anchor = position
        self._set_current(position)
        self.selection_changed.emit()

    def choose_row(self, row: int) -> bool:
        """Make the cell of a row current, if it is shown; say whether it is."""
        position = self.position_of(row)
        if position >= 0 and position != self._current:
            self.choose(position)
        return position >= 0

    def select_all(self) -> None:
        """Select all that are shown."""
        self._selected[:] = True
        self.viewport().update()
        self.selection_changed.emit()

    def _set_current(self, position: int) -> None:
        changed = position != self._current
        self._current = position
        self.scroll_to(position)
        self.viewport().update()
        if changed:
            self.current_changed.emit(self.current_row)

    # -- where things are ---------------------------------------------------------------------

    @property
    def _columns(self) -> int:
        return max(1, (self.viewport().width() - _GAP) // (self._side + _GAP))

    @property
    def _step(self) -> tuple[int, int]:
        """Pixels from one cell to the next, across and down."""
        return self._side + _GAP, self._side + _GAP + self.fontMetrics().height() + 4

    def rect_of(self, position: int) -> QRect:
        """Where a cell is in the viewport, its text included."""
        row, column = divmod(position, self._columns)
        across, down = self._step
        top = _GAP + row * down - self.verticalScrollBar().value()
        return QRect(self._left + column * across, top, self._side, down - _GAP)

    @property
    def _left(self) -> int:
        """Where the first column begins: the cells stand in the middle."""
        room = self.viewport().width() - self._columns * self._step[0] + _GAP
        return max(_GAP, room // 2)

    def position_at(self, point: QPoint) -> int:
        """Position of the cell at a point of the viewport, -1 between cells."""
        across, down = self._step
        column, x = divmod(point.x() - self._left, across)
        row, y = divmod(point.y() + self.verticalScrollBar().value() - _GAP, down)
        inside = 0 <= column < self._columns and row >= 0 and x < self._side and y < down - _GAP
        position = row * self._columns + column
        return position if inside and position < len(self._order) else -1

    def scroll_to(self, position: int) -> None:
        """Bring a cell into sight."""
        rect, bar = self.rect_of(position), self.verticalScrollBar()
        if rect.top() < _GAP:
            bar.setValue(bar.value() + rect.top() - _GAP)
        elif rect.bottom() > self.viewport().height() - _GAP:
            bar.setValue(bar.value() + rect.bottom() - self.viewport().height() + _GAP)
        self._in_sight = self._is_seen(self._current)

    def _seen_positions(self, more: int = 0) -> tuple[int, int]:
        top, down = self.verticalScrollBar().value() - _GAP, self._step[1]
        first = max(0, top // down)
        last = (top + self.viewport().height()) // down + 1 + more
        return first * self._columns, min(len(self._order), last * self._columns)

    def _first_seen(self) -> int:
        first, last = self._seen_positions()
        return first if first < last else -1

    def _is_seen(self, position: int) -> bool:
        return position >= 0 and self.viewport().rect().intersects(self.rect_of(position))

    def _resize_content(self) -> None:
        lines = -(-len(self._order) // self._columns)
        high, page = _GAP + lines * self._step[1], self.viewport().height()
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, high - page))
        bar.setPageStep(page)
        bar.setSingleStep(self._step[1] // 2)

    def _on_scroll(self, _: int) -> None:
        self._in_sight = self._is_seen(self._current)
        self.viewport().update()
        self.scrolled.emit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Lay out anew; what is current stays in sight."""
        seen = self._in_sight
        self._resize_content()
        if seen:
            self.scroll_to(self._current)
        self.scrolled.emit()

    def sizeHint(self) -> QSize:
        """Room for three times three cells."""
        across, down = self._step
        return QSize(3 * across + 3 * _GAP + 20, 3 * down)

    def minimumSizeHint(self) -> QSize:
        """Room for two cells beside each other."""
        across, down = self._step
        return QSize(2 * across + 2 * _GAP + 20, down + _GAP)

    # -- the mouse ----------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Select a cell, or begin a band or a drag."""
        if event is None or event.button() != Qt.MouseButton.LeftButton:
            return
        point = event.position().toPoint()
        self._pressed = point + QPoint(0, self.verticalScrollBar().value())
        position, keys = self.position_at(point), event.modifiers()
        self._base = self._selected.copy()
        self._pressed_on_selected = False
        if position < 0:
            if not keys & (_SHIFT | _CONTROL):
                self._base[:] = False
            return
        if keys & _SHIFT:
            self.choose(position, extend=True)
        elif keys & _CONTROL:
            self._selected[position] ^= True
            self._anchor = position
            self._set_current(position)
            self.selection_changed.emit()
        elif self._selected[position]:
            self._pressed_on_selected = True  # the others stay selected if they are dragged
        else:
            self.choose(position)
            self._base = np.zeros_like(self._selected)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Draw the band, or drag what is selected."""
        if event is None or self._pressed is None:
            return
        point = event.position().toPoint()
        here = point + QPoint(0, self.verticalScrollBar().value())
        far = (here - self._pressed).manhattanLength() >= QApplication.startDragDistance()
        if self._pressed_on_selected:
            if far:
                self._pressed = None
                self._drag()
            return
        if self._band is None and not far:
            return
        self._stretch(point)
        outside = not 0 <= point.y() < self.viewport().height()
        if outside != self._scrolling.isActive():
            (self._scrolling.start if outside else self._scrolling.stop)()

    def _stretch(self, point: QPoint) -> None:
        """Draw the band to a point of the viewport, and select what lies in it."""
        assert self._pressed is not None
        here = point + QPoint(0, self.verticalScrollBar().value())
        self._band = (self._pressed, here)
        self._selected = self._base | self._inside(QRect(*self._band).normalized())
        self.viewport().update()
        self.selection_changed.emit()

    def _inside(self, band: QRect) -> np.ndarray:
        """Which positions a band touches, given in pixels of all lines."""
        across, down = self._step
        inside = np.zeros(len(self._order), bool)
        first = max(0, (band.top() - _GAP) // down)
        last = (band.bottom() - _GAP) // down
        left, right = (x - self._left for x in (band.left(), band.right()))
        low = max(0, -(-(left - self._side) // across))
        high = min(self._columns - 1, right // across)
        if low > high or last < first:
            return inside
        columns = self._columns
        lines = np.arange(first, min(last, len(self._order) // columns) + 1)
        found = (lines[:, None] * columns + np.arange(low, high + 1)).ravel()
        inside[found[found < len(inside)]] = True
        return inside

    def _scroll_on(self) -> None:
        """Scroll while the band is drawn beyond the edge."""
        if self._band is None:
            self._scrolling.stop()
            return
        point = self.viewport().mapFromGlobal(self.cursor().pos())
        by = -_SCROLL_BY if point.y() < 0 else _SCROLL_BY
        self.verticalScrollBar().setValue(self.verticalScrollBar().value() + by)
        self._stretch(point)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """End the band; a click on one of several selected cells selects it alone."""
        if event is None or event.button() != Qt.MouseButton.LeftButton:
            return
        self._scrolling.stop()
        position = self.position_at(event.position().toPoint())
        banded = self._band is not None
        if self._band is not None:
            self._band = None
            found = np.flatnonzero(self._selected)
            if len(found) and not (self._current >= 0 and self._selected[self._current]):
                self._anchor = int(found[0])
                self._set_current(int(found[0]))
            self.viewport().update()
        elif self._pressed is not None and self._pressed_on_selected:
            self.choose(position)
        elif self._pressed is not None and position < 0:
            self._selected = self._base
            self.viewport().update()
            self.selection_changed.emit()
        if self._pressed is not None and not banded and position >= 0:
            self.clicked.emit(int(self._order[position]))
        self._pressed, self._pressed_on_selected = None, False

    def _drag(self) -> None:
        rows = self.selected_rows()
        drag, data = QDrag(self), QMimeData()
        data.setData(CELLS_MIME, str(len(rows)).encode())
        drag.setMimeData(data)
        drag.setPixmap(self._drag_picture(rows))
        drag.exec(Qt.DropAction.CopyAction)

    def _drag_picture(self, rows: np.ndarray) -> QPixmap:
        """Return the first picture with how many there are."""
        pixmap = QPixmap(56, 56)
        pixmap.fill(QColor("#444444"))
        painter = QPainter(pixmap)
        image = self.picture_of(int(rows[0]))
        if image is not None:
            painter.drawImage(QRectF(0, 0, 56, 56), image)
        if len(rows) > 1:
            painter.fillRect(0, 38, 56, 18, QColor(0, 0, 0, 170))
            painter.setPen(QColor("white"))
            centre = Qt.AlignmentFlag.AlignCenter
            painter.drawText(QRect(0, 38, 56, 18), centre, f"{len(rows):,}")
        painter.end()
        return pixmap

    # -- keys ---------------------------------------------------------------------------------

    def bind(self, key: str, does: Callable[[], object]) -> None:
        """Let a key such as ``"G"`` or ``"Ctrl+Z"`` do this while the gallery has the focus."""
        self._keys[key] = does

    def _bound(self, event: QKeyEvent) -> Callable[[], object] | None:
        """Return what a key does; a digit also where the keyboard has it above another sign."""
        held = event.modifiers()
        if held & (_KEYBOARD.AltModifier | _KEYBOARD.MetaModifier):
            return None
        name = QKeySequence(event.key()).toString()
        shift = "Shift+" if held & _SHIFT and not name.isdigit() else ""
        return self._keys.get(f"{'Ctrl+' if held & _CONTROL else ''}{shift}{name}")

    def event(self, event: QEvent | None) -> bool:
        """Take keys before shortcuts of the window do, which may have others of the same name."""
        key = event if isinstance(event, QKeyEvent) else None
        if key is None or key.type() != QEvent.Type.ShortcutOverride or self._bound(key) is None:
            return super().event(event)
        key.accept()
        return True

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Do what a key is bound to, or move among the cells; with Shift, select on the way."""
        if event is None:
            return
        does = self._bound(event)
        if does is not None:
            event.accept()
            does()
            return
        page = max(1, self.viewport().height() // self._step[1])
        moves: dict[int, int] = {
            _KEYS.Key_Left: -1,
            _KEYS.Key_Right: 1,
            _KEYS.Key_Up: -self._columns,
            _KEYS.Key_Down: self._columns,
            _KEYS.Key_PageUp: -page * self._columns,
            _KEYS.Key_PageDown: page * self._columns,
            _KEYS.Key_Home: -len(self._order),
            _KEYS.Key_End: len(self._order),
        }
        if event.key() == _KEYS.Key_A and event.modifiers() & _CONTROL:
            self.select_all()
        elif event.key() in moves and len(self._order):
            self.step_by(moves[event.key()], extend=bool(event.modifiers() & _SHIFT))
        else:
            event.ignore()  # others may have a use for it
            return
        event.accept()

    def step_by(self, by: int, *, extend: bool = False) -> None:
        """Make a cell further on current."""
        start = self._current if self._current >= 0 else min(0, by)
        self.choose(int(np.clip(start + by, 0, len(self._order) - 1)), extend=extend)

    # -- drawing ------------------------------------------------------------------------------

    def viewportEvent(self, event: QEvent | None) -> bool:
        """Say more of the cell under the pointer."""
        if isinstance(event, QHelpEvent):
            position = self.position_at(event.pos())
            text = self.tip_of(int(self._order[position])) if position >= 0 else ""
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().viewportEvent(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the cells in sight."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        text = self.palette().color(self.foregroundRole())
        if not len(self._order):
            centre = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
            painter.setPen(text)
            room = self.viewport().rect().adjusted(12, 12, -12, -12)
            painter.drawText(room, centre, self.empty_text)
        shade = self.palette().color(QPalette.ColorRole.Highlight)
        for position in range(*self._seen_positions()):
            self._draw(painter, position, text, shade)
        if self._band is not None:
            band = QRect(*self._band).normalized()
            band.translate(0, -self.verticalScrollBar().value())
            veil = QColor(_CURRENT)
            veil.setAlpha(50)
            painter.fillRect(band, veil)
            painter.setPen(QPen(QColor(_CURRENT), 1))
            painter.drawRect(band)
        painter.end()

    def _draw(self, painter: QPainter, position: int, text: QColor, shade: QColor) -> None:
        row, rect = int(self._order[position]), self.rect_of(position)
        look, image = self.look_of(row), self.picture_of(row)
        if self._selected[position]:
            painter.fillRect(rect.adjusted(-3, -3, 3, 3), shade)
        picture = QRect(rect.left(), rect.top(), self._side, self._side)
        if image is None:
            grey = QColor(text)
            grey.setAlpha(30)
            painter.fillRect(picture, grey)
        else:
            painter.drawImage(QRectF(picture), image)
        if look.labelled:
            painter.setPen(QPen(QColor(HUMAN_COLOR), 3))
            painter.drawRect(picture.adjusted(1, 1, -2, -2))
        if position == self._current or self._selected[position]:
            painter.setPen(QPen(QColor(_CURRENT), 3 if position == self._current else 1))
            painter.drawRect(rect.adjusted(-2, -2, 1, 1))
        self._draw_name(painter, rect, look, text)

    def _draw_name(self, painter: QPainter, rect: QRect, look: TileLook, text: QColor) -> None:
        if not look.name:
            return
        metrics = self.fontMetrics()
        top, high = rect.top() + self._side + 2, metrics.height()
        chip = max(6, high // 2)
        middle = top + (high - chip) // 2
        painter.fillRect(rect.left() + 1, middle, chip, chip, QColor(look.color))
        painter.setPen(text)
        room = self._side - chip - 6
        short = metrics.elidedText(look.name, Qt.TextElideMode.ElideRight, room)
        painter.drawText(QPointF(rect.left() + chip + 5, top + metrics.ascent()), short)


_KEYBOARD = Qt.KeyboardModifier
_SHIFT, _CONTROL = _KEYBOARD.ShiftModifier, _KEYBOARD.ControlModifier


def _no_picture(_: int) -> QImage | None:
    return None


def _no_look(_: int) -> TileLook:
    return TileLook()


def _no_tip(_: int) -> str:
    return ""
