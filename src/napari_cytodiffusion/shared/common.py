"""Parts that the dock widgets share: a chooser of layers, a run bar, questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from napari.utils import notifications
from qtpy.QtCore import QEvent, QObject, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.workers import duration

#: What the theme puts around the content of an area that scrolls.
EDGE = 4

#: Said of a button that cannot start anything yet.
_FINISHING = "The cancelled run is finishing its last step; then this works again."


class RunBar(QWidget):
    """A button that starts, one that cancels, a progress bar and a line of text."""

    run = Signal()
    cancel = Signal()

    def __init__(self, text: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.run_button = QPushButton(text, self)
        self.run_button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.cancel_button = QPushButton("Cancel", self)
        self.cancel_button.setEnabled(False)
        self.bar = QProgressBar(self)
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.line = note(" ", self)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 1)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.line)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self._on_cancel)
        self.bar.hide()
        self._working, self._wanted, self._tip = False, True, ""
        self._session: Session | None = None

    def follow(self, session: Session) -> None:
        """Offer to start only what can start: not while a cancelled run is in its last step."""
        self._session = session
        session.ready_changed.connect(self._offer)
        self._offer()

    def offer(self, wanted: bool) -> None:
        """Say whether there is anything to start."""
        self._wanted = wanted
        self._offer()

    def set_text(self, text: str, tip: str = "") -> None:
        """Set what stands on the button that starts."""
        self._tip = tip
        self.run_button.setText(text)
        self._offer()

    def _offer(self, _: bool = True) -> None:
        finishing = self._session is not None and self._session.finishing
        self.run_button.setEnabled(self._wanted and not self._working and not finishing)
        self.run_button.setToolTip(_FINISHING if finishing else self._tip)

    def begin(self, text: str) -> None:
        """Show that work has begun."""
        self._working = True
        self._offer()
        self.cancel_button.setEnabled(True)
        # a moving bar until the first real progress arrives
        self.bar.setRange(0, 0)
        self.bar.show()
        self.line.setText(text)

    def advance(self, fraction: float, text: str) -> None:
        """Show progress."""
        if fraction > 0:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * fraction))
        if text:
            self.line.setText(text)

    def end(self, text: str) -> None:
        """Show that work has ended."""
        self._working = False
        self._offer()
        self.cancel_button.setEnabled(False)
        self.bar.hide()
        self.line.setText(text)

    def _on_cancel(self) -> None:
        self.cancel_button.setEnabled(False)
        self.line.setText("Stopping ...")
        self.cancel.emit()


class OpenButton(QWidget):
    """A button that opens something, and beside it an arrow that offers what was opened before.

    A tool button would do both, but looks like plain text in napari's themes.
    """

    clicked = Signal()

    def __init__(self, text: str, tip: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.button, arrow = QPushButton(text, self), QPushButton("", self)
        self.recent = QMenu(arrow)
        arrow.setMenu(self.recent)
        arrow.setFixedWidth(26)
        arrow.setToolTip("Opened before")
        arrow.setAccessibleName("Opened before")
        self.button.setToolTip(tip)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        layout.addWidget(self.button, 1)
        layout.addWidget(arrow)
        self.button.clicked.connect(self.clicked)

    def offer_recent(
        self, paths: Sequence[Path], chosen: Callable[[Path], None], nothing: str
    ) -> None:
        """Offer files that were opened before; where there is none, say ``nothing``."""
        self.recent.clear()
        for path in paths:
            action = self.recent.addAction(str(path))
            action.triggered.connect(lambda _=False, p=path: chosen(p))
        if not paths:
            self.recent.addAction(nothing).setEnabled(False)


class TallArea(QScrollArea):
    """Scrolls up and down, and is always wide enough for what is in it."""

    def __init__(self, inside: QWidget, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inside)

    def minimumSizeHint(self) -> QSize:
        """Width of the content and of the scroll bar."""
        inside = self.widget()
        if inside is None:
            return super().minimumSizeHint()
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(inside.minimumSizeHint().width() + bar + EDGE, 120)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take the new width when the content asks for another layout."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


class Squeezed(QWidget):
    """Takes as little height as its parts can do with before the area around it scrolls."""

    def heightForWidth(self, width: int) -> int:
        """Least height, for text that goes over several lines."""
        layout = self.layout()
        if layout is None:
            return super().heightForWidth(width)
        return layout.minimumHeightForWidth(width)


class SqueezedTabs(QTabWidget):
    """Pages that take as little height as they can do with, whatever text is in them."""

    def hasHeightForWidth(self) -> bool:
        """Go by the least size of the pages, not by the height that their texts like to have."""
        return False


class Pace:
    """Cells a second and the time left, measured from the first cells on."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._first: tuple[float, int] | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def text(self, done: int, total: int) -> str:
        """Progress in words."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        then, before = self._first
        # the first batch also pays for loading: judge the pace by what came after it
        cells, seconds = (done - before, now - then) if done > before else (done, self.seconds)
        rate = cells / max(seconds, 1e-6)
        words = f"{done:,} of {total:,} cells, {rate:.0f} cells/s"
        return words if done >= total else f"{words}, {duration((total - done) / rate)} left"


def note(text: str, parent: QWidget) -> QLabel:
    """Return a wrapping line of small print."""
    label = QLabel(text, parent)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def plain_note(text: str, parent: QWidget) -> QLabel:
    """Return a wrapping line for names of files, classes or people, which may look like HTML."""
    label = note(text, parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def ask(parent: QWidget, title: str, question: str) -> bool:
    """Ask a yes-or-no question, in a box that belongs to the window."""
    box = QMessageBox(parent.window())
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(title)
    box.setText(question)
    box.setStandardButtons(QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No)
    box.setDefaultButton(QMessageBox.StandardButton.No)
    try:
        return box.exec() == QMessageBox.StandardButton.Yes
    finally:
        box.deleteLater()


def tell(error: CytoDiffusionError) -> None:
    """Show an error as a notification, its text as it stands."""
    notifications.show_error(str(error))
