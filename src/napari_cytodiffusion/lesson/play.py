"""The page of a lesson that shows a cell, takes the answer, and tells all about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFocusEvent, QMouseEvent
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.lessons import LearnerSession
from cytodiffusion.lessons.session import Question, Reveal
from napari_cytodiffusion.lesson import jobs as words
from napari_cytodiffusion.shared.common import TallArea, note, tell
from napari_cytodiffusion.shared.key_page import GO_ON, GUARD, KeyPage
from napari_cytodiffusion.shared.tiles import PictureTile, TileBoard

#: Buttons of classes in a row, and numbers of classes that make two even rows of two.
_COLUMNS, _PAIRS = 3, (2, 4)

_BY_CLICK = "Click into this page to use the keys."


class PlayPage(KeyPage):
    """One cell, a button and a key for each class; then all that is told of it.

    Signals
    -------
    left ()
        The learner stops here, to go on another day.
    finished ()
        The last cell is answered, or the answer that was looked up is closed.
    """

    left = Signal()
    finished = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.session: LearnerSession | None = None
        self.question: Question | None = None
        self.told: Reveal | None = None
        self._alone: str | None = None
        self._shown_at = 0.0
        self.class_buttons: list[QPushButton] = []
        self._build()

    def _build(self) -> None:
        self.place = QLabel("", self)
        self.place.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.board = TileBoard(3, self)
        self.verdict = note("", self)
        larger = self.verdict.font()
        larger.setPointSizeF(1.1 * larger.pointSizeF())
        self.verdict.setFont(larger)
        self.text = note("", self)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text_area = TallArea(self.text, self)
        self.classes = QGridLayout()
        self.classes.setSpacing(4)
        self.next_button = QPushButton("Next cell  (Space)", self)
        self.leave_button = QPushButton("Stop here", self)
        self.leave_button.setToolTip("Every answer is kept; resume whenever you like.")
        self.focus_line = note(_BY_CLICK, self)
        for button in (self.next_button, self.leave_button):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the page has the keys, always
        self.next_button.setMinimumHeight(34)
        self.text_area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        end = QHBoxLayout()
        end.addWidget(self.next_button, 2)
        end.addWidget(self.leave_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.place)
        layout.addWidget(self.bar)
        layout.addWidget(self.board, 3)
        layout.addWidget(self.verdict)
        layout.addWidget(self.text_area, 2)
        layout.addLayout(self.classes)
        layout.addWidget(self.focus_line)
        layout.addLayout(end)
        self.board.chosen.connect(self._on_picture)
        self.next_button.clicked.connect(self.show_next)
        self.leave_button.clicked.connect(self.left)

    # -- a sitting ----------------------------------------------------------------------------

    def begin(self, session: LearnerSession) -> None:
        """Ask the cells that are left."""
        self.session = session
        self.bar.setRange(0, len(session.lesson))
        self._set_classes([(one.name, one.color) for one in session.lesson.content.classes])
        self.setFocus()
        self.show_next()

    def look_at(self, session: LearnerSession, told: Reveal) -> None:
        """Show once more what is told of a cell."""
        self.session, self.question, self.told, self._alone = session, None, told, None
        self.place.setText("")
        self.next_button.setText("Back  (Space)")
        self.setFocus()
        self._refresh()

    def _set_classes(self, classes: Sequence[tuple[str, str]]) -> None:
        for button in self.class_buttons:
            self.classes.removeWidget(button)
            button.deleteLater()
        self.class_buttons = []
        columns = 2 if len(classes) in _PAIRS else _COLUMNS
        for number, (name, _) in enumerate(classes):
            button = QPushButton(f"{number + 1}  {name}", self)
            button.setMinimumHeight(32)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _=False, n=number: self.answer(n))
            self.classes.addWidget(button, number // columns, number % columns)
            self.class_buttons.append(button)

    def show_next(self, _: Any = None) -> None:
        """Show the next cell, or end."""
        if self.session is None:
            return
        if self.told is not None and self.question is None:  # an answer that was looked up
            self.finished.emit()
            return
        self.told = self._alone = None
        self.next_button.setText("Next cell  (Space)")
        try:
            self.question = self.session.show()
        except CytoDiffusionError as error:
            tell(error)
            self.left.emit()
            return
        if self.question is None:
            self.finished.emit()
            return
        self._refresh()
        self._shown_at = time.monotonic()

    def answer(self, number: int) -> None:
        """Take the answer to the cell in sight."""
        seconds = time.monotonic() - self._shown_at
        if self.session is None or self.question is None or self.told is not None:
            return
        if seconds < GUARD or number >= len(self.class_buttons):
            return
        name = self.session.lesson.content.class_names[number]
        try:
            self.told = self.session.answer(name, seconds=seconds)
        except CytoDiffusionError as error:
            tell(error)
            self.left.emit()
            return
        if self.told is None:
            self.show_next()
        else:
            self._refresh()

    def end(self) -> None:
        """Forget the sitting."""
        self.session = self.question = self.told = None
        self.board.set_tiles(())

    # -- what is shown ------------------------------------------------------------------------

    def _refresh(self) -> None:
        session, question, told = self.session, self.question, self.told
        if session is None:
            return
        if question is not None:
            self.place.setText(words.place(question, session))
        self.bar.setValue(session.done)
        for widget in (self.verdict, self.text_area, self.next_button):
            widget.setVisible(told is not None)
        for button in self.class_buttons:
            button.setVisible(told is None)
        self.leave_button.setVisible(question is not None)
        self.focus_line.setVisible(not self.hasFocus())
        window = session.lesson.content.window_um
        if told is None and question is not None:
            said = "Synthetic cell" if question.synthetic else ""
            self.board.set_tiles([PictureTile(question.pixels, said)], window)
        elif told is not None:
            self.verdict.setText(words.verdict_html(told))
            self.text.setText(words.told_html(told))
            tiles = words.tiles(told, session.lesson)
            alone = [tile for tile in tiles if tile.key == self._alone]
            self.board.set_tiles(alone or tiles, window)

    def _on_picture(self, name: Any) -> None:
        """Show one picture of an answer alone, or all of them again."""
        self._alone = None if self._alone is not None else str(name)
        self.setFocus()
        self._refresh()

    # -- keys and focus -----------------------------------------------------------------------

    def on_key(self, key: int) -> None:
        """Answer, or go on."""
        if self.told is not None:
            if key in GO_ON:
                self.show_next()
        elif Qt.Key.Key_1 <= key <= Qt.Key.Key_9:
            self.answer(key - Qt.Key.Key_1)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Take the keys again."""
        self.setFocus()

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        """Say no more that keys go elsewhere."""
        super().focusInEvent(event)
        self.focus_line.hide()

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        """Say that keys go elsewhere."""
        super().focusOutEvent(event)
        self.focus_line.setVisible(self.session is not None)
