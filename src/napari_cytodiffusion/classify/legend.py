"""Legend: the classes with their colours and live counts, or the bar of the uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QRectF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.drawing.maps import uncertainty_colors
from napari_cytodiffusion.classify.style import StyleChoice
from napari_cytodiffusion.layers.placement import HUMAN_COLOR

_SWATCH = 14


class Legend(QWidget):
    """Names, colours and counts of the classes; a check box each shows or hides the class."""

    shown_changed = Signal(list)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.boxes: list[QCheckBox] = []
        self.counts: list[QLabel] = []
        self._names: tuple[str, ...] = ()
        self._colors: tuple[str, ...] = ()
        self._rows = QWidget(self)
        self._grid = QGridLayout(self._rows)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self.all_button = QPushButton("Show all", self)
        self.none_button = QPushButton("Hide all", self)
        self.all_button.clicked.connect(lambda: self._set_all(True))
        self.none_button.clicked.connect(lambda: self._set_all(False))
        self.people = QWidget(self)
        mark = QLabel(self.people)
        mark.setFixedSize(_SWATCH, _SWATCH)
        mark.setStyleSheet(f"border: 3px solid {HUMAN_COLOR}; border-radius: 3px;")
        self.said = QLabel("", self.people)
        row = QHBoxLayout(self.people)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(mark)
        row.addWidget(self.said, 1)
        self.people.setToolTip(
            "Cells whose class a person gave, outlined in this colour; the others learn from them."
        )
        self.people.hide()
        self.style_choice = StyleChoice(self)
        self.bar = ColorBar(self)
        self.bar.hide()
        buttons = QHBoxLayout()
        buttons.addWidget(self.all_button)
        buttons.addWidget(self.none_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.bar)
        layout.addWidget(self._rows)
        layout.addWidget(self.people)
        layout.addLayout(buttons)
        layout.addWidget(self.style_choice)
        self._show_buttons()

    def set_classes(self, names: Sequence[str], colors: Sequence[str]) -> None:
        """Show these classes, all visible, none counted yet."""
        while self._grid.count():
            widget = self._grid.takeAt(0).widget()
            widget.setParent(None)
            widget.deleteLater()
        self._names, self._colors = tuple(names), tuple(colors)
        self.boxes, self.counts = [], []
        for row, (name, color) in enumerate(zip(names, colors, strict=True)):
            swatch = QLabel(self._rows)
            swatch.setFixedSize(_SWATCH, _SWATCH)
            swatch.setStyleSheet(f"background: {color}; border-radius: 3px;")
            box = QCheckBox(name, self._rows)
            box.setChecked(True)
            box.toggled.connect(self._on_toggle)
            count = QLabel("", self._rows)
            count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._grid.addWidget(swatch, row, 0)
            self._grid.addWidget(box, row, 1)
            self._grid.addWidget(count, row, 2)
            self.boxes.append(box)
            self.counts.append(count)
        self._show_buttons()

    def set_counts(self, counts: Sequence[int] | np.ndarray) -> None:
        """Show how many cells of each class there are."""
        total = max(1, int(np.sum(counts)))
        for label, count in zip(self.counts, counts, strict=True):
            share = 100 * count / total
            digits = 0 if share >= 9.95 or count == 0 else 1
            label.setText(f"{count:,}  ({share:.{digits}f} %)")

    def set_reviewed(self, reviewed: int, corrected: int) -> None:
        """Say how many cells people looked at, and how many they corrected."""
        self.said.setText(f"{reviewed:,} reviewed, {corrected:,} corrected")
        self.people.setVisible(reviewed > 0)

    def set_shown(self, shown: Sequence[bool]) -> None:
        """Set the check boxes without telling anybody."""
        for box, checked in zip(self.boxes, shown, strict=True):
            with QSignalBlocker(box):
                box.setChecked(bool(checked))

    def set_kind(self, kind: str) -> None:
        """Show the colour bar beside the classes when cells are coloured by uncertainty."""
        self.bar.setVisible(kind == "uncertainty")

    @property
    def names(self) -> tuple[str, ...]:
        """The classes shown."""
        return self._names

    @property
    def colors(self) -> tuple[str, ...]:
        """Their colours."""
        return self._colors

    def shown(self) -> list[bool]:
        """Which classes are checked."""
        return [box.isChecked() for box in self.boxes]

    def _on_toggle(self, _: bool) -> None:
        self.shown_changed.emit(self.shown())

    def _set_all(self, checked: bool) -> None:
        self.set_shown([checked] * len(self.boxes))
        self.shown_changed.emit(self.shown())

    def _show_buttons(self) -> None:
        for button in (self.all_button, self.none_button):
            button.setVisible(bool(self.boxes))
        self.style_choice.setVisible(bool(self.boxes))


class ColorBar(QWidget):
    """Colour bar of the uncertainty, from sure to "any class"."""

    _TEXTS = ("certain", "two alike", "any class")

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        ramp = np.rint(uncertainty_colors()[1:] * 255).astype(np.uint8)
        self._bytes = np.ascontiguousarray(ramp).tobytes()
        self._image = QImage(self._bytes, 255, 1, 255 * 4, QImage.Format.Format_RGBA8888)
        self._half = 0.5
        self.setToolTip("Entropy of the posterior: how undecided the classifier is.")

    def set_classes(self, n_classes: int) -> None:
        """Place the mark of two equally likely classes."""
        self._half = float(np.log(2) / np.log(max(n_classes, 2)))
        self.update()

    def sizeHint(self) -> QSize:
        """Size for a bar and a line of text."""
        return QSize(200, 16 + self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the bar, a tick and the texts."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        width = self.width()
        painter.drawImage(QRectF(0, 0, width, 12), self._image)
        tick = int(self._half * width)
        painter.fillRect(tick, 0, 1, 12, QColor("white"))
        painter.setPen(self.palette().color(self.foregroundRole()))
        metrics = self.fontMetrics()
        base = 14 + metrics.ascent()
        left, middle, right = self._TEXTS
        painter.drawText(0, base, left)
        end = width - metrics.horizontalAdvance(right)
        painter.drawText(end, base, right)
        start = tick - metrics.horizontalAdvance(middle) // 2
        room = start > metrics.horizontalAdvance(left) + 6
        if room and start + metrics.horizontalAdvance(middle) < end - 6:
            painter.drawText(start, base, middle)
        painter.end()
