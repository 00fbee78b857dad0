"""Long work in a thread: progress, cancel, and errors that always arrive.

A `Job` runs one generator in superqt's generator worker and adds what that lacks: its body never
raises a ``RuntimeError`` (which the worker would swallow, leaving the window busy for ever), it
reports the progress of functions that take a callback, and it lets go of work that does not stop
at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import create_worker

from cytodiffusion.errors import Cancelled, CytoDiffusionError, OutOfMemoryError
from cytodiffusion.progress import Progress

logger = logging.getLogger(__name__)

#: A body is called with a progress callback and yields what the window is to show.
Body = Callable[[Progress], Iterator[Any]]

#: Milliseconds after which a cancelled job is let go although its thread is still in a long step.
LET_GO_MS = 400
#: Seconds between two reports of progress that reach the window.
_REPORT_EVERY = 0.05


class WorkError(CytoDiffusionError):
    """Something unforeseen went wrong in a thread; not a ``RuntimeError`` on purpose."""


def readable(error: BaseException) -> CytoDiffusionError:
    """Any exception as one that a worker does not swallow and a user can read."""
    if isinstance(error, CytoDiffusionError):
        return error
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return OutOfMemoryError(
            "The computer ran out of memory; close other programs, choose a smaller image, "
            "or the device CPU if it was the GPU's memory."
        )
    first_line = (str(error).strip() or "no message").splitlines()[0]
    return WorkError(f"This should not have happened: {type(error).__name__}: {first_line}")


class Job(QObject):
    """One piece of work in a thread.

    Signals
    -------
    progressed (float, str)
        Fraction done and a short message, at most 20 times a second.
    yielded (object)
        What the body yields.
    failed (object)
        The error, a `CytoDiffusionError`.
    ended (str)
        ``"done"``, ``"cancelled"`` or ``"failed"``; always comes, once, and last.

    Parameters
    ----------
    body : callable
        Called in the thread with a progress callback, returns an iterator. The callback raises
        `Cancelled` after `cancel`.
    """

    progressed = Signal(float, str)
    yielded = Signal(object)
    failed = Signal(object)
    ended = Signal(str)

    def __init__(self, body: Body, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop = threading.Event()
        self._reported = 0.0
        self._outcome: str | None = None
        self.error: CytoDiffusionError | None = None
        self._worker = create_worker(_guarded, body, self._report, self._stop, _ignore_errors=True)
        self._worker.yielded.connect(self._on_yield)
        self._worker.errored.connect(self._on_error)
        self._worker.finished.connect(self._on_finished)
        self._thread_busy = False

    def start(self) -> None:
        """Start the thread."""
        self._thread_busy = True
        self._worker.start()

    @property
    def is_running(self) -> bool:
        """Whether the window still waits for it."""
        return self._thread_busy and self._outcome is None

    @property
    def is_lingering(self) -> bool:
        """Whether it was let go while its thread is still finishing a step."""
        return self._thread_busy and self._outcome is not None

    def cancel(self) -> None:
        """Ask it to stop; the window is told so within half a second whatever the thread does."""
        if not self.is_running:
            return
        self._stop.set()
        self._worker.quit()
        QTimer.singleShot(LET_GO_MS, self._let_go)

    def abandon(self) -> None:
        """Stop it and tell nobody: its viewer or layer is gone."""
        self._stop.set()
        self._worker.quit()
        self._outcome = self._outcome or "cancelled"
        self.blockSignals(True)

    def _report(self, fraction: float, message: str) -> None:
        """Progress callback of the engine, called in the thread."""
        if self._stop.is_set():
            raise Cancelled("Cancelled.")
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY or fraction >= 1:
            self._reported = now
            self.progressed.emit(float(fraction), message)

    def _on_yield(self, value: object) -> None:
        if self._outcome is None and value is not None:
            self.yielded.emit(value)

    def _on_error(self, error: Exception) -> None:
        self.error = readable(error)

    def _on_finished(self, _: object = None) -> None:
        self._thread_busy = False
        if self._outcome is not None:
            return
        if self.error is not None:
            self._end("failed")
        else:
            self._end("cancelled" if self._stop.is_set() else "done")

    def _let_go(self) -> None:
        if self.is_running:
            self._end("cancelled")

    def _end(self, outcome: str) -> None:
        self._outcome = outcome
        if outcome == "failed":
            self.failed.emit(self.error)
        self.ended.emit(outcome)


def _guarded(body: Body, report: Progress, stop: threading.Event) -> Generator[Any, None, None]:
    """Run a body so that nothing but a `CytoDiffusionError` leaves it."""
    # the worker looks for an abort between yields only: give it one before the first step
    yield None
    items: Iterator[Any] | None = None
    try:
        items = body(report)
        for item in items:
            if stop.is_set():
                break
            yield item
    except Cancelled:
        return
    except CytoDiffusionError:
        raise
    except Exception as error:
        logger.exception("work in a thread failed")
        raise readable(error) from error
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
