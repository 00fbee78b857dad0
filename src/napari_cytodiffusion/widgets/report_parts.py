"""Parts of the report: tables that sort by value, and the wall of cells to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QFontMetrics, QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QListView,
    QListWidget,
    QListWidgetItem,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.reports import Table, caption, legend
from napari_cytodiffusion.widgets.common import note

_ORDER = int(Qt.ItemDataRole.UserRole)
_THUMBNAIL = 84
#: Lines of text that fit under a picture.
_LINES = 4
_GROUPS = (
    ("hardest", "Hardest: the true class is the least likely"),
    ("anomalous", "Most anomalous"),
)


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


_RIGHT = Qt.AlignmentFlag.AlignRight


class CellWall(QWidget):
    """Pictures of the cells one should look at; a click asks for the image.

    Signals
    -------
    asked (str)
        Path of the image that is to be opened.
    """

    asked = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.choice = QComboBox(self)
        for key, title in _GROUPS:
            self.choice.addItem(title, key)
        self.wall = QListWidget(self)
        self.wall.setViewMode(QListView.ViewMode.IconMode)
        self.wall.setResizeMode(QListView.ResizeMode.Adjust)
        self.wall.setMovement(QListView.Movement.Static)
        self.wall.setIconSize(QSize(_THUMBNAIL, _THUMBNAIL))
        self.wall.setWordWrap(True)
        self.wall.setSpacing(4)
        small = self.wall.font()
        small.setPointSizeF(0.9 * small.pointSizeF())
        self.wall.setFont(small)
        height = _THUMBNAIL + _LINES * QFontMetrics(small).height() + 12
        self.wall.setGridSize(QSize(_THUMBNAIL + 36, height))
        self.line = note("", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.choice)
        layout.addWidget(self.wall, 1)
        layout.addWidget(self.line)
        self._report: Any = None
        self.choice.currentIndexChanged.connect(self._fill)
        self.wall.itemClicked.connect(self._on_click)

    def set_report(self, report: Any) -> None:
        """Show the cells of a `cytodiffusion.evaluation.stored.StoredReport`."""
        self._report = report
        self._fill()

    def entries(self) -> Sequence[Mapping[str, Any]]:
        """Return the cells that are shown."""
        if self._report is None:
            return ()
        return self._report.metrics.get("montage", {}).get(self.choice.currentData(), ())

    def _fill(self, _: Any = None) -> None:
        self.wall.clear()
        if self._report is not None:
            self.line.setText(legend(self._report.metrics, self.choice.currentData()))
        for entry in self.entries():
            item = QListWidgetItem(caption(entry))
            picture = self._report.picture(entry["tile"])
            if picture is not None:
                item.setIcon(QIcon(_pixmap(picture)))
            item.setData(_ORDER, entry["path"])
            item.setToolTip(
                f"true {entry['label']}, predicted {entry['predicted']} "
                f"({entry['confidence']:.3f})\n{entry['path']}"
            )
            item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            self.wall.addItem(item)

    def _on_click(self, item: QListWidgetItem) -> None:
        self.asked.emit(str(item.data(_ORDER)))


def _pixmap(pixels: np.ndarray) -> QPixmap:
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image.copy())
