"""How a heatmap is shown: threshold, opacity, and the colour bar."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from cytodiffusion.counterfactual.settings import HeatmapSettings
from napari_cytodiffusion.counterfactual.form import WindowSettings
from napari_cytodiffusion.counterfactual.texts import percent_of_brightness
from napari_cytodiffusion.shared.defaults import MOST_SIGMAS
from napari_cytodiffusion.shared.settings_form import SettingsForm, make_field

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
        self.form = SettingsForm(
            HeatmapSettings,
            ("sigmas", "opacity"),
            widgets={"opacity": make_field(WindowSettings, "opacity", slider=True)},
            words={"sigmas": {"slider": True, "maximum": MOST_SIGMAS, "decimals": 1}},
            start={"sigmas": sigmas},
        )
        self.threshold, self.opacity = self.form["sigmas"], self.form["opacity"]
        self.bar = HeatBar(colors, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form.native)
        layout.addWidget(self.bar)
        self.threshold.changed.connect(self.threshold_changed.emit)
        self.opacity.changed.connect(lambda _: self.opacity_changed.emit(self.alpha))

    @property
    def sigmas(self) -> float:
        """Threshold in standard deviations."""
        return float(self.threshold.value)

    @property
    def alpha(self) -> float:
        """Opacity, 0 to 1."""
        return float(self.opacity.value) / 100


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
