"""The form of *Evaluate ...*: which model, on which images, and where the report goes."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSpinBox, QVBoxLayout, QWidget

from cytodiffusion.errors import InputError
from napari_cytodiffusion.defaults import default
from napari_cytodiffusion.reports import EvaluateRequest
from napari_cytodiffusion.widgets.common import RunBar, form, note
from napari_cytodiffusion.widgets.evaluate_more import EvaluateMore
from napari_cytodiffusion.widgets.fields import DeviceField, ModelField, PixelSizeField
from napari_cytodiffusion.widgets.fold import FormArea
from napari_cytodiffusion.widgets.paths import FolderField

_SPLITS = (("test", "Test split"), ("val", "Validation split"), ("all", "All images"))


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
        inside = QWidget(self)
        self.model = ModelField(
            [("default", "Bundled")], "Own", "folder, or owner/name on the Hub", True, inside
        )
        self.model.set_value(default("classification", "model"))
        self.data = FolderField("folder per class, or CSV", "Folder of labelled cells", inside)
        self.output = FolderField("folder for the report", "Folder for the report", inside)
        self.split = QComboBox(inside)
        for value, text in _SPLITS:
            self.split.addItem(text, value)
        self.split.setToolTip("Which part of the data; without splits of its own take all.")
        self.limit = QSpinBox(inside)
        self.limit.setRange(0, 10_000_000)
        self.limit.setSpecialValueText("all")
        self.limit.setSingleStep(100)
        self.limit.setToolTip("Images of each set, drawn at random.")
        self.pixel_size = PixelSizeField(inside)
        self.pixel_size.setSpecialValueText("from the files, or estimated")
        self.pixel_size.setToolTip("Micrometres per pixel of the data's images.")
        self.device = DeviceField(inside, default("classification", "device"))
        self.more = EvaluateMore(inside)
        self.run_bar = RunBar("Evaluate", self)
        self._build(inside)
        self.data.changed.connect(self._propose)
        self.run_bar.run.connect(self._on_run)
        self.run_bar.cancel.connect(self.cancelled)

    def _build(self, inside: QWidget) -> None:
        fields = form(inside)
        for title, field in (
            ("Model", self.model),
            ("Data", self.data),
            ("Report", self.output),
            ("Split", self.split),
            ("Images", self.limit),
            ("Pixel size", self.pixel_size),
            ("Device", self.device),
        ):
            fields.addRow(title, field)
        inner = QVBoxLayout(inside)
        inner.setContentsMargins(0, 4, 0, 0)
        inner.addWidget(note("Measures a model on labelled images of single cells.", inside))
        inner.addLayout(fields)
        inner.addWidget(self.more)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(FormArea(inside, self))
        layout.addWidget(self.run_bar)
        layout.addStretch(1)

    def request(self) -> EvaluateRequest:
        """Return what is asked for.

        Raises
        ------
        InputError
            If something is missing, or makes no sense.
        """
        data, output = self.data.path(), self.output.path()
        if data is None or output is None:
            raise InputError("Choose the labelled cells, and a folder for the report.")
        return EvaluateRequest(
            model=self.model.value() or "default",
            data=data,
            output=output,
            split=str(self.split.currentData()),
            limit=self.limit.value() or None,
            pixel_size_um=self.pixel_size.pixel_size(),
            device=self.device.device(),
            **self.more.values(),
        )

    def _propose(self) -> None:
        """Propose a folder beside the data for the report."""
        data, output = self.data.path(), self.output.path()
        if data is not None and (output is None or output.name.endswith("-report")):
            self.output.set_path(data.with_name(f"{data.stem}-report"))

    def _on_run(self, _: Any = None) -> None:
        try:
            request = self.request()
        except InputError as error:
            self.run_bar.line.setText(str(error))
            return
        self.asked.emit(request)
