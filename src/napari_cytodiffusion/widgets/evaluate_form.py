"""The form of *Evaluate ...*: which model, on which images, and where the report goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.defaults import default
from napari_cytodiffusion.reports import EvaluateRequest
from napari_cytodiffusion.widgets.common import RunBar, form, note
from napari_cytodiffusion.widgets.fields import DeviceField, ModelField, PixelSizeField

_SPLITS = (("test", "Test split"), ("val", "Validation split"), ("all", "All images"))


class FolderField(QWidget):
    """A line for a folder, with a button that looks for it."""

    changed = Signal()

    def __init__(self, hint: str, title: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._title = title
        self.line = QLineEdit(self)
        self.line.setPlaceholderText(hint)
        self.browse = QToolButton(self)
        self.browse.setText("...")
        self.browse.setToolTip(title)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.browse)
        self.browse.clicked.connect(self._on_browse)
        self.line.textChanged.connect(lambda _: self.changed.emit())

    def path(self) -> Path | None:
        """Return what was entered; None when nothing was."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def set_path(self, path: Path) -> None:
        """Enter a folder."""
        self.line.setText(str(path))

    def _on_browse(self) -> None:
        found = QFileDialog.getExistingDirectory(self, self._title)
        if found:
            self.line.setText(found)


class EvaluateForm(QWidget):
    """Fields, and a bar that runs; it neither computes nor knows of workers.

    Signals
    -------
    asked (object)
        An `EvaluateRequest`.
    cancelled ()
    """

    asked = Signal(object)
    cancelled = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.model = ModelField(
            [("default", "Bundled")], "Own", "folder, or owner/name on the Hub", True, self
        )
        self.model.set_value(default("classification", "model"))
        self.data = FolderField("folder per class, or CSV", "Folder of labelled cells", self)
        self.shift = FolderField("optional", "Folder of another laboratory's cells", self)
        self.shift.setToolTip("The same classes from elsewhere, for the domain shift.")
        self.output = FolderField("folder for the report", "Folder for the report", self)
        self.split = QComboBox(self)
        for value, text in _SPLITS:
            self.split.addItem(text, value)
        self.split.setToolTip("Which part of the data; without splits of its own take all.")
        self.limit = QSpinBox(self)
        self.limit.setRange(0, 10_000_000)
        self.limit.setSpecialValueText("all")
        self.limit.setSingleStep(100)
        self.limit.setToolTip("Images of each set, drawn at random.")
        self.pixel_size = PixelSizeField(self)
        self.device = DeviceField(self, default("classification", "device"))
        self.run_bar = RunBar("Evaluate", self)
        fields = form(self)
        for title, field in (
            ("Model", self.model),
            ("Data", self.data),
            ("Other lab", self.shift),
            ("Report", self.output),
            ("Split", self.split),
            ("Images", self.limit),
            ("Pixel size", self.pixel_size),
            ("Device", self.device),
        ):
            fields.addRow(title, field)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(
            note(
                "Measures a model on labelled images of single cells. Baselines, a class left out "
                "and more: cytodiffusion evaluate --help.",
                self,
            )
        )
        layout.addLayout(fields)
        layout.addWidget(self.run_bar)
        layout.addStretch(1)
        self.data.changed.connect(self._propose)
        self.run_bar.run.connect(self._on_run)
        self.run_bar.cancel.connect(self.cancelled)

    def request(self) -> EvaluateRequest | None:
        """Return what is asked for; None while data or report are missing."""
        data, output = self.data.path(), self.output.path()
        if data is None or output is None:
            return None
        return EvaluateRequest(
            model=self.model.value() or "default",
            data=data,
            output=output,
            shift=self.shift.path(),
            split=str(self.split.currentData()),
            limit=self.limit.value() or None,
            pixel_size_um=self.pixel_size.pixel_size(),
            device=self.device.device(),
        )

    def _propose(self) -> None:
        """Propose a folder beside the data for the report."""
        data, output = self.data.path(), self.output.path()
        if data is not None and (output is None or output.name.endswith("-report")):
            self.output.set_path(data.with_name(f"{data.stem}-report"))

    def _on_run(self, _: Any = None) -> None:
        request = self.request()
        if request is None:
            self.run_bar.line.setText("Choose the labelled cells, and a folder for the report.")
            return
        self.asked.emit(request)
