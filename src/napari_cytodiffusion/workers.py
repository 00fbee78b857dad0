"""Long work in a thread: progress, cancel, and errors that always arrive.

A `Job` runs one generator in superqt's generator worker and adds what that lacks: its body never
raises a ``RuntimeError`` (which the worker would swallow, leaving the window busy for ever), it
reports the progress of functions that take a callback, and it lets go of work that does not stop
at once.
"""

from __future__ import annotations

import gc
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
#: Seconds between two collections of garbage in the window's thread while work goes on.
_COLLECT_EVERY = 2.0

#: Jobs whose threads are at work.
_paused = 0


def _pause_collection() -> None:
    """Keep Python from collecting garbage by itself while work runs in a thread.

    Widgets that refer to each other are garbage in cycles; the thread that happens to collect them
    destroys their Qt parts, and Qt's objects must be destroyed in the thread of the window.
    """
    global _paused
    _paused += 1
    gc.disable()


def _resume_collection(*_: object) -> None:
    """Let Python collect again; in the window's thread, where the next collection then begins."""
    global _paused
    _paused = max(0, _paused - 1)
    if _paused == 0:
        gc.enable()


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


def duration(seconds: float) -> str:
    """Write a duration the way one says it."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 60:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"


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
        self.progressed.connect(self._collect)
        self._collected = time.monotonic()
        self._thread_busy = False

    def start(self) -> None:
        """Start the thread."""
        self._thread_busy = True
        _pause_collection()
        # a function outlives the job, which may be gone before its thread ends
        self._worker.finished.connect(_resume_collection)
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
        QTimer.singleShot(LET_GO_MS, self._let_go)

    def abandon(self) -> None:
        """Stop it and tell nobody: its viewer or layer is gone."""
        self._stop.set()
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

    def _collect(self) -> None:
        """Collect garbage now and then, in the window's thread, where this slot runs."""
        if time.monotonic() - self._collected >= _COLLECT_EVERY:
            self._collected = time.monotonic()
            gc.collect(1)

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
    # stopped from in here: a worker that is told to quit between two items would leave the body
    # open, with all it holds, until it is collected
    items: Iterator[Any] | None = None
    try:
        if stop.is_set():
            return
        items = body(report)
        for item in items:
            if stop.is_set():
                break
            yield item
            if stop.is_set():
                break
    except Cancelled:
        return
    except CytoDiffusionError:
        raise
    except Exception as error:
        if stop.is_set():
            # nobody waits for it: its window may be gone, and Python about to end
            logger.debug("work that was stopped failed", exc_info=True)
            return
        logger.exception("work in a thread failed")
        raise readable(error) from error
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
