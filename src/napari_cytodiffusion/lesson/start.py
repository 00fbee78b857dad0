"""The first page of *Lesson*: open or make one, read what it is about, say who one is, begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_cytodiffusion.lesson.form import NewLessonForm
from napari_cytodiffusion.shared.common import OpenButton, note, plain_note
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.shared.table import FigureTable, Table, short

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


@dataclass(frozen=True)
class Sitting:
    """A learner's way through the lesson, as the table shows it."""

    learner: str
    mode: str
    started: str
    done: int
    of: int

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return self.done >= self.of


class StartPage(QWidget):
    """Chooses lesson, learner and mode.

    Signals
    -------
    browse ()
    begin (str, str)
        Name and mode.
    export ()
    """

    browse = Signal()
    begin = Signal(str, str)
    export = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.open_button = OpenButton("Open lesson ...", "File of a lesson", self)
        self.recent = self.open_button.recent
        self.new_button = QPushButton("New lesson ...", self)
        self.new_button.setCheckable(True)
        self.form = NewLessonForm(self)
        self.form.hide()
        self.hint = note(_EMPTY, self)
        self.title = plain_note("", self)
        bold = self.title.font()
        bold.setBold(True)
        self.title.setFont(bold)
        self.remarks = plain_note("", self)
        self.remarks.hide()
        self.panel = self._build_panel()
        self.panel.hide()
        buttons = QHBoxLayout()
        buttons.addWidget(self.open_button, 1)
        buttons.addWidget(self.new_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.form)
        layout.addWidget(self.hint)
        layout.addWidget(self.title)
        layout.addWidget(self.remarks)
        layout.addWidget(self.panel, 1)
        layout.addStretch(0)
        self.open_button.clicked.connect(self.browse)
        self.new_button.toggled.connect(self._on_form)

    def _build_panel(self) -> QWidget:
        panel = QWidget(self)
        self.fields = SettingsForm(_Learner, ("name", "mode"))
        self.name, self.mode = self.fields["name"], self.fields["mode"]
        self.begin_button = QPushButton("Begin", panel)
        self.begin_button.setMinimumHeight(34)
        self.about = note("", panel)
        self.about.setTextFormat(Qt.TextFormat.RichText)
        self.sittings = FigureTable(False, panel)
        self.sittings.setToolTip("Click a line to go on with it")
        self.sittings.setMaximumHeight(200)
        self.export_button = QPushButton("Export all results ...", panel)
        self.export_button.setToolTip(
            "Answers as CSV, scores, what was taken for what, and the difficulty of each cell"
        )
        layout = QVBoxLayout(panel)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.fields.native)
        layout.addWidget(self.begin_button)
        layout.addWidget(self.about)
        layout.addWidget(self.sittings, 1)
        layout.addWidget(self.export_button)
        layout.addStretch(0)
        self._sittings: Sequence[Sitting] = ()
        self.fields.changed.connect(self.refresh)
        self.name.native.returnPressed.connect(self._on_begin)
        self.begin_button.clicked.connect(self._on_begin)
        self.sittings.cellClicked.connect(self._on_line)
        self.export_button.clicked.connect(self.export)
        return panel

    def show_lesson(self, title: str, about: str, sittings: Sequence[Sitting]) -> None:
        """Show an opened lesson and who has begun it."""
        self._sittings = sittings
        self.title.setText(title)
        self.about.setText(about)
        self.new_button.setChecked(False)
        self._on_form(False)
        rows = tuple(
            (
                (short(s.learner), s.learner),
                (s.mode, s.mode),
                ("finished" if s.finished else f"{s.done} of {s.of}", s.done),
                (s.started[:16].replace("T", " "), s.started),
            )
            for s in sittings
        )
        self.sittings.set_table(Table(("learner", "mode", "cells", "begun"), rows), None, 2)
        self.sittings.setVisible(bool(rows))
        self.export_button.setVisible(bool(rows))
        self.refresh()

    def show_remarks(self, remarks: Sequence[str]) -> None:
        """Tell who has made a lesson what was noticed; who learns should not read that first."""
        self.remarks.setText("\n".join(f"\u2022 {text}" for text in remarks))
        self.remarks.setVisible(bool(remarks))

    def refresh(self, _: Any = None) -> None:
        """Say what the button would do."""
        name = " ".join(self.name.value.split()).casefold()
        for s in self._sittings:
            own = (s.learner.casefold(), s.mode) == (name, self.mode.value)
            if own and not s.finished:
                self.begin_button.setText(f"Go on: {s.done} of {s.of} done")
                return
        self.begin_button.setText("Begin")

    def _on_begin(self, _: Any = None) -> None:
        self.begin.emit(self.name.value, self.mode.value)

    def _on_line(self, row: int, _: int) -> None:
        info = self._sittings[row]
        self.mode.value, self.name.value = info.mode, info.learner

    def _on_form(self, shown: bool) -> None:
        self.form.setVisible(shown)
        opened = bool(self.title.text())
        self.panel.setVisible(not shown and opened)
        self.title.setVisible(not shown and opened)
        self.remarks.setVisible(not shown and opened and bool(self.remarks.text()))
        self.hint.setVisible(not shown and not opened)
