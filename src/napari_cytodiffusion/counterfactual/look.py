"""How a heatmap is shown: threshold, opacity, and the colour bar."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QSizePolicy, QSlider, QWidget

from napari_cytodiffusion.shared.common import form

#: Steps of the threshold's slider in a standard deviation, and its end.
_STEPS, _MOST_SIGMAS = 10, 10

_BAR = 12


class HeatLook(QWidget):
    """Sliders of threshold and opacity above the colour bar.

    Signals
    -------
    threshold_changed (float)
        In standard deviations.
    opacity_changed (float)
        0 to 1.
    """

    threshold_changed = Signal(float)
    opacity_changed = Signal(float)

    def __init__(self, colors: np.ndarray, sigmas: float, parent: QWidget) -> None:
        super().__init__(parent)
        self.threshold = self._slider(_STEPS * _MOST_SIGMAS, round(_STEPS * sigmas))
        self.threshold.setToolTip(
            "Shown is what differs by more than so many standard deviations (SD) of what chance "
            "alone makes of the map."
        )
        self.opacity = self._slider(100, 80)
        self.opacity.setToolTip("How much of the cell the overlay covers.")
        self.threshold_text, self.opacity_text = QLabel("", self), QLabel("", self)
        self.bar = HeatBar(colors, self)
        layout = form(self)
        self.setLayout(layout)
        layout.setContentsMargins(0, 0, 0, 0)
        self._add(layout, "Threshold", self.threshold, self.threshold_text)
        self._add(layout, "Opacity", self.opacity, self.opacity_text)
        layout.addRow(self.bar)
        self.threshold.valueChanged.connect(self._on_threshold)
        self.opacity.valueChanged.connect(self._on_opacity)
        self._write()

    def _slider(self, most: int, value: int) -> QSlider:
        slider = QSlider(Qt.Orientation.Horizontal, self)
        slider.setRange(0, most)
        slider.setValue(value)
        return slider

    def _add(self, layout: QFormLayout, name: str, slider: QSlider, text: QLabel) -> None:
        row = QHBoxLayout()
        row.addWidget(slider, 1)
        text.setMinimumWidth(self.fontMetrics().horizontalAdvance("10.0 SD"))
        text.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(text)
        layout.addRow(name, row)

    @property
    def sigmas(self) -> float:
        """Threshold in standard deviations."""
        return self.threshold.value() / _STEPS

    @property
    def alpha(self) -> float:
        """Opacity, 0 to 1."""
        return self.opacity.value() / 100

    def _on_threshold(self, _: int) -> None:
        self._write()
        self.threshold_changed.emit(self.sigmas)

    def _on_opacity(self, _: int) -> None:
        self._write()
        self.opacity_changed.emit(self.alpha)

    def _write(self) -> None:
        self.threshold_text.setText(f"{self.sigmas:.1f} SD")
        self.opacity_text.setText(f"{self.opacity.value()} %")


class HeatBar(QWidget):
    """Colour bar of a heatmap, from "darker" to "brighter", with its numbers."""

    def __init__(self, colors: np.ndarray, parent: QWidget) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        ramp = np.ascontiguousarray(np.rint(colors * 255).astype(np.uint8))
        number = len(ramp)
        self._image = QImage(
            ramp.tobytes(), number, 1, 4 * number, QImage.Format.Format_RGBA8888
        ).copy()
        self._texts = ("darker", "", "brighter")
        self.setToolTip(
            "How much darker or brighter the model draws a place when it takes the cell for the "
            "target instead, in percent of full brightness."
        )

    def set_scale(self, limit: float, target: str) -> None:
        """Write the ends of the scale, and whose version is meant."""
        end = percent_of_brightness(limit)
        self._texts = (f"{end} darker", f"as {target}", f"{end} brighter")
        self.update()

    def texts(self) -> tuple[str, str, str]:
        """Return what stands at the left end, in the middle and at the right end."""
        return self._texts

    def sizeHint(self) -> QSize:
        """Size for a bar and a line of text."""
        return QSize(200, _BAR + 4 + self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the bar and the texts."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        width = self.width()
        painter.fillRect(0, 0, width, _BAR, QColor("white"))
        painter.drawImage(QRectF(0, 0, width, _BAR), self._image)
        painter.setPen(self.palette().color(self.foregroundRole()))
        line = QRectF(0, _BAR + 2, width, self.fontMetrics().height())
        left, middle, right = self._texts
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft, left)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight, right)
        used = 2 * max(map(self.fontMetrics().horizontalAdvance, (left, right)))
        if used + self.fontMetrics().horizontalAdvance(middle) + 16 < width:
            painter.drawText(line, Qt.AlignmentFlag.AlignHCenter, middle)
        painter.end()


def percent_of_brightness(share: float) -> str:
    """Write a small share of full brightness with two digits that mean something."""
    percent = 100 * share
    digits: Any = 0 if percent >= 10 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f} %"
