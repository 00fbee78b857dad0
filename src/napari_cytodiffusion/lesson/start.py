"""The first page of *Lesson*: open or make one, read what it is about, say who one is, begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_cytodiffusion.lesson.form import NewLessonForm
from napari_cytodiffusion.shared.common import note
from napari_cytodiffusion.shared.sitting_start import Sitting, SittingStart

_EMPTY = (
    "Learn to tell blood cells apart: open a lesson, or make one from a study, a folder of "
    "labelled images, or synthetic cells."
)


class _Learner(BaseModel):
    """Who learns, and how."""

    name: str = Field(
        "",
        title="Learner",
        description="Who answers; the same name goes on with what was begun.",
        json_schema_extra={"hint": "your name, or a code to stay anonymous"},
    )
    mode: Literal["practise", "test"] = Field(
        "practise",
        title="Mode",
        description="Whether the truth is told after each cell, or at the end only.",
        json_schema_extra={
            "choices": {
                "practise": "Practise: told at once, wrong cells come again",
                "test": "Test: told at the end",
            }
        },
    )


class StartPage(SittingStart):
    """Chooses lesson, learner and mode.

    Signals
    -------
    export ()
    """

    export = Signal()

    def __init__(self, parent: QWidget) -> None:
        self.about = note("", parent)
        self.about.setTextFormat(Qt.TextFormat.RichText)
        self.export_button = QPushButton("Export all results ...")
        self.export_button.setToolTip(
            "Answers as CSV, scores, what was taken for what, and the difficulty of each cell"
        )
        super().__init__(
            parent,
            what="lesson",
            file="File of a lesson",
            form=NewLessonForm(parent),
            person=_Learner,
            empty=_EMPTY,
            columns=("learner", "mode", "cells", "begun"),
            last=self.export_button,
            about=self.about,
        )
        self.sittings.setMaximumHeight(200)
        self.export_button.clicked.connect(self.export)

    def show_lesson(self, title: str, about: str, sittings: Sequence[Sitting]) -> None:
        """Show an opened lesson and who has begun it."""
        self.about.setText(about)
        self.export_button.setVisible(bool(sittings))
        self.show_opened(title, sittings)
