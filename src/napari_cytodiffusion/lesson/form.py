"""The form of *New lesson ...*: where the cells come from, which classes, and the texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from cytodiffusion.errors import InputError
from cytodiffusion.lessons import LessonSettings
from cytodiffusion.lessons.settings import SUFFIX, with_ending
from napari_cytodiffusion.shared.choosers import PathEdit
from napari_cytodiffusion.shared.common import RunBar, note
from napari_cytodiffusion.shared.defaults import defaults
from napari_cytodiffusion.shared.settings_form import SettingsForm

#: Rows of the form from the top; those that the class marks are folded away.
_ROWS = (
    "source",
    "classes",
    ("per_class", "references"),
    "title",
    "author",
    "hints",
    "explain",
    "output",
    "model",
    "versions",
    "attributes",
    "standard_hints",
    "introduction",
    "language",
    "licence",
    "attribution",
    "split",
    "pixel_size_um",
    "seed",
    "device",
)

#: What a form can say beyond what the settings say.
_WORDS: dict[str, dict[str, Any]] = {
    "source": {"hint": "synthetic; or a study, a folder per class"},
    "classes": {"hint": "all, or names with commas between"},
    "per_class": {"unit": ""},
    "references": {"unit": ""},
    "versions": {"unit": ""},
    "title": {"hint": "as its file"},
    "author": {"hint": "your name or department"},
    "hints": {"hint": "standard ones; or a CSV", "path": "file"},
    "pixel_size_um": {"none": "as the files say"},
    "attributes": {"hint": "all that the model tells"},
    "licence": {"hint": "such as CC BY 4.0"},
    "attribution": {"hint": "who is to be named for the images"},
    "split": {
        "choices": {
            "all": "All images",
            "test": "Test split",
            "val": "Validation split",
            "train": "Training split",
        }
    },
}

#: Rows that are folded away beside those that the class marks so.
_FOLDED = (
    *("model", "versions", "attributes", "standard_hints", "introduction", "language", "licence"),
    *("attribution", "split", "pixel_size_um", "seed", "device"),
)


class LessonFile(PathEdit):
    """A line for the file of a lesson, which gets the ending of one where it has none."""

    def get_value(self) -> Path | None:
        """Return the file."""
        path = super().get_value()
        return None if path is None else with_ending(path)


class NewLessonForm(QWidget):
    """Fields, and a bar that runs; it neither computes nor knows of workers.

    Signals
    -------
    asked (object)
        `LessonSettings`.
    cancelled ()
    """

    asked = Signal(object)
    cancelled = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        output = LessonFile(
            "File of the new lesson",
            "file of the lesson",
            "w",
            filter=f"Lesson (*{SUFFIX})",
            name="output",
            label="File of the lesson",
        )
        self.fields = SettingsForm(
            LessonSettings,
            _ROWS,
            widgets={"output": output},
            words=_WORDS,
            start=defaults("classification", "model", "device"),
            more=_FOLDED,
        )
        self.run_bar = RunBar("Make lesson", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(
            note(
                "Cells to name, and all that is told after each answer, in one file. Without a "
                "source the model draws synthetic cells.",
                self,
            )
        )
        layout.addWidget(self.fields.native)
        layout.addWidget(self.run_bar)
        layout.addStretch(1)
        self.fields["source"].changed.connect(self._propose)
        self.run_bar.run.connect(self._on_run)
        self.run_bar.cancel.connect(self.cancelled)

    def settings(self) -> LessonSettings:
        """Return what is asked for."""
        if self.fields["output"].value is None:
            raise InputError("Choose a file for the lesson.")
        values = self.fields.values()
        found: LessonSettings = self.fields.settings(model=values["model"] or "default")
        return found

    def _propose(self, _: Any = None) -> None:
        """Propose a file beside the source."""
        source, output = self.fields["source"].value, self.fields["output"].value
        if source is not None and output is None:
            self.fields["output"].set_value(source.with_name(f"{source.stem}{SUFFIX}"))

    def _on_run(self, _: Any = None) -> None:
        try:
            self.asked.emit(self.settings())
        except InputError as error:
            self.run_bar.line.setText(str(error))
