"""A run bar offers to start only what can start."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_cytodiffusion.authenticity.widget import AuthenticityWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.counterfactual.widget import CounterfactualWidget
from napari_cytodiffusion.evaluate.widget import ReportWidget
from napari_cytodiffusion.generate.widget import GenerateWidget
from napari_cytodiffusion.segment.widget import SegmentWidget
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import RunBar
from napari_cytodiffusion.smear.widget import SmearWidget


class StuckRun:
    """A run whose step goes on after it was cancelled."""

    def __init__(self, session: Session, owner: QWidget, bar: RunBar) -> None:
        self.session = session
        self.entered, self.go_on = threading.Event(), threading.Event()
        session.start(
            self.body,
            owner=owner,
            on_progress=lambda *_: None,
            on_item=lambda _: None,
            on_end=lambda *_: bar.end("Cancelled."),
        )
        bar.begin("Starting ...")

    def body(self, report):
        self.entered.set()
        self.go_on.wait(30)
        yield


@pytest.fixture
def session(viewer):
    return Session.of(viewer)


def test_the_button_comes_back_when_the_cancelled_run_has_left_its_last_step(session, qtbot):
    parent = QWidget()
    qtbot.addWidget(parent)
    bar = RunBar("Go", parent)
    bar.follow(session)
    stuck = StuckRun(session, bar, bar)
    assert stuck.entered.wait(10)
    assert not bar.run_button.isEnabled()
    qtbot.mouseClick(bar.cancel_button, Qt.MouseButton.LeftButton)
    session.cancel()
    qtbot.waitUntil(lambda: not session.busy, timeout=10_000)
    assert bar.line.text() == "Cancelled."
    assert session.finishing
    assert not bar.run_button.isEnabled()
    assert "last step" in bar.run_button.toolTip()
    # a widget that is opened meanwhile has to wait as well
    late = RunBar("Late", parent)
    late.follow(session)
    assert not late.run_button.isEnabled()
    stuck.go_on.set()
    qtbot.waitUntil(bar.run_button.isEnabled, timeout=10_000)
    assert session.ready
    assert late.run_button.isEnabled()
    assert not bar.run_button.toolTip()


@pytest.mark.parametrize(
    "kind",
    [
        SegmentWidget,
        ClassifyWidget,
        GenerateWidget,
        SmearWidget,
        ReportWidget,
        AuthenticityWidget,
        CounterfactualWidget,
    ],
)
def test_every_widget_waits_for_it(session, viewer, qtbot, kind):
    widget = kind(viewer)
    qtbot.addWidget(widget)
    bars = widget.findChildren(RunBar)
    assert bars
    for bar in bars:
        bar.offer(True)
    owner = QWidget()
    qtbot.addWidget(owner)
    stuck = StuckRun(session, owner, RunBar("Another", owner))
    assert stuck.entered.wait(10)
    session.abandon(id(owner))
    assert not any(bar.run_button.isEnabled() for bar in bars)
    stuck.go_on.set()
    qtbot.waitUntil(lambda: all(bar.run_button.isEnabled() for bar in bars), timeout=10_000)
