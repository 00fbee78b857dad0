"""The form of *Evaluate ...*: which model, on which images, and where the report goes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.settings import EVALUATED, EvaluateSettings
from napari_cytodiffusion.evaluate.jobs import in_window
from napari_cytodiffusion.evaluate.path_list import PathList
from napari_cytodiffusion.shared.common import RunBar, note
from napari_cytodiffusion.shared.defaults import defaults, knobs
from napari_cytodiffusion.shared.fold import FormArea
from napari_cytodiffusion.shared.settings_form import SettingsForm, checked, make_field

#: Fields that every evaluation has, and those that a first one does without.
_ROWS = ("model", "data", "output", "split", "limit", "pixel_size_um", "device")
_MORE = (
    "shift",
    "shift_pixel_size_um",
    "baselines",
    "leave_out",
    "leave_out_model",
    "annotations",
    "error_rate",
    "low_data",
)

#: What stands for no error rate, and the rate that is not insisted on.
_ANY, _USUAL_RATE = "any, mark none", ClassifySettings.model_fields["error_rate"].default

_TRAINS = (
    "A class left out without a model for it, and few labelled cells, train networks: that takes "
    "long, and what is trained is kept for the next time."
)


class EvaluateForm(QWidget):
    """Fields, and a bar that runs; it neither computes nor knows of workers.

    Signals
    -------
    asked (object)
        An `EvaluateSettings`.
    cancelled ()
    """

    asked = Signal(object)
    cancelled = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        inside = QWidget(self)
        about = knobs(EvaluateSettings)
        lists = {
            name: PathList(
                add,
                hint,
                named=name == "shift",
                label=about[name]["title"],
                tooltip=about[name]["description"],
            )
            for name, add, hint in (
                ("shift", "Laboratory", "folder or CSV"),
                ("baselines", "Baseline", "folder of a model"),
                ("leave_out_model", "Model without it", "folder of a model"),
            )
        }
        self.fields = SettingsForm(
            EvaluateSettings,
            (*_ROWS, *_MORE),
            widgets={**lists, "error_rate": make_field(ClassifySettings, "error_rate", none=_ANY)},
            words={
                "data": {"hint": "folder per class, or CSV"},
                "output": {"hint": "folder for the report"},
                "limit": {"none": "all"},
                "annotations": {"hint": "CSV, or study.db of a study", "path": "file"},
                "leave_out": {"hint": "class, its cells are the anomalies"},
                "low_data": {"hint": "such as 10, 20, 50"},
            },
            start=defaults("classification", "model", "device"),
            more=_MORE,
        )
        self.run_bar = RunBar("Evaluate", self)
        inner = QVBoxLayout(inside)
        inner.setContentsMargins(0, 4, 0, 0)
        inner.addWidget(note("Measures a model on labelled images of single cells.", inside))
        inner.addWidget(self.fields.native)
        self._trains = note(_TRAINS, inside)
        self._trains.hide()
        inner.addWidget(self._trains)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(FormArea(inside, self))
        layout.addWidget(self.run_bar)
        layout.addStretch(1)
        self.fields["data"].changed.connect(self._propose)
        self.fields.changed.connect(self._name_filled)
        self.fields.fold.toggled.connect(self._name_filled)
        self.fields.fold.toggled.connect(self._trains.setVisible)
        self.run_bar.run.connect(self._on_run)
        self.run_bar.cancel.connect(self.cancelled)

    def settings(self) -> EvaluateSettings:
        """Return what is asked for."""
        values = self.fields.values()
        names = Counter(name for name, _ in self.fields["shift"].rows.paths())
        for name, count in names.items():
            if count > 1:
                raise InputError(f"Two laboratories are called {name}: name one of them otherwise.")
            if name == EVALUATED:
                raise InputError(
                    f"The evaluated cells are called {name} in the report: name the laboratory "
                    "otherwise."
                )
        values["leave_out"] = values["leave_out"].strip() or None
        rate = self.fields["error_rate"].value
        asked = {} if rate == _USUAL_RATE else {"error_rate": rate}
        values["classify"] = checked(ClassifySettings, asked)
        return checked(EvaluateSettings, values)

    def _propose(self, data: Path | None) -> None:
        """Propose a folder beside the data for the report."""
        output = self.fields["output"]
        if data is not None and (output.value is None or output.value.name.endswith("-report")):
            output.value = data.with_name(f"{data.stem}-report")

    def _on_run(self, _: Any = None) -> None:
        try:
            settings = self.settings()
        except InputError as error:
            self.run_bar.line.setText(in_window(str(error)))
            return
        self.asked.emit(settings)

    def _name_filled(self, _: Any = None) -> None:
        """Let the line of the folded fields say which of them are filled."""
        fold = self.fields.fold
        usual = {"error_rate": _USUAL_RATE}
        filled = [
            self.fields[name].label
            for name in _MORE
            if self.fields[name].value and self.fields[name].value != usual.get(name)
        ]
        shown = bool(filled) and not fold.isChecked()
        fold.setText(f"More: {', '.join(filled).lower()}" if shown else "More")
