from __future__ import annotations

import gc
import threading
import time
import warnings
import weakref

import pytest
from napari.components import ViewerModel
from qtpy import sip
from qtpy.QtWidgets import QWidget

from cytodiffusion.errors import CytoDiffusionError, InputError, OutOfMemoryError
from napari_cytodiffusion.session import Session, _owner_gone
from napari_cytodiffusion.workers import Job, WorkError, readable

#: Milliseconds that a test waits at most for what comes at once on an idle machine.
WAIT = 30_000


def run(qtbot, body):
    job = Job(body)
    items, outcomes = [], []
    job.yielded.connect(items.append)
    job.ended.connect(outcomes.append)
    with qtbot.waitSignal(job.ended, timeout=WAIT):
        job.start()
    return job, items, outcomes


def test_items_arrive_in_order_and_the_end_once(qtbot):
    _, items, outcomes = run(qtbot, lambda report: iter([1, 2, 3]))
    assert items == [1, 2, 3]
    assert outcomes == ["done"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("boom"), WorkError),
        (ValueError("bad"), WorkError),
        (MemoryError(), OutOfMemoryError),
        (RuntimeError("CUDA out of memory. Tried to allocate"), OutOfMemoryError),
        (InputError("One sentence."), InputError),
    ],
)
def test_no_error_is_swallowed(qtbot, error, kind, caplog):
    """superqt's worker neither reports nor ends after a RuntimeError; ours must do both."""

    def body(report):
        yield 1
        raise error

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        job, items, outcomes = run(qtbot, body)
    assert items == [1]
    assert outcomes == ["failed"]
    assert type(job.error) is kind
    assert not isinstance(job.error, RuntimeError)
    assert not job.is_running


def test_an_error_before_the_first_item_is_reported(qtbot, caplog):
    def body(report):
        raise RuntimeError("at once")

    job, _, outcomes = run(qtbot, body)
    assert outcomes == ["failed"]
    assert "at once" in str(job.error)


def test_progress_is_reported_and_throttled(qtbot):
    def body(report):
        for i in range(1000):
            report(i / 1000, f"step {i}")
        report(1.0, "last")
        yield None

    job = Job(body)
    heard = []
    job.progressed.connect(lambda f, t: heard.append((f, t)))
    with qtbot.waitSignal(job.ended, timeout=WAIT):
        job.start()
    assert heard[-1] == (1.0, "last")
    assert len(heard) < 100


def test_cancel_between_items_closes_the_body(qtbot):
    closed = []

    def body(report):
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            closed.append(True)

    job = Job(body)
    outcomes = []
    job.ended.connect(outcomes.append)
    with qtbot.waitSignal(job.yielded, timeout=WAIT):
        job.start()
    with qtbot.waitSignal(job.ended, timeout=WAIT):
        job.cancel()
    assert outcomes == ["cancelled"]
    qtbot.waitUntil(lambda: bool(closed), timeout=WAIT)


def test_cancel_through_the_progress_callback(qtbot):
    def body(report):
        while True:
            time.sleep(0.01)
            report(0.1, "working")
        yield

    job = Job(body)
    with qtbot.waitSignal(job.progressed, timeout=WAIT):
        job.start()
    with qtbot.waitSignal(job.ended, timeout=WAIT) as signal:
        job.cancel()
    assert signal.args == ["cancelled"]
    assert job.error is None


def test_a_thread_stuck_in_a_long_step_is_let_go(qtbot):
    begun, go_on = threading.Event(), threading.Event()

    def body(report):
        begun.set()
        go_on.wait(WAIT / 1000)
        yield "too late"

    job = Job(body)
    items = []
    job.yielded.connect(items.append)
    job.start()
    qtbot.waitUntil(begun.is_set, timeout=WAIT)
    # the end comes while the step goes on
    with qtbot.waitSignal(job.ended, timeout=WAIT) as signal:
        job.cancel()
    assert signal.args == ["cancelled"]
    assert job.is_lingering
    go_on.set()
    qtbot.waitUntil(lambda: not job.is_lingering, timeout=WAIT)
    assert items == []


def test_an_abandoned_job_is_silent(qtbot):
    def body(report):
        while True:
            time.sleep(0.01)
            yield 1

    job = Job(body)
    with qtbot.waitSignal(job.yielded, timeout=WAIT):
        job.start()
    job.abandon()
    with qtbot.assertNotEmitted(job.ended, wait=200):
        pass
    qtbot.waitUntil(lambda: not job.is_lingering, timeout=WAIT)


def test_unforeseen_errors_are_one_readable_line():
    text = str(readable(KeyError("x\ny")))
    assert "\n" not in text
    assert "KeyError" in text
    known = InputError("Known.")
    assert readable(known) is known
    assert not issubclass(WorkError, RuntimeError)
    assert issubclass(WorkError, CytoDiffusionError)


def test_garbage_is_left_alone_by_threads_and_collected_again_afterwards(qtbot):
    """Qt's parts of a widget must not be destroyed by a thread that happens to collect garbage."""
    seen = []

    def body(report):
        seen.append(gc.isenabled())
        yield 1

    assert gc.isenabled()
    job = Job(body)
    with qtbot.waitSignal(job.ended):
        job.start()
    assert seen == [False]
    qtbot.waitUntil(gc.isenabled)


def test_work_that_was_stopped_fails_in_silence(qtbot, caplog):
    entered, go_on = threading.Event(), threading.Event()

    def body(report):
        entered.set()
        go_on.wait(10)
        raise ImportError("Python is about to end")
        yield

    job = Job(body)
    job.start()
    assert entered.wait(10)
    job.cancel()
    with qtbot.waitSignal(job.ended, timeout=10_000):
        go_on.set()
    qtbot.waitUntil(lambda: not job._thread_busy, timeout=10_000)
    assert not caplog.records


def test_a_widget_may_outlive_the_session_in_qt(qapp):
    viewer = ViewerModel()
    session, widget = Session.of(viewer), QWidget()
    session.attach(widget)
    owner = id(widget)
    session._job_owner, session._job = owner, Job(lambda report: iter(()))
    sip.delete(session)
    # an exception in a slot would end the process
    _owner_gone(weakref.ref(session), owner)
