"""The images of a study as a list: how many cells, and how far people are with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QWidget

from cytodiffusion.study.check import ImageCounts

_NAME, _COUNTS, _OPEN = (int(Qt.ItemDataRole.UserRole) + number for number in range(3))

#: Pixels: around a row, between its lines, height of the bar.
_EDGE, _GAP, _BAR = 6, 3, 4

#: Least height of the list, for two images.
_LEAST = 130

#: Colour of what is done.
_DONE = QColor("#2a9d8f")


class ImageModel(QAbstractListModel):
    """Rows of `ImageCounts`, and which of the images are open."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.rows: list[ImageCounts] = []
        self._opened: frozenset[str] = frozenset()

    def show(self, rows: Sequence[ImageCounts], opened: Sequence[str]) -> None:
        """Show these images; the same ones with other counts keep their place in the view."""
        self._opened = frozenset(opened)
        if [row.name for row in rows] == [row.name for row in self.rows]:
            self.rows = list(rows)
            if self.rows:
                self.dataChanged.emit(self.index(0), self.index(len(self.rows) - 1))
            return
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many images there are."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def data(self, index: QModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return what is known of a row."""
        if not index.isValid():
            return None
        row = self.rows[index.row()]
        if role in (_NAME, int(Qt.ItemDataRole.DisplayRole)):
            return row.name
        if role == _COUNTS:
            return row
        if role == _OPEN:
            return row.name in self._opened
        if role == int(Qt.ItemDataRole.ToolTipRole):
            return f"{row.path}\n{words(row)}"
        if role == int(Qt.ItemDataRole.AccessibleTextRole):
            return f"{row.name}, {words(row)}"
        return None


def words(row: ImageCounts) -> str:
    """Say how far people are with an image."""
    cells = "1 cell" if row.cells == 1 else f"{row.cells:,} cells"
    return f"{cells}, {row.labelled:,} labelled, {row.cells - row.labelled:,} to do"


class _Rows(QStyledItemDelegate):
    """Draws a row: name, counts, and a bar of what is labelled."""

    def sizeHint(self, option: Any, index: QModelIndex) -> QSize:
        """Two lines and a bar, as wide as there is room."""
        line = option.fontMetrics.height()
        return QSize(120, 2 * line + _BAR + 2 * _GAP + 2 * _EDGE)

    def paint(self, painter: QPainter | None, option: Any, index: QModelIndex) -> None:
        """Draw it."""
        if painter is None:
            return
        counts: ImageCounts = index.data(_COUNTS)
        palette = option.palette
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        over = bool(option.state & QStyle.StateFlag.State_MouseOver)
        painter.save()
        if chosen or over:
            back = palette.color(palette.ColorRole.Highlight)
            back.setAlpha(255 if chosen else 70)
            painter.fillRect(option.rect, back)
        role = palette.ColorRole.HighlightedText if chosen else palette.ColorRole.Text
        ink = palette.color(role)
        inside = option.rect.adjusted(_EDGE, _EDGE, -_EDGE, -_EDGE)
        line = option.fontMetrics.height()
        font = painter.font()
        font.setBold(bool(index.data(_OPEN)))
        painter.setFont(font)
        painter.setPen(ink)
        name = painter.fontMetrics().elidedText(
            counts.name, Qt.TextElideMode.ElideMiddle, inside.width()
        )
        first = QRect(inside.left(), inside.top(), inside.width(), line)
        painter.drawText(first, int(Qt.AlignmentFlag.AlignLeft), name)
        font.setBold(False)
        painter.setFont(font)
        ink.setAlpha(190)
        painter.setPen(ink)
        second = first.translated(0, line + _GAP)
        text = painter.fontMetrics().elidedText(
            words(counts), Qt.TextElideMode.ElideRight, inside.width()
        )
        painter.drawText(second, int(Qt.AlignmentFlag.AlignLeft), text)
        bar = QRect(inside.left(), second.bottom() + _GAP, inside.width(), _BAR)
        ink.setAlpha(60)
        painter.fillRect(bar, ink)
        if counts.labelled and counts.cells:
            share = counts.labelled / counts.cells
            bar.setWidth(max(2, round(share * bar.width())))
            painter.fillRect(bar, _DONE)
        painter.restore()


class ImageList(QListView):
    """The list; ``clicked`` and ``activated`` say which image is wanted."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.images = ImageModel(self)
        self.setModel(self.images)
        self.setItemDelegate(_Rows(self))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumHeight(_LEAST)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)

    def sizeHint(self) -> QSize:
        """As narrow as the dock wants it."""
        return QSize(240, 200)

    def name_at(self, index: QModelIndex) -> str:
        """Return the name of the image in a row."""
        return str(index.data(_NAME) or "")

    def choose(self, name: str) -> None:
        """Select the row of an image."""
        for number, row in enumerate(self.images.rows):
            if row.name == name:
                self.setCurrentIndex(self.images.index(number))
                return
        self.clearSelection()
