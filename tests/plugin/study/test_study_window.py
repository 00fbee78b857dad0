"""The dock *Study* in a whole window: real clicks and keys, and a window that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from canvas import canvas_of
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from cytodiffusion.study import Study
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.widget import StudyWidget

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(
        sys.platform.startswith("linux")
        and (not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"),
        reason="no display: run under xvfb-run",
    ),
]


@pytest.fixture
def desk(make_napari_viewer, engine, qtbot):
    viewer = make_napari_viewer(show=True)
    session = Session.of(viewer, engine)
    dock, inspect = StudyWidget(viewer), InspectWidget(viewer)
    dock._reviewing.call_observer("Ada")
    for widget, name in ((dock, "Study"), (inspect, "Inspect cell")):
        viewer.window.add_dock_widget(widget, name=name)
    qtbot.wait(200)
    yield viewer, dock
    reviewing = Reviewing.of(session)
    qtbot.waitUntil(lambda: reviewing._job is None, timeout=20_000)
    session.close()


def click(dock, qtbot, row):
    spot = dock.images.visualRect(dock.images.images.index(row)).center()
    with qtbot.waitSignal(dock._current.image_opened, timeout=20_000):
        qtbot.mouseClick(dock.images.viewport(), Qt.MouseButton.LeftButton, pos=spot)


def said(folder, name):
    with Study.open(folder, writable=False) as study:
        found = study.said(image=name)
        return {study.places([n])[n][1]: pairs for n, pairs in found.items()}


def test_keys_give_classes_that_are_on_the_disk(desk, folder, qtbot):
    viewer, dock = desk
    session = Session.of(viewer)
    dock._current.open(folder)
    click(dock, qtbot, 0)
    canvas = canvas_of(viewer)
    session.inspect(3)
    QTest.keyClick(canvas, Qt.Key.Key_1)
    assert said(folder, "a.png") == {3: (("basophil", "Ada"),)}
    QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert said(folder, "a.png") == {}
    again = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    QTest.keyClick(canvas, Qt.Key.Key_Z, again)
    assert said(folder, "a.png") == {3: (("basophil", "Ada"),)}
    shown = session.chosen
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert session.chosen != shown
    click(dock, qtbot, 1)
    assert [layer.name for layer in viewer.layers[:2]] == ["b.png", "b.png cells"]
    click(dock, qtbot, 0)
    assert dock._current.views_of("a.png").people.said == {3: ("basophil", "Ada")}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_window_that_is_killed_loses_nothing(desk, folder, qtbot):
    viewer, dock = desk
    script = Path(__file__).with_name("killed_viewer.py")
    helpers = str(Path(__file__).resolve().parents[2] / "helpers")
    paths = os.pathsep.join([helpers, *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with qtbot.waitSignal(dock._current.image_opened, timeout=20_000) as told:
        dock._current.open(folder)
    assert told.args == ["b.png"]
    assert {label: pairs[0][0] for label, pairs in said(folder, "b.png").items()} == {
        2: "red cell",
        5: "basophil",
        6: "neutrophil",
    }
    assert {k: v[0] for k, v in dock._current.views_of("b.png").people.said.items()} == {
        2: "red cell",
        5: "basophil",
        6: "neutrophil",
    }
    assert viewer.scene.camera.zoom == 9.0
    assert Session.of(viewer).chosen == 5
