"""The first page of what people sit for: open or make one, say who one is, begin or go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_cytodiffusion.shared.common import OpenButton, note, plain_note
from napari_cytodiffusion.shared.new_file_form import NewFileForm
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.shared.table import FigureTable, Table, short


@dataclass(frozen=True)
class Sitting:
    """A person's way through a test or a lesson, as the table shows it."""

    name: str
    mode: str
    started: str
    done: int
    of: int

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return self.done >= self.of


class SittingStart(QWidget):
    """Chooses what to sit for, who one is, and the mode.

    Signals
    -------
    browse ()
    begin (str, str)
        Name and mode.

    Parameters
    ----------
    what : str
        Such as ``lesson``.
    file : str
        What its file is called in the tooltip.
    form : NewFileForm
        Makes one.
    person : type of BaseModel
        Fields ``name`` and ``mode``.
    empty : str
        Shown while none is open.
    columns : sequence of str
        Titles of the table of sittings.
    about, last : widget
        Shown above and below that table.
    """

    browse = Signal()
    begin = Signal(str, str)

    def __init__(
        self,
        parent: QWidget,
        *,
        what: str,
        file: str,
        form: NewFileForm,
        person: type[BaseModel],
        empty: str,
        columns: Sequence[str],
        last: QPushButton,
        about: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._columns = tuple(columns)
        self._sittings: Sequence[Sitting] = ()
        self.open_button = OpenButton(f"Open {what} ...", file, self)
        self.recent = self.open_button.recent
        self.new_button = QPushButton(f"New {what} ...", self)
        self.new_button.setCheckable(True)
        self.form = form
        self.form.hide()
        self.hint = note(empty, self)
        self.title = plain_note("", self)
        bold = self.title.font()
        bold.setBold(True)
        self.title.setFont(bold)
        self.leaks, self.remarks = plain_note("", self), plain_note("", self)
        self.leaks.hide()
        self.remarks.hide()
        self.panel = self._build_panel(person, about, last)
        self.panel.hide()
        buttons = QHBoxLayout()
        buttons.addWidget(self.open_button, 1)
        buttons.addWidget(self.new_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        for widget in (self.form, self.hint, self.title, self.leaks, self.remarks):
            layout.addWidget(widget)
        layout.addWidget(self.panel, 1)
        layout.addStretch(0)
        self.open_button.clicked.connect(self.browse)
        self.new_button.toggled.connect(self._on_form)

    def _build_panel(
        self, person: type[BaseModel], about: QWidget | None, last: QPushButton
    ) -> QWidget:
        panel = QWidget(self)
        self.fields = SettingsForm(person, ("name", "mode"))
        self.name, self.mode = self.fields["name"], self.fields["mode"]
        self.begin_button = QPushButton("Begin", panel)
        self.begin_button.setMinimumHeight(34)
        self.sittings = FigureTable(False, panel)
        self.sittings.setToolTip("Click a line to go on with it")
        layout = QVBoxLayout(panel)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.fields.native)
        layout.addWidget(self.begin_button)
        if about is not None:
            layout.addWidget(about)
        layout.addWidget(self.sittings, 1)
        layout.addWidget(last)
        layout.addStretch(0)
        self.fields.changed.connect(self.refresh)
        self.name.native.returnPressed.connect(self._on_begin)
        self.begin_button.clicked.connect(self._on_begin)
        self.sittings.cellClicked.connect(self._on_line)
        return panel

    def show_opened(self, title: str, sittings: Sequence[Sitting], leaks: str = "") -> None:
        """Show what was opened, what could give its answers away, and who has begun it."""
        self._sittings = sittings
        self.leaks.setText(leaks)
        self.title.setText(title)
        self.new_button.setChecked(False)
        self._on_form(False)
        rows = tuple(
            (
                (short(s.name), s.name),
                (s.mode, s.mode),
                ("finished" if s.finished else f"{s.done} of {s.of}", s.done),
                (s.started[:16].replace("T", " "), s.started),
            )
            for s in sittings
        )
        self.sittings.set_table(Table(self._columns, rows), None, 2)
        self.sittings.setVisible(bool(rows))
        self.refresh()

    def show_remarks(self, remarks: Sequence[str]) -> None:
        """Tell the maker what was noticed; who sits for it should not read that first."""
        self.remarks.setText("\n".join(f"\u2022 {text}" for text in remarks))
        self.remarks.setVisible(bool(remarks))

    def going_on(self, own: Sitting) -> str:
        """Return the words of the button that goes on with an unfinished sitting."""
        return f"Go on: {own.done} of {own.of} done"

    def _own(self) -> Sitting | None:
        """Return the unfinished sitting that the name and the mode mean."""
        name = " ".join(self.name.value.split()).casefold()
        for s in self._sittings:
            if (s.name.casefold(), s.mode) == (name, self.mode.value) and not s.finished:
                return s
        return None

    def refresh(self, _: Any = None) -> None:
        """Say what the button would do."""
        own = self._own()
        self.begin_button.setText("Begin" if own is None else self.going_on(own))

    def _on_begin(self, _: Any = None) -> None:
        self.begin.emit(self.name.value, self.mode.value)

    def _on_line(self, row: int, _: int) -> None:
        sitting = self._sittings[row]
        self.mode.value, self.name.value = sitting.mode, sitting.name

    def _on_form(self, shown: bool) -> None:
        self.form.setVisible(shown)
        opened = bool(self.title.text())
        self.panel.setVisible(not shown and opened)
        self.title.setVisible(not shown and opened)
        for told in (self.remarks, self.leaks):
            told.setVisible(not shown and opened and bool(told.text()))
        self.hint.setVisible(not shown and not opened)
