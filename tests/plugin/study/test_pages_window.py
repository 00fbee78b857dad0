"""The docks *Classes* and *Observers* in the whole window, by clicks. Needs a display with GL."""

from __future__ import annotations

import os
import sys

import pytest
from fake_engine import CLASSES
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QInputDialog

from cytodiffusion.study import Study
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(
        sys.platform.startswith("linux")
        and (not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"),
        reason="no display: run under xvfb-run",
    ),
]


def click(qtbot, table, row):
    place = table.visualItemRect(table.item(row, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_from_the_dock_to_a_disputed_cell_and_to_its_class(
    make_napari_viewer, engine, folder, qtbot, monkeypatch
):
    with Study(folder) as study:
        study.annotate(("b.png", 3), CLASSES[0], "Ada")
        study.annotate(("b.png", 3), CLASSES[1], "Bob")
    viewer = make_napari_viewer(show=True)
    session = Session.of(viewer, engine)
    dock = viewer.window.add_plugin_dock_widget("napari-cytodiffusion", "Study")[1]
    current = CurrentStudy.of(session)
    assert current.open(folder)
    dock.observers_action.trigger()
    dock.classes_action.trigger()
    observers, classes = map(session.docked, ("Observers of a study", "Classes of a study"))
    session.open_dock("Observers of a study")
    qtbot.waitUntil(lambda: observers.disputed.rowCount() == 1, timeout=60_000)
    observers.tabs.setCurrentIndex(1)
    with qtbot.waitSignal(current.image_opened, timeout=60_000):
        click(qtbot, observers.disputed, 0)
    assert current.open_names() == ["b.png"]
    assert session.chosen == 3
    session.open_dock("Classes of a study")
    click(qtbot, classes.table, 0)
    monkeypatch.setattr(QInputDialog, "getItem", lambda *_: (CLASSES[1], True))
    qtbot.mouseClick(classes.merge_button, Qt.MouseButton.LeftButton)
    session.open_dock("Observers of a study")  # merged, they agree
    qtbot.waitUntil(lambda: not observers.found.disputed, timeout=60_000)
    assert current.views_of("b.png").people.said[3][0] == CLASSES[1]
    reviewing = Reviewing.of(session)
    qtbot.waitUntil(lambda: reviewing._job is None and observers._job is None, timeout=60_000)
    current.close()
