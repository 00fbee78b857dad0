"""The form of *Evaluate ...*: which model, on which images, and where the report goes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from cytodiffusion.errors import InputError
from napari_cytodiffusion.evaluate.jobs import EvaluateRequest
from napari_cytodiffusion.shared.common import RunBar, form, note
from napari_cytodiffusion.shared.defaults import default
from napari_cytodiffusion.shared.fields import (
    DeviceField,
    ErrorRateField,
    ModelField,
    PixelSizeField,
)
from napari_cytodiffusion.shared.fold import Fold, FormArea
from napari_cytodiffusion.shared.paths import FolderField, PathRows, TableField

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


#: The report calls the evaluated data so.
_TAKEN = "data"


class EvaluateMore(Fold):
    """Fields that a first evaluation does without; folded, its line names those that are filled."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__("More", parent)
        self.shift = PathRows(
            "Laboratory", "folder or CSV", "Folder of another laboratory's cells", True, self
        )
        self.shift_pixel_size = PixelSizeField(self)
        self.baselines = PathRows(
            "Baseline",
            "folder of a model",
            "Folder of a classifier to stand beside it",
            False,
            self,
        )
        self.leave_out = QLineEdit(self)
        self.leave_out.setPlaceholderText("class, its cells are the anomalies")
        self.without = PathRows(
            "Model without it",
            "folder of a model",
            "Folder of a model that was trained without that class",
            False,
            self,
        )
        self.annotations = TableField(
            "optional, CSV", "Table of what people answered: image, annotator, label", self
        )
        self.error_rate = ErrorRateField(self)
        self.low_data = QLineEdit(self)
        self.low_data.setPlaceholderText("such as 10, 20, 50")
        self._tell()
        self._build()

    def _tell(self) -> None:
        self.shift.setToolTip("The same classes from elsewhere, for the domain shift.")
        self.shift_pixel_size.setSpecialValueText("from the files, or estimated")
        self.shift_pixel_size.setToolTip(
            "Micrometres per pixel of all the other laboratories' images; 0 looks for it in the "
            "files, and else estimates it for each laboratory."
        )
        self.leave_out.setToolTip(
            "Name of a class of the data. A copy of the model is trained without it, and of each "
            "baseline; its cells are then to be called anomalous."
        )
        self.without.setToolTip(
            "Copies that are there: each stands for the first of its kind among the model and the "
            "baselines. Those that are missing are trained."
        )
        self.annotations.setToolTip(
            "Answers of people, for psychometric curves beside the model's."
        )
        self.low_data.setToolTip(
            "Labelled cells a class: balanced accuracy with so few of them. Dozens of small "
            "networks are trained for it."
        )

    def _build(self) -> None:
        fields = form(self.inside)
        self._fields: tuple[tuple[str, Any], ...] = (
            ("Other labs", self.shift),
            ("Their pixels", self.shift_pixel_size),
            ("Baselines", self.baselines),
            ("Leave out", self.leave_out),
            ("Without it", self.without),
            ("Annotators", self.annotations),
            ("Error rate", self.error_rate),
            ("Few labels", self.low_data),
        )
        for title, field in self._fields:
            fields.addRow(title, field)
        layout = QVBoxLayout(self.inside)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(fields)
        layout.addWidget(
            note(
                "A class left out without a model for it, and few labels, train networks: that "
                "takes long, and what is trained is kept for the next time.",
                self.inside,
            )
        )
        for field in (self.shift, self.baselines, self.without, self.annotations):
            field.changed.connect(self._name_filled)
        for line in (self.leave_out, self.low_data):
            line.textChanged.connect(self._name_filled)
        self.error_rate.valueChanged.connect(self._name_filled)
        self.button.toggled.connect(self._name_filled)

    def values(self) -> dict[str, Any]:
        """Return these fields of an `EvaluateRequest`.

        Raises
        ------
        InputError
            If they make no sense.
        """
        leave_out = self.leave_out.text().strip() or None
        without = tuple(path for _, path in self.without.paths())
        if without and leave_out is None:
            raise InputError(f"Name the class to leave out that {without[0].name} does not know.")
        return {
            "shift": self._shift(),
            "shift_pixel_size_um": self.shift_pixel_size.pixel_size(),
            "baselines": tuple(path for _, path in self.baselines.paths()),
            "leave_out": leave_out,
            "leave_out_model": without,
            "annotations": self.annotations.path(),
            "error_rate": self.error_rate.error_rate(),
            "low_data": self._low_data(),
        }

    def _shift(self) -> dict[str, Any]:
        found = self.shift.paths()
        counts = Counter(name for name, _ in found)
        for name, count in counts.items():
            if count > 1:
                raise InputError(f"Two laboratories are called {name}: name one of them otherwise.")
            if name == _TAKEN:
                raise InputError(
                    f"The evaluated cells are called {name} in the report: name the laboratory "
                    "otherwise."
                )
        return dict(found)

    def _low_data(self) -> tuple[int, ...]:
        text = self.low_data.text().strip()
        try:
            sizes = tuple(int(part) for part in text.split(",")) if text else ()
        except ValueError:
            sizes = (0,)
        if any(size < 1 for size in sizes):
            raise InputError(f"{text!r} is not a list of numbers of cells such as 10, 20, 50.")
        return sizes

    def _name_filled(self, _: Any = None) -> None:
        filled = {
            "Other labs": self.shift.paths(),
            "Baselines": self.baselines.paths(),
            "Leave out": self.leave_out.text().strip() or self.without.paths(),
            "Annotators": self.annotations.path(),
            "Error rate": self.error_rate.error_rate(),
            "Few labels": self.low_data.text().strip(),
        }
        titles = [title.lower() for title, value in filled.items() if value]
        shown = bool(titles) and not self.button.isChecked()
        self.button.setText(f"More: {', '.join(titles)}" if shown else "More")
