"""Tables of figures: what stands in them, and a read-only table that sorts by value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

#: What stands where nothing was measured.
NOTHING = "\u2013"

#: One cell of a table: what is shown, and what it is sorted by.
Cell = tuple[str, Any]

_ORDER = int(Qt.ItemDataRole.UserRole)
_RIGHT = Qt.AlignmentFlag.AlignRight


@dataclass(frozen=True)
class Table:
    """Header and rows of a table; rows of ``main`` stand out."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    main: tuple[int, ...] = ()


def figure(value: float | None, digits: int = 3) -> Cell:
    """Return a number as a cell of a table."""
    if value is None or math.isnan(value):
        return NOTHING, float("-inf")
    return f"{value:.{digits}f}", float(value)


def ranged(value: float | None, ends: Any, digits: int = 3) -> Cell:
    """Return a number with its interval, where it has a width, as a cell of a table."""
    text, key = figure(value, digits)
    if ends is None or any(e is None for e in ends) or ends[0] == ends[1] or text == NOTHING:
        return text, key
    return f"{text}  ({ends[0]:.{digits}f}\u2013{ends[1]:.{digits}f})", key


def short(name: str, most: int = 20) -> str:
    """Return a name that fits into the legend of a plot."""
    return name if len(name) <= most else f"{name[: most - 1]}\u2026"


class SortedItem(QTableWidgetItem):
    """A cell that is sorted by its value, not by its text."""

    def __init__(self, text: str, value: Any) -> None:
        super().__init__(text)
        self.setData(_ORDER, value)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        mine, theirs = self.data(_ORDER), other.data(_ORDER)
        try:
            return bool(mine < theirs)
        except TypeError:
            return super().__lt__(other)


class FigureTable(QTableWidget):
    """A read-only table; a click on a header sorts by that column, the values of it, not the text.

    Parameters
    ----------
    sortable : bool
        Whether the rows have no order of their own.
    """

    def __init__(self, sortable: bool, parent: QWidget) -> None:
        super().__init__(parent)
        self._sortable = sortable
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def sizeHint(self) -> QSize:
        """As narrow as the dock wants it."""
        return QSize(300, 240)

    def set_table(
        self, table: Table, colors: Mapping[str, str] | None = None, text_columns: int = 1
    ) -> None:
        """Show a table; names in the first column carry their colour where there is one."""
        self.setSortingEnabled(False)
        self.clear()
        self.setRowCount(len(table.rows))
        self.setColumnCount(len(table.header))
        self.setHorizontalHeaderLabels(list(table.header))
        for row, cells in enumerate(table.rows):
            for column, (text, value) in enumerate(cells):
                item = SortedItem(text, value)
                item.setToolTip(text if column < text_columns else "")  # where it is cut off
                side = Qt.AlignmentFlag.AlignLeft if column < text_columns else _RIGHT
                item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
                if row in table.main:
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                if column == 0 and colors and text in colors:
                    swatch = QPixmap(10, 10)
                    swatch.fill(QColor(colors[text]))
                    item.setIcon(QIcon(swatch))
                self.setItem(row, column, item)
        for column in range(min(text_columns, len(table.header))):
            head = self.horizontalHeaderItem(column)
            if head is not None:
                head.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        if self._sortable:
            self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
            self.setSortingEnabled(True)

    def texts(self, column: int) -> list[str]:
        """Return what a column shows, from the top."""
        items = [self.item(row, column) for row in range(self.rowCount())]
        return [item.text() if item is not None else "" for item in items]
