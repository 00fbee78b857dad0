"""The first page of *Authenticity test*: open or make a test, say who one is, begin or go on."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_cytodiffusion.authenticity.form import NewTestForm
from napari_cytodiffusion.shared.sitting_start import Sitting, SittingStart

_EMPTY = (
    "Can people tell synthetic cells from real ones? Make a test, or open one, and say which "
    "cells are real."
)


class _Participant(BaseModel):
    """Who takes the test, and how."""

    name: str = Field(
        "",
        title="Participant",
        description="Who answers; the same name goes on with what was begun.",
        json_schema_extra={"hint": "a name, or a code to stay anonymous"},
    )
    mode: Literal["blind", "teaching"] = Field(
        "blind",
        title="Mode",
        description="Whether the answers are told at the end only, or at once.",
        json_schema_extra={
            "choices": {
                "blind": "Blind: the answers are shown at the end",
                "teaching": "Teaching: each answer is told and explained at once",
            }
        },
    )


class StartPage(SittingStart):
    """Chooses test, participant and mode.

    Signals
    -------
    results (str)
        Mode.
    """

    results = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        self.results_button = QPushButton("Results")
        super().__init__(
            parent,
            what="test",
            file="File of an authenticity test",
            form=NewTestForm(parent),
            person=_Participant,
            empty=_EMPTY,
            columns=("participant", "mode", "answered", "begun"),
            last=self.results_button,
        )
        self.results_button.clicked.connect(lambda: self.results.emit(self.mode.value))

    def going_on(self, own: Sitting) -> str:
        """Return the words of the button that resumes a test, whose cells are in a fixed order."""
        return f"Resume at {own.done + 1} of {own.of}"

    def refresh(self, _: Any = None) -> None:
        """Say what the buttons would do."""
        super().refresh()
        mode = self.mode.value
        self.results_button.setEnabled(any(s.done for s in self._sittings if s.mode == mode))
        self.results_button.setText("Results" if mode == "blind" else "Results of teaching")
