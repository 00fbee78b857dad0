"""A button with a menu of formats that something can be exported as, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_cytodiffusion.shared.common import note, tell
from napari_cytodiffusion.workers import Body, Job


class ExportBar(QWidget):
    """Writes one file at a time, in a thread; what is written is up to who derives from it.

    Signals
    -------
    ended ()
        A file is written, or is not going to be.

    Parameters
    ----------
    text, tip : str
        What the button says.
    kinds : sequence of (str, str, str)
        Key of a format, its text in the menu, and the kind of file for the dialog.
    """

    ended = Signal()

    def __init__(
        self, text: str, tip: str, kinds: Sequence[tuple[str, str, str]], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._job: Job | None = None
        self.button = QPushButton(text, self)
        self.button.setToolTip(tip)
        menu = QMenu(self.button)
        menu.setToolTipsVisible(True)
        self.actions_by_kind = {kind: menu.addAction(words) for kind, words, _ in kinds}
        for kind, _, files in kinds:
            self.actions_by_kind[kind].triggered.connect(partial(self._on_action, kind, files))
        self.button.setMenu(menu)
        self.stop = QPushButton("Cancel", self)
        self.stop.clicked.connect(self._on_stop)
        self.stop.hide()
        self.line = note("", self)
        self.line.hide()
        row = QHBoxLayout()
        row.addWidget(self.button, 1)
        row.addWidget(self.stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.line)

    @property
    def busy(self) -> bool:
        """Whether a file is being written."""
        return self._job is not None

    def refresh(self) -> None:
        """Offer the export where there is something to export."""
        self.button.setEnabled(self.has_something() and not self.busy)

    def has_something(self) -> bool:
        """Whether there is something to export."""
        raise NotImplementedError

    def choose(self, kind: str, files: str) -> None:
        """Ask where to write a format, and begin."""
        raise NotImplementedError

    def written(self, what: Any) -> tuple[str, str]:
        """Return what to say of what the body yielded, and the tooltip."""
        raise NotImplementedError

    def begin(self, body: Body, name: str) -> None:
        """Write something of a name in a thread."""
        self._job = Job(body, self)
        self._job.progressed.connect(self._on_progress)
        self._job.yielded.connect(self._on_written)
        self._job.failed.connect(tell)
        self._job.ended.connect(self._on_ended)
        self._say(f"Writing {name} ...")
        self.stop.show()
        self._job.start()
        self.refresh()

    def _on_action(self, kind: str, files: str, _: bool = False) -> None:
        if self.has_something() and not self.busy:
            self.choose(kind, files)

    def _say(self, text: str) -> None:
        self.line.setText(text)
        self.line.setVisible(bool(text))

    def _on_progress(self, share: float, text: str) -> None:
        self._say(f"{text[:1].upper()}{text[1:]} ({100 * share:.0f} %)")

    def _on_written(self, what: Any) -> None:
        text, tip = self.written(what)
        self._say(text)
        self.line.setToolTip(tip)

    def _on_ended(self, outcome: str) -> None:
        self._job = None
        self.stop.hide()
        if outcome != "done":
            self._say("Nothing was written.")
        self.refresh()
        self.ended.emit()

    def _on_stop(self) -> None:
        if self._job is not None:
            self._job.cancel()
