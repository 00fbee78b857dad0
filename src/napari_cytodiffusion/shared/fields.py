"""Form fields of the dock widgets: pixel size, device, a model by name or by path."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QToolButton,
    QWidget,
)

from cytodiffusion.errors import InputError
from napari_cytodiffusion.layers.placement import pixel_size_of

#: Devices that can be asked for, with what they are called.
DEVICES = (
    ("auto", "Automatic"),
    ("cpu", "CPU"),
    ("cuda", "GPU (CUDA)"),
    ("mps", "GPU (Apple)"),
)


class PixelSizeField(QDoubleSpinBox):
    """Micrometres a pixel; 0 means "measure it by the red cells"."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setDecimals(4)
        self.setRange(0.0, 10.0)
        self.setSingleStep(0.01)
        self.setSuffix(" \u00b5m")
        self.setSpecialValueText("by the red cells")
        self.setToolTip(
            "Micrometres per pixel. Taken from the layer's scale where its units are physical; "
            "0 measures it by the red cells, which are 7.5 \u00b5m across."
        )

    def follow(self, *layers: Layer | None) -> None:
        """Take the pixel size of the first layer that knows one; measure where none does."""
        for layer in layers:
            try:
                size = None if layer is None else pixel_size_of(layer)
            except InputError as error:
                self.setToolTip(str(error))
                continue
            if size is not None and self.minimum() < size <= self.maximum():
                self.setValue(size)
                return
        self.setValue(0.0)

    def pixel_size(self) -> float | None:
        """Micrometres per pixel, None to measure."""
        return self.value() or None


class ErrorRateField(QDoubleSpinBox):
    """Percentage of accepted cells that may be wrong; 0 holds no cell back for review."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setDecimals(1)
        self.setRange(0.0, 50.0)
        self.setSingleStep(0.5)
        self.setPrefix("at most ")
        self.setSuffix(" %, review the rest")
        self.setSpecialValueText("any, review none")
        self.setToolTip(
            "Review cells so that at most so many percent of the accepted ones are wrong. The "
            "confidence that this takes was found on the model's validation cells."
        )

    def error_rate(self) -> float | None:
        """Share of accepted cells that may be wrong, None where all are accepted."""
        return self.value() / 100 or None


class DeviceField(QComboBox):
    """Where the network runs."""

    def __init__(self, parent: QWidget, device: str = "auto") -> None:
        super().__init__(parent)
        for value, text in DEVICES:
            self.addItem(text, value)
        self.setCurrentIndex(max(0, self.findData(device)))
        self.setToolTip("Where the network runs; automatic takes a GPU when there is one.")

    def device(self) -> str:
        """Name of the device for the engine."""
        return str(self.currentData())


class ModelField(QWidget):
    """One of the known models, or a path or name of the user's own.

    Parameters
    ----------
    known : list of (str, str)
        Value and text of the known models.
    own_text : str
        Text of the entry that opens the line for one's own.
    hint : str
        Shown in the empty line.
    folder : bool
        Whether the button browses for a folder rather than for a file.
    """

    changed = Signal()

    def __init__(
        self, known: list[tuple[str, str]], own_text: str, hint: str, folder: bool, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._folder = folder
        self.combo = QComboBox(self)
        for value, text in known:
            self.combo.addItem(text, value)
        self.combo.addItem(own_text, None)
        self.line = QLineEdit(self)
        self.line.setPlaceholderText(hint)
        self.browse = QToolButton(self)
        self.browse.setText("...")
        self.browse.setToolTip("Look for it on this computer")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.combo, 1)
        layout.addWidget(self.line, 2)
        layout.addWidget(self.browse)
        self.combo.currentIndexChanged.connect(self._on_choice)
        self.line.editingFinished.connect(self.changed)
        self.browse.clicked.connect(self._on_browse)
        self._on_choice()

    def value(self) -> str:
        """Return the value of the known model, or what was typed."""
        known = self.combo.currentData()
        return str(known) if known is not None else self.line.text().strip()

    def set_value(self, value: str) -> None:
        """Choose a known model, or enter one's own."""
        index = self.combo.findData(value)
        if index < 0:
            self.line.setText(value)
            index = self.combo.count() - 1
        self.combo.setCurrentIndex(index)

    def _on_choice(self, _: Any = None) -> None:
        own = self.combo.currentData() is None
        self.line.setVisible(own)
        self.browse.setVisible(own)
        self.changed.emit()

    def _on_browse(self) -> None:
        if self._folder:
            path = QFileDialog.getExistingDirectory(self, "Folder of the model")
        else:
            path, _ = QFileDialog.getOpenFileName(self, "File of weights")
        if path:
            self.line.setText(path)
            self.changed.emit()
