"""The first page of *Authenticity test*: open or make a test, say who one is, begin or go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.authenticity import SessionInfo
from napari_cytodiffusion.authenticity.form import NewTestForm
from napari_cytodiffusion.shared.common import OpenButton, note, plain_note
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.shared.table import FigureTable, Table, short

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


class StartPage(QWidget):
    """Chooses test, participant and mode.

    Signals
    -------
    browse ()
    begin (str, str)
        Name and mode.
    results (str)
        Mode.
    """

    browse = Signal()
    begin = Signal(str, str)
    results = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.open_button = OpenButton("Open test ...", "File of an authenticity test", self)
        self.recent = self.open_button.recent
        self.new_button = QPushButton("New test ...", self)
        self.new_button.setCheckable(True)
        self.form = NewTestForm(self)
        self.form.hide()
        self.hint = note(_EMPTY, self)
        self.title = note("", self)
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        bold = self.title.font()
        bold.setBold(True)
        self.title.setFont(bold)
        self.remarks = note("", self)
        self.remarks.setTextFormat(Qt.TextFormat.PlainText)
        self.remarks.hide()
        self.leaks = plain_note("", self)
        self.leaks.hide()
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
        layout.addWidget(self.leaks)
        layout.addWidget(self.remarks)
        layout.addWidget(self.panel, 1)
        layout.addStretch(0)
        self.open_button.clicked.connect(self.browse)
        self.new_button.toggled.connect(self._on_form)

    def _build_panel(self) -> QWidget:
        panel = QWidget(self)
        self.fields = SettingsForm(_Participant, ("name", "mode"))
        self.name, self.mode = self.fields["name"], self.fields["mode"]
        self.begin_button = QPushButton("Begin", panel)
        self.begin_button.setMinimumHeight(34)
        self.sittings = FigureTable(False, panel)
        self.sittings.setToolTip("Click a line to go on with it")
        self.results_button = QPushButton("Results", panel)
        layout = QVBoxLayout(panel)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.fields.native)
        layout.addWidget(self.begin_button)
        layout.addWidget(self.sittings, 1)
        layout.addWidget(self.results_button)
        layout.addStretch(0)
        self._infos: Sequence[SessionInfo] = ()
        self.fields.changed.connect(self.refresh)
        self.name.native.returnPressed.connect(self._on_begin)
        self.begin_button.clicked.connect(self._on_begin)
        self.sittings.cellClicked.connect(self._on_line)
        self.results_button.clicked.connect(lambda: self.results.emit(self.mode.value))
        return panel

    def show_test(self, title: str, sittings: Sequence[SessionInfo], leaks: str = "") -> None:
        """Show an opened test, what could give the answers away, and who has taken it."""
        self.leaks.setText(leaks)
        self._infos = sittings
        self.title.setText(title)
        self.new_button.setChecked(False)
        self._on_form(False)
        rows = tuple(
            (
                (short(s.participant), s.participant),
                (s.mode, s.mode),
                ("finished" if s.finished else f"{s.answered} of {s.of}", s.answered),
                (s.started[:16].replace("T", " "), s.started),
            )
            for s in sittings
        )
        self.sittings.set_table(Table(("participant", "mode", "answered", "begun"), rows), None, 2)
        self.sittings.setVisible(bool(rows))
        self.refresh()

    def show_remarks(self, remarks: Sequence[str]) -> None:
        """Tell who has made a test what was noticed; who takes it should not read that first."""
        self.remarks.setText("\n".join(f"\u2022 {text}" for text in remarks))
        self.remarks.setVisible(bool(remarks))

    def _own(self) -> SessionInfo | None:
        """Return the unfinished sitting that the name and the mode mean."""
        name = " ".join(self.name.value.split()).casefold()
        for s in self._infos:
            own = (s.participant.casefold(), s.mode) == (name, self.mode.value)
            if own and not s.finished:
                return s
        return None

    def refresh(self, _: Any = None) -> None:
        """Say what the buttons would do."""
        own = self._own()
        self.begin_button.setText(
            "Begin" if own is None else f"Resume at {own.answered + 1} of {own.of}"
        )
        mode = self.mode.value
        answered = any(s.answered for s in self._infos if s.mode == mode)
        self.results_button.setEnabled(answered)
        self.results_button.setText("Results" if mode == "blind" else "Results of teaching")

    def _on_begin(self, _: Any = None) -> None:
        self.begin.emit(self.name.value, self.mode.value)

    def _on_line(self, row: int, _: int) -> None:
        info = self._infos[row]
        self.mode.value, self.name.value = info.mode, info.participant

    def _on_form(self, shown: bool) -> None:
        self.form.setVisible(shown)
        opened = bool(self.title.text())
        self.panel.setVisible(not shown and opened)
        self.title.setVisible(not shown and opened)
        self.remarks.setVisible(not shown and opened and bool(self.remarks.text()))
        self.leaks.setVisible(not shown and opened and bool(self.leaks.text()))
        self.hint.setVisible(not shown and not opened)
