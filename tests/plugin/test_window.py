"""The whole window, with real clicks. Needs a display with GL, such as Xvfb."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest
from canvas import canvas_of, pixels_of, position_of
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLabel, QVBoxLayout, QWidget

from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.demo import open_desk, run
from napari_cytodiffusion.evaluate.widget import ReportWidget
from napari_cytodiffusion.session import Session

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(
        sys.platform.startswith("linux")
        and (not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"),
        reason="no display: run under xvfb-run",
    ),
]


@pytest.fixture
def shown(make_napari_viewer, engine, smear):
    viewer = make_napari_viewer(show=True)
    Session.of(viewer, engine)
    place = {"scale": (0.1, 0.1), "units": ("um", "um")}
    viewer.add_image(smear[0], name="smear", rgb=True, **place)
    viewer.add_labels(smear[1], name="cells", **place)
    viewer.window.resize(1200, 800)
    return viewer


def dock(viewer, widget, qtbot):
    viewer.window.add_dock_widget(widget, name=type(widget).__name__)
    # the canvas takes its new size with the next events
    qtbot.wait(200)


def wait_for_layers(viewer, qtbot):
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)


def test_two_clicks_colour_the_cells_and_a_third_shows_the_uncertainty(shown, qtbot):
    widget = ClassifyWidget(shown)
    dock(shown, widget, qtbot)
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    wait_for_layers(shown, qtbot)
    # the legend may have made the dock wider and the canvas narrower
    qtbot.wait(300)
    by_class = pixels_of(shown)
    qtbot.mouseClick(widget.uncertainty_button, Qt.MouseButton.LeftButton)
    assert widget.legend.bar.isVisible()
    by_uncertainty = pixels_of(shown)
    qtbot.mouseClick(widget.legend.none_button, Qt.MouseButton.LeftButton)
    bare = pixels_of(shown)
    qtbot.mouseClick(widget.class_button, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(pixels_of(shown), bare)
    for one, other in ((by_class, by_uncertainty), (by_class, bare), (by_uncertainty, bare)):
        assert (one != other).any(axis=-1).mean() > 0.05


def test_a_click_in_the_canvas_inspects_the_cell(shown, qtbot):
    classify, inspect = ClassifyWidget(shown), InspectWidget(shown)
    dock(shown, classify, qtbot)
    dock(shown, inspect, qtbot)
    classify.start()
    wait_for_layers(shown, qtbot)
    canvas = canvas_of(shown)
    for number, centre in ((6, (80, 75)), (11, (130, 125))):
        where = position_of(shown, shown.layers["cells"], centre)
        QTest.mouseMove(canvas, where)
        QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=where)
        qtbot.waitUntil(lambda n=number: inspect._label == n, timeout=20_000)
        assert f"cell {number}" in inspect.title.text()
    # dragging moves the view and leaves the choice alone
    where = position_of(shown, shown.layers["cells"], (30, 25))
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=where)
    QTest.mouseMove(canvas, where + QPoint(40, 40))
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=where + QPoint(40, 40))
    qtbot.wait(50)
    assert inspect._label == 11


def test_keys_switch_colours_and_step(shown, qtbot):
    desk = open_desk(shown)
    desk.classify.start()
    wait_for_layers(shown, qtbot)
    canvas = canvas_of(shown)
    QTest.keyClick(canvas, Qt.Key.Key_U)
    assert shown.layers["cells uncertainty"].visible
    QTest.keyClick(canvas, Qt.Key.Key_U)
    assert shown.layers["cells class"].visible
    QTest.keyClick(canvas, Qt.Key.Key_K)
    first = desk.inspect._label
    QTest.keyClick(canvas, Qt.Key.Key_K)
    assert desk.inspect._label not in (0, first)
    QTest.keyClick(canvas, Qt.Key.Key_J)
    assert desk.inspect._label == first


def test_the_window_answers_while_it_classifies(shown, engine, qtbot):
    engine.batch, engine.seconds_a_batch = 1, 0.25
    widget = ClassifyWidget(shown)
    dock(shown, widget, qtbot)
    widget.start()
    longest = 0.0
    while Session.of(shown).busy:
        # seconds of this thread, so that a busy machine does not fail the test; the wall clock
        # is for benchmarks/window.py
        before = time.thread_time()
        QApplication.processEvents()
        longest = max(longest, time.thread_time() - before)
        time.sleep(0.002)
    assert longest < 1


def test_commands_reach_the_viewer(shown, engine, qtbot):
    from napari_cytodiffusion import commands

    widget = ClassifyWidget(shown)
    dock(shown, widget, qtbot)
    widget.start()
    wait_for_layers(shown, qtbot)
    commands.show_uncertainty(shown)
    assert shown.layers["cells uncertainty"].visible
    commands.show_class(shown)
    assert shown.layers["cells class"].visible
    commands.switch_colours(shown)
    assert shown.layers["cells uncertainty"].visible


@pytest.mark.parametrize("kind", [ReportWidget, InspectWidget])
def test_docks_opened_late_are_filled(shown, qtbot, kind):
    """napari adds spare room below a widget that wants none, more with each dock before it."""
    for name in ("one", "two"):
        other = QWidget()
        QVBoxLayout(other).addWidget(QLabel(name))
        shown.window.add_dock_widget(other, name=name, area="right")
    docked = shown.window.add_dock_widget(kind(shown), name="late", area="right", tabify=True)
    layout = docked.widget().layout()
    below = layout.itemAt(layout.count() - 1)
    assert below.spacerItem() is None or layout.stretch(layout.count() - 1) == 0


def test_saved_views_are_ordinary_labels(shown, engine, qtbot, tmp_path):
    widget = ClassifyWidget(shown)
    dock(shown, widget, qtbot)
    widget.start()
    wait_for_layers(shown, qtbot)
    path = tmp_path / "class.tif"
    assert shown.layers["cells class"].save(str(path))


def close_and_collect(viewer, *objects):
    alive = [weakref.ref(thing) for thing in objects]
    viewer.close()
    return alive


@pytest.mark.parametrize("working", [False, True])
def test_everything_dies_with_the_window(make_napari_viewer, engine, smear, qtbot, working):
    engine.batch, engine.seconds_a_batch = 1, (0.2 if working else 0)

    def live() -> list[weakref.ref]:
        viewer = make_napari_viewer(show=True)
        Session.of(viewer, engine)
        viewer.add_image(smear[0], name="smear", rgb=True)
        viewer.add_labels(smear[1], name="cells")
        desk = open_desk(viewer)
        desk.classify.start()
        if working:
            qtbot.waitUntil(lambda: "cells class" in viewer.layers, timeout=30_000)
        else:
            qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=30_000)
            desk.inspect.step(1)
            qtbot.waitUntil(lambda: "predicted" in viewer.layers["cells"].features, timeout=30_000)
        window = desk.segment.window()
        return close_and_collect(
            viewer,
            Session.of(viewer),
            desk.segment,
            desk.classify,
            desk.inspect,
            viewer.layers["cells class"],
            window,
            viewer,
        )

    alive = live()
    assert engine.closed.wait(30)
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(30_000)
    # timers that were under way hold what they were to call
    qtbot.wait(600)
    for _ in range(5):
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()
        gc.collect()
    left = [type(ref()).__name__ for ref in alive if ref() is not None]
    assert left == []


@pytest.mark.parametrize(
    "first",
    [
        "Engine().prepare(); import cytodiffusion.generation.sampler, cellpose.models",
        "Engine().prepare(); import torch._dynamo",
        "Engine().synthetic_smear(None, SmearSettings())",
        "viewer.open_sample('napari-cytodiffusion', 'synthetic_smear')",
    ],
)
def test_the_networks_can_be_imported_after_the_window_has_drawn(first):
    """Triton's LLVM and that of Mesa's software renderer crash a process that loads both."""
    code = (
        "import napari; from qtpy.QtTest import QTest; viewer = napari.Viewer(); QTest.qWait(500);"
        "from napari_cytodiffusion.engine import Engine;"
        "from cytodiffusion.smear import SmearSettings;"
        f"{first};"
        "import sys; print('alive', sys.modules.get('triton')); viewer.close()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert "alive None" in ran.stdout, ran.stderr


def test_the_demo_runs_to_the_inspected_cell(shown, engine, smear, qtbot):
    engine.outlined = smear[1]
    shown.layers.remove("cells")
    desk = open_desk(shown)
    run(desk)
    qtbot.waitUntil(lambda: desk.inspect._label > 0, timeout=15_000)
    assert "smear cells class" in shown.layers


def test_widgets_of_the_menu_share_one_place_and_leave_the_window_its_size(
    make_napari_viewer, engine, qtbot
):
    viewer = make_napari_viewer(show=True)
    Session.of(viewer, engine)
    viewer.window.resize(1280, 800)
    qtbot.wait(200)
    other = viewer.window.add_dock_widget(QWidget(), name="another plugin's", area="right")
    docks = []
    for name in ("Segment cells", "Classify cells", "Counterfactual heatmap"):
        # as the Plugins menu does
        docks.append(viewer.window.add_plugin_dock_widget("napari-cytodiffusion", name)[0])
        qtbot.wait(200)
    window = viewer.window._qt_window
    assert set(window.tabifiedDockWidgets(docks[0])) == set(docks[1:])
    assert other not in window.tabifiedDockWidgets(docks[0])
    assert docks[-1].visibleRegion().isEmpty() is False
    assert window.height() <= 820
    # what the user has pulled apart stays so
    docks[0].setFloating(True)
    viewer.window.add_plugin_dock_widget("napari-cytodiffusion", "Inspect cell")
    qtbot.wait(200)
    assert docks[0].isFloating()


def test_keys_give_classes_and_take_them_back(shown, qtbot):
    desk = open_desk(shown)
    desk.classify.start()
    wait_for_layers(shown, qtbot)
    session = Session.of(shown)
    reviewing = Reviewing.of(session)
    canvas = canvas_of(shown)

    def press(*keys, on=canvas, **how):
        for key in keys:
            QTest.keyClick(on, key, **how)
        qtbot.waitUntil(lambda: reviewing._job is None, timeout=20_000)

    session.inspect(5)
    names = session.current.results.class_names
    before = shown.layers["cells class"].mode
    press(Qt.Key.Key_4)
    assert session.current.people.said[5][0] == names[3]
    assert shown.layers["cells class"].mode == before  # napari's own tool was not chosen
    press(Qt.Key.Key_1)
    assert session.current.people.said[5][0] == names[0]
    press(Qt.Key.Key_Return)
    assert session.chosen not in (0, 5)
    assert session.current.people.said.keys() == {5}  # what was said stays
    seen = session.chosen
    press(Qt.Key.Key_Return)
    assert session.current.people.said.keys() == {5, seen}
    press(Qt.Key.Key_Z, modifier=Qt.KeyboardModifier.ControlModifier)
    assert session.current.people.said.keys() == {5}
    assert session.chosen == seen
    # in the dock as well, and a name that is typed is no key
    session.open_dock("Inspect cell")
    desk.inspect.window().activateWindow()
    desk.inspect.review_bar.choice.setFocus()
    qtbot.waitUntil(desk.inspect.review_bar.choice.hasFocus, timeout=10_000)
    press(Qt.Key.Key_2, on=desk.inspect.review_bar.choice)
    assert session.current.people.said[seen][0] == names[1]
    observer = desk.inspect.review_bar.observer
    observer.setFocus()
    QTest.keyClicks(observer, "N1")
    press(Qt.Key.Key_Return, on=observer)
    assert observer.text() == "N1"
    assert reviewing.observer == "N1"
    assert session.current.people.said[seen][0] == names[1]
    # where somebody paints, digits are napari's tools
    cells = shown.layers["cells"]
    shown.layers.selection.active = cells
    canvas.setFocus()
    said = dict(session.current.people.said)
    press(Qt.Key.Key_2)
    assert cells.mode == "paint"
    assert session.current.people.said == said
