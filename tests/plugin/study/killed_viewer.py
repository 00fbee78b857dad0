"""A viewer that works on a study and is killed with nothing closed: the study's folder is given."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import napari
from canvas import canvas_of
from fake_engine import FakeEngine
from qtpy.QtCore import QSettings, Qt
from qtpy.QtTest import QTest

from napari_cytodiffusion import remembered
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.widget import StudyWidget


def wait_for(done) -> None:
    """Let the window work until something is so."""
    for _ in range(1500):
        QTest.qWait(20)
        if done():
            return
    raise AssertionError("it took too long")


def main(folder: Path) -> None:
    """Open the second image, give two cells a class by key, go to a third, and be killed."""
    settings = str(folder.parent / "killed.ini")
    remembered.store = lambda: QSettings(settings, QSettings.Format.IniFormat)
    viewer = napari.Viewer()
    session = Session.of(viewer, FakeEngine())
    dock, inspect = StudyWidget(viewer), InspectWidget(viewer)
    for widget, name in ((dock, "Study"), (inspect, "Inspect cell")):
        viewer.window.add_dock_widget(widget, name=name)
    QTest.qWait(200)
    current = dock._current
    current.open(folder)
    row = dock.images.visualRect(dock.images.images.index(1)).center()
    QTest.mouseClick(dock.images.viewport(), Qt.MouseButton.LeftButton, pos=row)
    wait_for(lambda: current.views_of("b.png") is not None)
    canvas = canvas_of(viewer)
    session.inspect(2)
    QTest.keyClick(canvas, Qt.Key.Key_3)
    session.inspect(5)
    QTest.keyClick(canvas, Qt.Key.Key_1)
    viewer.scene.camera.zoom = 9.0
    wait_for(lambda: (current.study.recall("window of b.png") or {}).get("zoom") == 9.0)
    session.inspect(6)
    QTest.keyClick(canvas, Qt.Key.Key_2)  # nothing is waited for
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
