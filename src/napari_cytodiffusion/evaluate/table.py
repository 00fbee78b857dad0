"""Tables of a report that can be read in a narrow dock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QModelIndex, QRect, QSize, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QResizeEvent,
    QShowEvent,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QTableWidget,
    QWidget,
)

from napari_cytodiffusion.evaluate.sections import Grid
from napari_cytodiffusion.shared.plots import text_color
from napari_cytodiffusion.shared.table import SortedItem

#: Around the text of a cell, and how wide names are before they go on in the next line.
_PAD, _BELOW, _NAME_WIDTH = 6, 3, 108

_SWATCH = 10

_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter

_WRAP = int(Qt.TextFlag.TextWordWrap)


def _small(font: QFont) -> QFont:
    small = QFont(font)
    small.setBold(False)
    small.setPointSizeF(0.85 * font.pointSizeF())
    return small


class _Cells(QStyledItemDelegate):
    """Draws a figure with its interval in small print below it; names go over several lines."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw a cell."""
        options = QStyleOptionViewItem(option)
        self.initStyleOption(options, index)
        options.text = ""
        options.features &= ~QStyleOptionViewItem.ViewItemFeature.HasDecoration
        options.state &= ~QStyle.StateFlag.State_HasFocus
        view = options.widget
        view.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, options, painter, view)
        rect = options.rect.adjusted(_PAD, _BELOW, -_PAD, -_BELOW)
        painter.save()
        painter.setClipRect(options.rect)
        colour = index.data(Qt.ItemDataRole.DecorationRole)
        if colour is not None:
            painter.fillRect(
                rect.left(), rect.center().y() - _SWATCH // 2, _SWATCH, _SWATCH, colour
            )
            rect.adjust(_SWATCH + _PAD, 0, 0, 0)
        self._write(painter, rect, options.font, text_color(view), index)
        painter.restore()

    def _write(
        self, painter: QPainter, rect: QRect, font: QFont, ink: QColor, index: QModelIndex
    ) -> None:
        painter.setFont(font)
        painter.setPen(ink)
        text = str(index.data())
        if _is_name(index):
            painter.drawText(rect, int(_LEFT) | _WRAP, text)
            return
        first, _, second = text.partition("\n")
        if not second:
            painter.drawText(rect, int(_RIGHT), first)
            return
        upper = QFontMetrics(font).height()
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop), first)
        ink.setAlpha(170)
        painter.setPen(ink)
        painter.setFont(_small(font))
        lower = rect.adjusted(0, upper, 0, _BELOW)
        painter.drawText(
            lower, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop), second
        )

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Room for both lines, or for the lines of a name."""
        own = index.data(Qt.ItemDataRole.FontRole)
        font = option.font if own is None else own.resolve(option.font)
        text, metrics = str(index.data()), QFontMetrics(font)
        swatch = 0 if index.data(Qt.ItemDataRole.DecorationRole) is None else _SWATCH + _PAD
        if _is_name(index):
            rect = metrics.boundingRect(QRect(0, 0, _NAME_WIDTH, 1000), int(_LEFT) | _WRAP, text)
            return QSize(rect.width() + 2 * _PAD + swatch + 1, rect.height() + 2 * _BELOW)
        first, _, second = text.partition("\n")
        small = QFontMetrics(_small(font))
        width = max(metrics.horizontalAdvance(first), small.horizontalAdvance(second))
        height = metrics.height() + (small.height() if second else 0)
        return QSize(width + 2 * _PAD, height + 2 * _BELOW)


def _is_name(index: QModelIndex) -> bool:
    return bool(index.data(Qt.ItemDataRole.TextAlignmentRole) & Qt.AlignmentFlag.AlignLeft)


class _Names(QTableView):
    """The names at the left, which stay while the other columns scroll by."""

    def __init__(self, table: QTableWidget, columns: int) -> None:
        super().__init__(table)
        self._columns = columns
        self.setModel(table.model())
        self.setSelectionModel(table.selectionModel())
        self.setItemDelegate(table.itemDelegate())
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionsClickable(False)
        header.setStyleSheet(table.horizontalHeader().styleSheet())
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for column in range(columns, table.columnCount()):
            self.setColumnHidden(column, True)
        self.hide()

    def follow(self, table: QTableWidget) -> None:
        """Lie on the names of the table once they are scrolled out of sight."""
        widths = [table.columnWidth(column) for column in range(self._columns)]
        for column, width in enumerate(widths):
            self.setColumnWidth(column, width)
        header, edge = table.horizontalHeader().height(), table.frameWidth()
        self.horizontalHeader().setFixedHeight(header)
        for row in range(table.rowCount()):
            self.setRowHeight(row, table.rowHeight(row))
        self.setGeometry(edge, edge, sum(widths), header + table.viewport().height())
        self.setVisible(table.horizontalScrollBar().value() > 0)


class ReportTable(QTableWidget):
    """All rows of a table at once; columns scroll by their row's name where they do not fit.

    A click on a header sorts by that column where the rows have no order of their own; *Copy*
    takes the selected rows.

    Parameters
    ----------
    grid : Grid
    colors : mapping of str to str
        Of the names in the first column that have one.
    parent : QWidget
    """

    def __init__(self, grid: Grid, colors: Mapping[str, str], parent: QWidget) -> None:
        table = grid.table
        super().__init__(len(table.rows), len(table.header), parent)
        self._cells = _Cells(self)
        self.setItemDelegate(self._cells)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(20)
        header.setStyleSheet(f"QHeaderView::section {{ padding: 2px {_PAD}px; }}")
        names = self._fill(grid, colors)
        self.names = _Names(self, names)
        self._widths: list[int] = []
        self.horizontalScrollBar().valueChanged.connect(lambda _: self.names.follow(self))
        self.model().layoutChanged.connect(self._measure)
        if grid.sortable:
            header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
            self.setSortingEnabled(True)

    def _fill(self, grid: Grid, colors: Mapping[str, str]) -> int:
        """Enter the texts; returns how many columns at the left are names."""
        table = grid.table
        self.setHorizontalHeaderLabels(list(table.header))
        # words among figures, such as a group, are names too
        words = [
            all(isinstance(value, str) for _, value in column)
            for column in zip(*table.rows, strict=True)
        ]
        sides = [_LEFT if word else _RIGHT for word in words]
        for column, side in enumerate(sides):
            head = self.horizontalHeaderItem(column)
            assert head is not None
            head.setTextAlignment(side)
        for row, cells in enumerate(table.rows):
            for column, (text, value) in enumerate(cells):
                item = SortedItem(text, value)
                item.setTextAlignment(sides[column])
                if row in table.main:
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                if column == 0 and text in colors:
                    item.setData(Qt.ItemDataRole.DecorationRole, QColor(colors[text]))
                self.setItem(row, column, item)
        return 2 if words[1:2] == [True] else 1

    def texts(self, column: int) -> list[str]:
        """Return what a column shows, from the top."""
        items = [self.item(row, column) for row in range(self.rowCount())]
        return [item.text() if item is not None else "" for item in items]

    # -- size ---------------------------------------------------------------------------------

    def minimumSizeHint(self) -> QSize:
        """As narrow as the dock wants it: columns that do not fit are scrolled to."""
        return QSize(200, 60)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the fonts of the window."""
        super().showEvent(event)
        self._measure()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Share the width there is."""
        super().resizeEvent(event)
        if self._widths:
            self._share()

    def _measure(self, *_: Any) -> None:
        option = QStyleOptionViewItem()
        option.font = self.font()
        header, model = self.horizontalHeader(), self.model()
        widths = [header.sectionSizeHint(column) for column in range(self.columnCount())]
        for row in range(self.rowCount()):
            sizes = [
                self._cells.sizeHint(option, model.index(row, column))
                for column in range(self.columnCount())
            ]
            widths = [max(w, size.width()) for w, size in zip(widths, sizes, strict=True)]
            self.setRowHeight(row, max((size.height() for size in sizes), default=0))
        self._widths = widths
        self._share()

    def _share(self) -> None:
        room = self.viewport().width() - sum(self._widths)
        more = max(0, room) // max(1, len(self._widths))
        for column, width in enumerate(self._widths):
            self.setColumnWidth(column, width + more)
        bar = self.horizontalScrollBar().sizeHint().height() + 2 if room < 0 else 0
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        header = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(header + rows + bar + 2 * self.frameWidth())
        self.names.follow(self)

    # -- copying ------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Copy the selected rows, columns apart by tabs."""
        if event is None or not event.matches(QKeySequence.StandardKey.Copy):
            super().keyPressEvent(event)
            return
        rows = sorted({index.row() for index in self.selectedIndexes()})
        columns = range(self.columnCount())
        heads = [item for item in map(self.horizontalHeaderItem, columns) if item is not None]
        lines = [[head.text() for head in heads]]
        lines += [[self.texts(column)[row] for column in columns] for row in rows]
        text = "\n".join("\t".join(" ".join(t.split()) for t in line) for line in lines)
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(text)
