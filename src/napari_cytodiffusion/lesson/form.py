"""The form of *New lesson ...*: where the cells come from, which classes, and the texts."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QWidget

from cytodiffusion.lessons import LessonSettings
from cytodiffusion.lessons.settings import SUFFIX, with_ending
from napari_cytodiffusion.shared.new_file_form import SPLITS, NewFile, NewFileForm

#: Filter of the dialogs for files of lessons.
KINDS = f"Lesson (*{SUFFIX})"

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
    "source": {"hint": "empty: synthetic; or a study, a folder"},
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
    "split": SPLITS,
}

#: Rows that are folded away beside those that the class marks so.
_FOLDED = (
    *("model", "versions", "attributes", "standard_hints", "introduction", "language", "licence"),
    *("attribution", "split", "pixel_size_um", "seed", "device"),
)


class NewLessonForm(NewFileForm):
    """Asks for a lesson."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(
            parent,
            LessonSettings,
            _ROWS,
            _WORDS,
            output=NewFile("lesson", KINDS, with_ending),
            intro="Cells to name, and all that is told after each answer, in one file. Without a "
            "source the model draws synthetic cells.",
            button="Make lesson",
            source="source",
            more=_FOLDED,
        )

    def missing(self) -> str:
        """Say what is to be chosen first."""
        return "" if self.fields["output"].value else "Choose a file for the lesson."

    def propose(self, _: Any = None) -> None:
        """Propose a file beside the source."""
        source, output = self.fields["source"].value, self.fields["output"].value
        if source is not None and output is None:
            self.fields["output"].set_value(source.with_name(f"{source.stem}{SUFFIX}"))
