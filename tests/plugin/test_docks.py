"""The docks of the plugin in the whole window: tabs, heights, closing. Needs a display with GL."""

from __future__ import annotations

import os
import sys
import threading

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QTabBar

from napari_cytodiffusion.docks import TABS
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import RunBar
from napari_cytodiffusion.shared.fold import FoldButton
from napari_cytodiffusion.shared.latest_run import LatestRun

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(
        sys.platform.startswith("linux")
        and (not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"),
        reason="no display: run under xvfb-run",
    ),
]


@pytest.fixture
def window(make_napari_viewer, engine, smear, qtbot):
    viewer = make_napari_viewer(show=True)
    Session.of(viewer, engine)
    place = {"scale": (0.1, 0.1), "units": ("um", "um")}
    viewer.add_image(smear[0], name="smear", rgb=True, **place)
    viewer.add_labels(smear[1], name="cells", **place)
    viewer.window.resize(1366, 680)
    return viewer


def open_dock(viewer, name, qtbot):
    dock = viewer.window.add_plugin_dock_widget("napari-cytodiffusion", name)[0]
    qtbot.wait(150)
    return dock


def tab_bar(viewer):
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    (bar,) = (
        bar
        for bar in viewer.window._qt_window.findChildren(QTabBar, options=direct)
        if set(TABS.values()) & {bar.tabText(index) for index in range(bar.count())}
    )
    return bar


def test_five_tabs_can_be_read_on_a_small_screen(window, qtbot):
    names = ("Segment cells", "Classify cells", "Inspect cell", "Counterfactual heatmap", "Report")
    docks = [open_dock(window, name, qtbot) for name in names]
    bar = tab_bar(window)
    assert [bar.tabText(n) for n in range(bar.count())] == [TABS[name] for name in names]
    for index in range(bar.count()):
        place = bar.tabRect(index)
        assert place.width() > bar.fontMetrics().horizontalAdvance(bar.tabText(index))
        assert place.left() >= 0
        assert place.right() <= bar.width()
    # napari's menus call them as before
    assert [dock.toggleViewAction().text() for dock in docks] == [
        f"{name} (napari-cytodiffusion)" for name in names
    ]
    session = Session.of(window)
    assert session.open_dock("Segment cells") is docks[0].inner_widget()


def test_all_docks_fit_into_680_pixels_whatever_is_unfolded(window, qtbot):
    frame = window.window._qt_window
    docks = []
    for name in TABS:
        docks.append(open_dock(window, name, qtbot))
        inside = docks[-1].inner_widget()
        if name == "Classify cells":
            inside.form["error_rate"].value = 0.05
            inside.start()
            qtbot.waitUntil(lambda: not Session.of(window).busy, timeout=30_000)
        elif name in ("Inspect cell", "Counterfactual heatmap"):
            Session.of(window).inspect(1)
        for fold in inside.findChildren(FoldButton):
            fold.setChecked(True)
        for button in inside.findChildren(QPushButton):
            if button.isCheckable() and button.text() in ("New test ...", "Evaluate ..."):
                button.setChecked(True)
        qtbot.wait(150)
        assert frame.height() <= 680, name
        assert inside.minimumSizeHint().height() <= 600, name
    assert set(frame.tabifiedDockWidgets(docks[0])) == set(docks[1:])


def test_closing_a_dock_ends_its_run_at_once(window, qtbot):
    dock = open_dock(window, "Counterfactual heatmap", qtbot)
    widget, session = dock.inner_widget(), Session.of(window)
    entered, stopped = threading.Event(), threading.Event()

    def body(report):
        try:
            while True:
                entered.set()
                threading.Event().wait(0.01)
                report(0.5, "pass of thousands")
        finally:
            stopped.set()
        yield

    assert widget._run.start(body, ())
    qtbot.waitUntil(entered.is_set, timeout=10_000)
    # another one waits for it
    widget._run.start(body, ())
    qtbot.mouseClick(dock.title.close_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(stopped.is_set, timeout=1000)
    qtbot.waitUntil(lambda: session.ready, timeout=1000)
    qtbot.wait(200)
    assert not session.busy
    assert widget is not None  # alive all the while, as it is until Python collects it


def test_a_run_that_waits_is_not_started_for_a_closed_dock(window, qtbot):
    session = Session.of(window)
    dock = open_dock(window, "Counterfactual heatmap", qtbot)
    widget = dock.inner_widget()
    go_on, begun = threading.Event(), []

    def stuck(report):
        go_on.wait(20)
        yield

    def later(report):
        begun.append(True)
        yield

    assert isinstance(widget._run, LatestRun)
    assert widget.findChild(RunBar) is widget.run_bar
    widget._run.start(stuck, ())
    widget._run.start(later, ())
    dock.destroyOnClose()
    qtbot.wait(100)
    go_on.set()
    qtbot.waitUntil(lambda: session.ready, timeout=10_000)
    qtbot.wait(200)
    assert not begun
