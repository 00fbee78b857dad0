"""The page of an authenticity test that shows one cell after the other and takes the answers.

It hides the cell as soon as it loses the focus, so that a cell in sight can always be answered by
key.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
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

from cytodiffusion.authenticity import Feedback, ParticipantSession, Question
from cytodiffusion.authenticity.standardise import enlarged
from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.authenticity import jobs as words
from napari_cytodiffusion.shared.common import TallArea, note, tell
from napari_cytodiffusion.shared.key_page import GO_ON, GUARD, KeyPage
from napari_cytodiffusion.shared.tiles import pixmap_of

_COLUMNS = 2

_PAUSED = "Paused. Click here, or press Space, to go on."


class TrialPage(KeyPage):
    """One cell, two answers, an optional class; forward only.

    Signals
    -------
    told (object, object)
        The trial and what teaching mode tells of it (`Question`, `Feedback`).
    left ()
        The participant stops here, to go on another day.
    finished ()
        The last cell is answered.
    """

    told = Signal(object, object)
    left = Signal()
    finished = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.sitting: ParticipantSession | None = None
        self.trial: Question | None = None
        self.paused = self.waiting = False
        self._explained: np.ndarray | None = None
        self._shown_at = 0.0
        self._keys: dict[int, int] = {}
        self._build()

    def _build(self) -> None:
        self.place = QLabel("", self)
        self.place.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.cell = QLabel(self)
        self.cell.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.cell.setStyleSheet("background: #808080; color: #111111;")
        self.cell.setWordWrap(True)
        self.real_button = QPushButton("Real  (R)", self)
        self.synthetic_button = QPushButton("Synthetic  (S)", self)
        self.class_buttons: list[QPushButton] = []
        self.classes = QGridLayout()
        self.classes.setSpacing(4)
        self.class_title = note("", self)
        self.verdict = note("", self)
        self.reason = note("", self)
        self.explanation = note("", self)
        self.heat_button = QPushButton("Heatmap  (H)", self)
        self.heat_button.setCheckable(True)
        self.next_button = QPushButton("Next cell  (Space)", self)
        self.pause_button = QPushButton("Pause  (P)", self)
        self.leave_button = QPushButton("Stop here", self)
        self.leave_button.setToolTip("Every answer is kept; resume whenever you like.")
        self._lay_out()
        self.real_button.clicked.connect(lambda: self.answer(False))
        self.synthetic_button.clicked.connect(lambda: self.answer(True))
        self.pause_button.clicked.connect(self.pause)
        self.leave_button.clicked.connect(self._on_leave)
        self.next_button.clicked.connect(self.show_next)
        self.heat_button.toggled.connect(self._paint)

    def _lay_out(self) -> None:
        answers, telling, end = QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        for row, buttons in (
            (answers, (self.real_button, self.synthetic_button)),
            (telling, (self.heat_button, self.next_button)),
            (end, (self.pause_button, self.leave_button)),
        ):
            for button in buttons:
                # the page has the keys, always
                button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
                row.addWidget(button)
        for button in (self.real_button, self.synthetic_button, self.heat_button, self.next_button):
            button.setMinimumHeight(34)
        inside = QWidget(self)
        scrolled = QVBoxLayout(inside)
        scrolled.setContentsMargins(0, 0, 0, 0)
        scrolled.addWidget(self.cell, 0, Qt.AlignmentFlag.AlignHCenter)
        scrolled.addLayout(answers)
        scrolled.addLayout(telling)
        scrolled.addWidget(self.verdict)
        scrolled.addWidget(self.reason)
        scrolled.addWidget(self.explanation)
        scrolled.addWidget(self.class_title)
        scrolled.addLayout(self.classes)
        scrolled.addStretch(1)
        self.area = TallArea(inside, self)
        # the page has the keys, always
        self.area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.place)
        layout.addWidget(self.bar)
        layout.addWidget(self.area, 1)
        # in sight on a low screen, too
        layout.addLayout(end)

    # -- a sitting ----------------------------------------------------------------------------

    def begin(self, sitting: ParticipantSession) -> None:
        """Ask the trials that are left of a sitting."""
        self.sitting = sitting
        self.bar.setRange(0, len(sitting.test))
        side = int(sitting.test.record["side"])
        self.side = side * max(1, round(words.SHOWN_SIDE / side))
        self.cell.setFixedSize(self.side, self.side)
        self._set_classes(sitting.test.classes if sitting.test.asks_class else ())
        self.setFocus()
        self.show_next()

    def _set_classes(self, names: Sequence[str]) -> None:
        for button in self.class_buttons:
            self.classes.removeWidget(button)
            button.deleteLater()
        self.class_buttons, self._keys = [], {}
        for number, name in enumerate(names):
            key = str((number + 1) % 10) if number < 10 else ""
            button = QPushButton(f"{key}  {name}".strip(), self)
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _=False, n=number: self._choose(n))
            self.classes.addWidget(button, number // _COLUMNS, number % _COLUMNS)
            self.class_buttons.append(button)
            if key:
                self._keys[Qt.Key.Key_0 + int(key)] = number
        self.class_title.setText("Class, if you like, before real or synthetic:" if names else "")
        self.class_title.setVisible(bool(names))

    def show_next(self, _: Any = None) -> None:
        """Show the next cell."""
        if self.sitting is None:
            return
        self.paused = self.waiting = False
        self._explained = None
        try:
            self.trial = self.sitting.show()
        except CytoDiffusionError as error:
            self.trial = None
            tell(error)
            self._hide("The cell cannot be shown.")
            return
        if self.trial is None:
            self.finished.emit()
            return
        for button in self.class_buttons:
            button.setChecked(False)
        self.verdict.setText("")
        self.reason.setText("")
        self.explanation.setText("")
        self.heat_button.setChecked(False)
        self._refresh()
        self._shown_at = time.monotonic()

    def pause(self, _: Any = None) -> None:
        """Hide the cell, or show it again."""
        if self.trial is None or self.waiting:
            return
        if self.paused:
            self.setFocus()
            self.show_next()  # the same one: it is not answered
            return
        self.paused = True
        self._refresh()

    def answer(self, synthetic: bool) -> None:
        """Take the answer to the cell in sight."""
        seconds = time.monotonic() - self._shown_at
        if self.sitting is None or self.trial is None or self.paused or self.waiting:
            return
        if seconds < GUARD:
            return
        said = self._chosen()
        try:
            told = self.sitting.answer(synthetic, said, seconds=seconds)
        except CytoDiffusionError as error:
            tell(error)
            self.pause()
            return
        if told is None:
            self.show_next()
        else:
            self._tell(told, said)

    def _tell(self, told: Feedback, said: str | None) -> None:
        self.waiting = True
        self.verdict.setText(words.verdict(told, said))
        self._refresh()
        self.told.emit(self.trial, told)

    def explain(self, trial: Question, explained: words.CellExplanation) -> None:
        """Lay the heatmap over the cell it belongs to, while that is still in sight."""
        if trial is self.trial and self.waiting:
            self._explained = explained.picture
            self.explanation.setText(words.explained_text(explained))
            self._refresh()
            self.heat_button.setChecked(True)

    def give_reason(self, trial: Question | None, text: str) -> None:
        """Say what the judge saw in a cell that was told of, while that is still in sight."""
        if trial is self.trial and self.waiting:
            self.reason.setText(text)

    def end(self) -> None:
        """Forget the sitting."""
        self.sitting = self.trial = None
        self.cell.clear()

    def _on_leave(self, _: Any = None) -> None:
        self.left.emit()

    # -- what is shown ------------------------------------------------------------------------

    def _refresh(self) -> None:
        trial = self.trial
        if trial is None or self.sitting is None:
            return
        self.place.setText(f"<b>{trial.number}</b> of {trial.of}")
        self.bar.setValue(self.sitting.answered)
        open_ = not self.paused and not self.waiting
        for button in (self.real_button, self.synthetic_button, *self.class_buttons):
            button.setEnabled(open_)
        teaching = self.sitting.mode == "teaching"
        for widget in (
            self.verdict,
            self.reason,
            self.explanation,
            self.heat_button,
            self.next_button,
        ):
            widget.setVisible(teaching)
        self.next_button.setEnabled(self.waiting)
        self.heat_button.setEnabled(self._explained is not None)
        self.pause_button.setEnabled(not self.waiting)
        self.pause_button.setText("Go on  (P)" if self.paused else "Pause  (P)")
        self._paint()

    def _paint(self, _: Any = None) -> None:
        if self.trial is None:
            return
        if self.paused:
            self._hide(_PAUSED)
            return
        ratio = self.devicePixelRatioF()
        if self._explained is not None and self.heat_button.isChecked():
            picture = self._explained
        else:
            picture = enlarged(self.trial.pixels, round(self.side * ratio))
        self.cell.setPixmap(pixmap_of(picture, ratio * len(picture) / round(self.side * ratio)))

    def _hide(self, text: str) -> None:
        self.cell.clear()
        self.cell.setText(text)

    # -- keys and focus -----------------------------------------------------------------------

    def _chosen(self) -> str | None:
        checked = [n for n, button in enumerate(self.class_buttons) if button.isChecked()]
        return self.sitting.test.classes[checked[0]] if checked and self.sitting else None

    def _choose(self, number: int) -> None:
        """Keep one class at most chosen."""
        for other, button in enumerate(self.class_buttons):
            if other != number:
                button.setChecked(False)

    def on_key(self, key: int) -> None:
        """Answer, pause, go on or choose a class."""
        if key == Qt.Key.Key_R:
            self.answer(False)
        elif key == Qt.Key.Key_S:
            self.answer(True)
        elif key == Qt.Key.Key_P or (key in GO_ON and self.paused):
            self.pause()
        elif key in GO_ON and self.waiting:
            self.show_next()
        elif key == Qt.Key.Key_H and self.heat_button.isEnabled():
            self.heat_button.toggle()
        elif key in self._keys and not self.paused and not self.waiting:
            number = self._keys[key]
            self.class_buttons[number].toggle()
            self._choose(number)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go on after a pause with a click anywhere."""
        self.setFocus()
        if self.paused:
            self.pause()

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        """Pause when the keys go elsewhere: the clock must not run, nor keys do something else."""
        super().focusOutEvent(event)
        popup = event is not None and event.reason() == Qt.FocusReason.PopupFocusReason
        if not popup and not self.paused and not self.waiting and self.isVisible():
            self.pause()
