"""Parts of the report: tables that sort by value, and the wall of cells to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QFontMetrics, QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QListView,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.evaluate.jobs import caption, legend
from napari_cytodiffusion.shared.common import note
from napari_cytodiffusion.shared.table import _ORDER

_THUMBNAIL = 84

#: Lines of text that fit under a picture.
_LINES = 4

_GROUPS = (
    ("hardest", "Hardest: the true class is the least likely"),
    ("anomalous", "Most anomalous"),
)


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
