"""Several images in one window: cells stay with their image, and classification with the cells.

With the whole window and real clicks; the segmentation is the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication

from napari_cytodiffusion.layers.placement import note_of
from napari_cytodiffusion.session import Session

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(
        sys.platform.startswith("linux")
        and (not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"),
        reason="no display: run under xvfb-run",
    ),
]


def red_cells(radius: int) -> np.ndarray:
    """Image of 5 x 6 red cells of so many pixels, so that the scale can be measured."""
    y, x = np.mgrid[:300, :360]
    rgb = np.full((300, 360, 3), 235, np.uint8)
    for number in range(30):
        cy, cx = 30 + 60 * (number // 6), 30 + 60 * (number % 6)
        rgb[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = (200, 120, 140)
    return rgb


@pytest.fixture
def window(make_napari_viewer, engine, qtbot):
    viewer = make_napari_viewer(show=True)
    Session.of(viewer, engine)
    viewer.window.resize(1200, 800)
    return viewer


def open_widget(viewer, name, qtbot):
    widget = viewer.window.add_plugin_dock_widget("napari-cytodiffusion", name)[1]
    qtbot.wait(50)
    return widget


def press(button, viewer, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=120_000)


def wait_for_views(viewer, qtbot):
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=60_000)
    return session.current


def pick(combo, name):
    """Choose an entry as a user does, which tells the box so."""
    box = combo.native
    box.setCurrentIndex(box.findText(name))
    box.activated.emit(box.currentIndex())


def noted_size(layer):
    return note_of(layer)["pixel_size_um"]


def test_each_image_is_classified_at_its_own_scale(window, engine, qtbot):
    segment = open_widget(window, "Segment cells", qtbot)
    classify = open_widget(window, "Classify cells", qtbot)
    sizes = {}
    for name, radius in (("A", 15), ("B", 19)):
        window.add_image(red_cells(radius), name=name, rgb=True)
        press(segment.run_bar.run_button, window, qtbot)
        cells = window.layers[f"{name} cells"]
        sizes[name] = noted_size(cells)
        press(classify.run_bar.run_button, window, qtbot)
        wait_for_views(window, qtbot)
        assert engine.requests[-1]["pixel_size_um"] == pytest.approx(sizes[name], rel=0.002)
        assert noted_size(cells) == sizes[name]
    assert sizes["A"] > 1.2 * sizes["B"]
    assert len(engine.requests) == 2
    # back to the first: cells and scale go with the image
    pick(classify.image, "A")
    assert classify.cells.native.currentText() == "A cells"
    assert classify.pixel_size.value == pytest.approx(sizes["A"], rel=0.002)


def test_cells_of_one_image_are_not_classified_in_the_next(window, engine, qtbot):
    segment = open_widget(window, "Segment cells", qtbot)
    classify = open_widget(window, "Classify cells", qtbot)
    window.add_image(red_cells(15), name="A", rgb=True)
    press(segment.run_bar.run_button, window, qtbot)
    press(classify.run_bar.run_button, window, qtbot)
    first = wait_for_views(window, qtbot)
    shown = window.layers["A cells class"].data.copy()
    window.add_image(red_cells(15), name="B", rgb=True)
    assert classify.run_bar.run_button.text() == "Segment B first"
    press(classify.run_bar.run_button, window, qtbot)
    assert len(engine.requests) == 1
    assert Session.of(window).current is first
    np.testing.assert_array_equal(window.layers["A cells class"].data, shown)
    # the click brought up what is to be done first, for that image
    assert segment.image.native.currentText() == "B"
    qtbot.waitUntil(lambda: not segment.visibleRegion().isEmpty(), timeout=10_000)
    window.layers["B"].name = "slide two"
    assert classify.run_bar.run_button.text() == "Segment slide two first"
    press(segment.run_bar.run_button, window, qtbot)
    assert classify.run_bar.run_button.text() == "Classify cells"
    press(classify.run_bar.run_button, window, qtbot)
    second = wait_for_views(window, qtbot)
    assert second.image is window.layers["slide two"]
    assert len(first.results) == len(second.results) == 30
    assert first.layers["class"] in window.layers
    # without its cells the image has none, whatever other cells there are
    window.layers.remove("slide two cells")
    assert classify.run_bar.run_button.text() == "Segment slide two first"
    window.layers.remove("slide two")
    assert classify.cells.native.currentText() == "A cells"


@pytest.mark.parametrize("yes", [True, False])
def test_cells_chosen_for_another_image_need_the_users_word(window, engine, answer, qtbot, yes):
    asked = answer(yes)
    segment = open_widget(window, "Segment cells", qtbot)
    classify = open_widget(window, "Classify cells", qtbot)
    window.add_image(red_cells(15), name="A", rgb=True)
    press(segment.run_bar.run_button, window, qtbot)
    press(classify.run_bar.run_button, window, qtbot)
    first = wait_for_views(window, qtbot)
    window.add_image(red_cells(15), name="B", rgb=True)
    pick(classify.cells, "A cells")
    assert classify.run_bar.run_button.text() == "Classify cells"
    window.add_points([[0, 0]])  # what else happens in the viewer leaves the choice alone
    assert classify.cells.native.currentText() == "A cells"
    press(classify.run_bar.run_button, window, qtbot)
    assert len(asked) == 1
    assert "those of 'A', not of 'B'" in asked[0]
    assert len(engine.requests) == (2 if yes else 1)
    assert len(first.results) == 30
    assert first.layers["class"] in window.layers
    if yes:
        press(classify.run_bar.run_button, window, qtbot)
        assert len(asked) == 1


def test_layers_that_change_while_it_runs_are_followed(window, engine, qtbot):
    engine.batch, engine.seconds_a_batch = 6, 0.2
    segment = open_widget(window, "Segment cells", qtbot)
    classify = open_widget(window, "Classify cells", qtbot)
    window.add_image(red_cells(15), name="A", rgb=True)
    press(segment.run_bar.run_button, window, qtbot)
    own = noted_size(window.layers["A cells"])
    qtbot.mouseClick(classify.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "A cells class" in window.layers, timeout=60_000)
    other = {"scale": (0.5, 0.5), "units": ("um", "um")}
    window.add_image(red_cells(15), name="B", rgb=True, **other)
    assert Session.of(window).busy
    assert classify.run_bar.run_button.text() == "Segment B first"
    assert classify.pixel_size.value == pytest.approx(0.5)
    window.layers["B"].scale = (0.25, 0.25)
    assert classify.pixel_size.value == pytest.approx(0.25)
    assert segment.pixel_size.value == pytest.approx(0.25)
    qtbot.waitUntil(lambda: not Session.of(window).busy, timeout=60_000)
    assert noted_size(window.layers["A cells"]) == own
    assert engine.requests[0]["pixel_size_um"] == pytest.approx(own, rel=0.002)


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("measured", [True, False])
def test_another_scale_than_that_of_the_cells_needs_the_users_word(
    window, engine, answer, qtbot, yes, measured
):
    asked = answer(yes)
    segment = open_widget(window, "Segment cells", qtbot)
    classify = open_widget(window, "Classify cells", qtbot)
    window.add_image(red_cells(15), name="A", rgb=True)
    if measured:
        segment.pixel_size.value = 0.4
    press(segment.run_bar.run_button, window, qtbot)
    before = noted_size(window.layers["A cells"])
    classify.pixel_size.value = None if measured else 1.1 * before
    press(classify.run_bar.run_button, window, qtbot)
    qtbot.waitUntil(lambda: not Session.of(window).busy, timeout=60_000)
    assert len(asked) == 1
    assert f"found at {before:.3g}" in asked[0]
    assert noted_size(window.layers["A cells"]) == before
    assert len(engine.requests) == yes
    if yes:
        used = engine.requests[0]["pixel_size_um"]
        assert abs(used / before - 1) > 0.05
        assert note_of(window.layers["A cells"])["classified_at_um"] == used


def test_a_pixel_size_that_was_typed_stays_while_layers_come_and_go(window, qtbot):
    segment = open_widget(window, "Segment cells", qtbot)
    classify = open_widget(window, "Classify cells", qtbot)
    window.add_image(red_cells(15), name="A", rgb=True)
    for widget in (segment, classify):
        widget.pixel_size.value = 0.3
    points = window.add_points([[0, 0]])
    window.layers.remove(points)
    window.layers["A"].name = "renamed"
    assert segment.pixel_size.value == classify.pixel_size.value == pytest.approx(0.3)


def test_classify_opened_again_shows_the_results_there_are(window, engine, qtbot):
    window.add_image(red_cells(15), name="A", rgb=True)
    segment = open_widget(window, "Segment cells", qtbot)
    press(segment.run_bar.run_button, window, qtbot)
    classify = open_widget(window, "Classify cells", qtbot)
    classify.form["error_rate"].value = 0.02
    press(classify.run_bar.run_button, window, qtbot)
    views = wait_for_views(window, qtbot)
    classify.anomalies.setChecked(False)
    classify.legend.boxes[1].setChecked(False)
    qtbot.mouseClick(classify.uncertainty_button, Qt.MouseButton.LeftButton)
    kept = (
        classify.legend.names,
        [count.text() for count in classify.legend.counts],
        classify.summary.text(),
    )
    dock = classify.parent()
    while not hasattr(dock, "destroyOnClose"):
        dock = dock.parent()
    qtbot.mouseClick(dock.title.close_button, Qt.MouseButton.LeftButton)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    window.add_image(red_cells(20), name="B", rgb=True)  # nothing of the closed one is in the way
    window.layers["B"].scale = (2, 2)
    window.layers.remove("B")
    again = open_widget(window, "Classify cells", qtbot)
    assert again is not classify
    found = (
        again.legend.names,
        [count.text() for count in again.legend.counts],
        again.summary.text(),
    )
    assert found == kept
    assert again.legend.shown() == [True, False, True, True]
    assert not again.anomalies.isChecked()
    assert again.review.isVisibleTo(again)
    assert again.review.isChecked()
    assert again.uncertainty_button.isChecked()
    assert again.legend.bar.isVisibleTo(again)
    qtbot.mouseClick(again.class_button, Qt.MouseButton.LeftButton)
    assert views.kind == "class"
    assert window.layers["A cells class"].visible
    qtbot.mouseClick(again.legend.all_button, Qt.MouseButton.LeftButton)
    assert all(views.shown)
    again.anomalies.setChecked(True)
    assert views.outlines == (True, True)


def test_the_boxes_show_how_the_current_cells_are_outlined(window, engine, qtbot):
    segment = open_widget(window, "Segment cells", qtbot)
    classify = open_widget(window, "Classify cells", qtbot)
    for name in ("A", "B"):
        window.add_image(red_cells(15), name=name, rgb=True)
        press(segment.run_bar.run_button, window, qtbot)
        press(classify.run_bar.run_button, window, qtbot)
        wait_for_views(window, qtbot)
    window.layers.selection.active = window.layers["A cells class"]
    classify.anomalies.setChecked(False)
    classify.review.setChecked(False)
    assert not window.layers["A cells anomalies"].visible
    window.layers.selection.active = window.layers["B cells class"]
    assert classify.anomalies.isChecked()
    assert classify.review.isChecked()
    assert window.layers["B cells anomalies"].visible
    window.layers.selection.active = window.layers["A cells class"]
    assert not classify.anomalies.isChecked()
    assert not classify.review.isChecked()
    assert not window.layers["A cells anomalies"].visible


def test_all_widgets_of_the_first_steps_fit_a_small_screen(window, engine, qtbot):
    window.window.resize(1366, 768)
    window.add_image(red_cells(15), name="A", rgb=True)
    docks = []
    for name in ("Segment cells", "Classify cells", "Inspect cell"):
        docks.append(window.window.add_plugin_dock_widget("napari-cytodiffusion", name)[0])
        qtbot.wait(200)
    frame = window.window._qt_window
    assert set(frame.tabifiedDockWidgets(docks[0])) == set(docks[1:])
    classify = docks[1].inner_widget()
    segment = docks[0].inner_widget()
    for widget in (segment, classify):
        press(widget.run_bar.run_button, window, qtbot)
    wait_for_views(window, qtbot)
    docks[2].inner_widget().step(1)
    qtbot.wait(300)
    assert frame.width() <= 1366
    assert frame.height() <= 768


def test_the_watershed_needs_no_network(tmp_path):
    """Importing PyTorch takes seconds that it has no use for."""
    code = (
        "import sys, numpy as np, napari, tempfile\n"
        "from qtpy.QtTest import QTest\n"
        "from napari_cytodiffusion.session import Session\n"
        "from napari_cytodiffusion.segment.widget import SegmentWidget\n"
        "viewer = napari.Viewer(show=True)\n"
        "y, x = np.mgrid[:200, :200] % 50\n"
        "rgb = np.full((200, 200, 3), 235, np.uint8)\n"
        "rgb[(y - 25) ** 2 + (x - 25) ** 2 < 225] = (200, 120, 140)\n"
        "viewer.add_image(rgb, name='A', rgb=True)\n"
        "widget = SegmentWidget(viewer)\n"
        "viewer.window.add_dock_widget(widget)\n"
        "assert widget.method.value == 'auto'\n"
        "widget.method.value = 'watershed'\n"
        "widget.run_bar.run_button.click()\n"
        "session = Session.of(viewer)\n"
        "assert session.busy\n"
        "while session.busy: QTest.qWait(20)\n"
        "print('cells', int(viewer.layers['A cells'].data.max()))\n"
        "print('torch', 'torch' in sys.modules)\n"
        "viewer.close()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env={**os.environ, "CELLPOSE_LOCAL_MODELS_PATH": str(tmp_path)},
    )
    assert "cells 16" in ran.stdout, ran.stderr
    assert "torch False" in ran.stdout
