"""What else *Evaluate* can measure: rivals, other laboratories, a class left out, annotators."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qtpy.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from cytodiffusion.errors import InputError
from napari_cytodiffusion.widgets.common import form, note
from napari_cytodiffusion.widgets.fields import ErrorRateField, PixelSizeField
from napari_cytodiffusion.widgets.fold import Fold
from napari_cytodiffusion.widgets.paths import PathRows, TableField

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
