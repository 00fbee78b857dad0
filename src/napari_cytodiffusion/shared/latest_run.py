"""Runs of which only the latest matters: asking again takes the place of what is going on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import Pace, RunBar
from napari_cytodiffusion.workers import Body, duration

#: Milliseconds between two looks whether a cancelled run has left its last step.
_LOOK_MS = 50

#: Time left is told of runs of more than so many seconds, after this share.
_SHORT, _NO_GUESS = 3.0, 0.05

_OTHERS = "Another run is going on; try again when it has ended."


class LatestRun(QObject):
    """Starts runs of a widget, shown in a run bar; a new one cancels the one before.

    It dies with the widget, and what a thread still reports then goes nowhere.

    Parameters
    ----------
    owner : QWidget
        The widget that the runs end with.
    on_item : callable
        Takes what the body yields.
    on_end : callable
        Takes the outcome and the error if any; returns what the bar says in the end.
    """

    def __init__(
        self,
        session: Session,
        owner: QWidget,
        bar: RunBar,
        on_item: Callable[[Any], None],
        on_end: Callable[[str, CytoDiffusionError | None], str],
    ) -> None:
        super().__init__(owner)
        self._session, self._owner, self._bar = session, owner, bar
        self._on_item, self._on_end = on_item, on_end
        self._pace = Pace()
        self._next: tuple[Body, tuple[Layer, ...]] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK_MS)
        self._timer.timeout.connect(self._look)
        session.closed.connect(self._on_closed)

    @property
    def seconds(self) -> float:
        """Seconds since the latest run began."""
        return self._pace.seconds

    @property
    def busy(self) -> bool:
        """Whether a run goes on or waits."""
        return self._next is not None or self._session.owns_run(self._owner)

    def start(self, body: Body, layers: Sequence[Layer]) -> bool:
        """Start a run, now or when the one before has stopped; not while another widget's runs."""
        session = self._session
        if session.busy and not session.owns_run(self._owner):
            self._bar.line.setText(_OTHERS)
            return False
        self._next = (body, tuple(layers))
        if session.busy:
            session.cancel()
        self._bar.begin("Starting ...")
        self._look()
        return True

    def cancel(self) -> None:
        """Stop what goes on, and what waits."""
        waiting, self._next = self._next is not None, None
        self._timer.stop()
        if self._session.owns_run(self._owner):
            self._session.cancel()
        elif waiting:
            self._bar.end(self._on_end("cancelled", None))

    def _on_closed(self, owner: int) -> None:
        """Start nothing more for a widget that is closed."""
        if owner == id(self._owner):
            self._next = None
            self._timer.stop()

    def _look(self) -> None:
        if self._next is None:
            self._timer.stop()
            return
        if not self._session.ready:
            self._timer.start()
            return
        self._timer.stop()
        self._pace = Pace()
        (body, layers), self._next = self._next, None
        self._session.start(
            body,
            owner=self._owner,
            layers=layers,
            on_progress=self._advance,
            on_item=self._on_item,
            on_end=self._ended,
        )

    def _advance(self, fraction: float, text: str) -> None:
        seconds = self._pace.seconds
        # no guess before there is something to go by
        if _NO_GUESS < fraction < 1 and seconds > _SHORT:
            text = f"{text}, {duration(seconds * (1 - fraction) / fraction)} left"
        self._bar.advance(fraction, text)

    def _ended(self, outcome: str, error: CytoDiffusionError | None) -> None:
        said = self._on_end(outcome, error)
        if self._next is None:
            self._bar.end(said)
