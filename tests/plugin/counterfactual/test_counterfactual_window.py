"""The counterfactual widget in the whole window, with real clicks. Needs a display with GL."""

from __future__ import annotations

import gc
import os
import sys
import time
import weakref

import numpy as np
import pytest
from canvas import canvas_of, pixels_of, position_of
from qtpy.QtCore import QEvent, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from cytodiffusion.model.testing import tiny_bundle
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.counterfactual.widget import CLASSES, MORPH, CounterfactualWidget
from napari_cytodiffusion.session import Session

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(
        sys.platform.startswith("linux")
        and (not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"),
        reason="no display: run under xvfb-run",
    ),
]

PX = 0.5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), ("blue", "green", "red"), size=16)


def classified(viewer, smear, bundle, qtbot):
    """Dock the widgets and classify; returns the counterfactual widget."""
    place = {"scale": (PX, PX), "units": ("um", "um")}
    viewer.add_image(smear[0], name="smear", rgb=True, **place)
    viewer.add_labels(smear[1], name="cells", **place)
    viewer.window.resize(1200, 800)
    classify = ClassifyWidget(viewer)
    classify.model.set_value(str(bundle))
    classify.pixel_size.value = PX
    classify.form["trials"].value = 2
    viewer.window.add_dock_widget(classify, name="Classify", area="left")
    widget = CounterfactualWidget(viewer)
    widget.form.fields["trials"].value = 32
    widget.form.strength.value = 0.5
    viewer.window.add_dock_widget(widget, name="Counterfactual")
    qtbot.wait(200)
    classify.start()
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)
    return widget


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


def click(viewer, point):
    canvas, where = canvas_of(viewer), position_of(viewer, viewer.layers["cells"], point)
    QTest.mouseMove(canvas, where)
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=where)


def finish(widget, qtbot):
    qtbot.waitUntil(lambda: not widget._run.busy and widget._session.ready, timeout=60_000)


def test_a_click_draws_the_heatmap_on_the_cell_and_only_there(viewer, smear, bundle, qtbot):
    widget = classified(viewer, smear, bundle, qtbot)
    click(viewer, (80, 75))
    qtbot.waitUntil(lambda: widget._record is not None, timeout=5000)
    assert widget._record.label == 6
    finish(widget, qtbot)
    qtbot.wait(200)
    widget.look.threshold.value = 0
    widget.look.opacity.value = 100
    layer = viewer.layers["cells heatmap"]
    viewer.layers["inspected cell"].visible = False
    # the same pixels of the image, marked in labels that lie where the cells lie; the crop has
    # whole pixels, so that its middle is half a pixel beside that of the cell
    marked = np.zeros_like(smear[1])
    marked[61:101, 56:96] = 1
    reference = viewer.add_labels(marked, scale=(PX, PX), units=("um", "um"))
    found = [box_drawn_by(viewer, one) for one in (layer, reference)]
    np.testing.assert_array_equal(*found)
    assert (np.ptp(found[0], axis=0) > 100).all()


def box_drawn_by(viewer, layer):
    """Corners on the screen of what a layer draws alone over the image."""
    for other in viewer.layers:
        other.visible = other.name == "smear"
    before = pixels_of(viewer).astype(int)
    layer.visible = True
    changed = np.argwhere((pixels_of(viewer).astype(int) != before).any(axis=-1))
    return np.array([changed.min(axis=0), changed.max(axis=0)])


def test_threshold_repaints_and_another_click_moves_the_heatmap(viewer, smear, bundle, qtbot):
    widget = classified(viewer, smear, bundle, qtbot)
    click(viewer, (80, 75))
    finish(widget, qtbot)
    layer = viewer.layers["cells heatmap"]
    viewer.layers["inspected cell"].visible = False
    widget.look.threshold.value = 0
    full = pixels_of(viewer)
    widget.look.threshold.value = 10
    bare = pixels_of(viewer)
    assert (full != bare).any()
    layer.visible = False
    np.testing.assert_array_equal(pixels_of(viewer), bare)
    layer.visible = True
    first = layer.data_to_world((0, 0))
    widget.look.threshold.value = 0
    click(viewer, (80, 125))
    finish(widget, qtbot)
    assert widget._record.label == 7
    np.testing.assert_allclose(layer.data_to_world((0, 0)), first)
    # both cells are in it now, 50 pixels apart
    assert layer.data.shape == (40, 90)


def test_all_pages_by_the_mouse_and_the_other_widget_follows(viewer, smear, bundle, qtbot):
    widget = classified(viewer, smear, bundle, qtbot)
    inspect = InspectWidget(viewer)
    viewer.window.add_dock_widget(inspect, name="Inspect")
    click(viewer, (80, 75))
    finish(widget, qtbot)
    assert inspect._label == 6
    inspect.step(1)
    assert widget._record.label == inspect._label
    finish(widget, qtbot)
    bar = widget.tabs.tabBar()
    qtbot.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(CLASSES).center())
    finish(widget, qtbot)
    assert len(widget.grid.board.tiles()) == 3
    qtbot.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(MORPH).center())
    widget.morph.form["frames"].value = 3
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    finish(widget, qtbot)
    qtbot.mouseClick(widget.morph.layer_button, Qt.MouseButton.LeftButton)
    qtbot.wait(200)
    # clicks find cells beside a stack of frames too
    click(viewer, (30, 25))
    assert widget._record.label == 1
    inspect.close()
    click(viewer, (30, 75))
    assert widget._record.label == 2


def test_the_window_answers_while_a_heatmap_is_made(viewer, smear, bundle, qtbot):
    widget = classified(viewer, smear, bundle, qtbot)
    widget.form.fields["trials"].value = 512
    click(viewer, (80, 75))
    longest = 0.0
    while widget._run.busy:
        # seconds of this thread, so that a busy machine does not fail the test
        before = time.thread_time()
        QApplication.processEvents()
        longest = max(longest, time.thread_time() - before)
        time.sleep(0.002)
    assert longest < 1


@pytest.mark.parametrize("working", [False, True])
def test_everything_dies_with_the_window(make_napari_viewer, smear, bundle, qtbot, working):
    def live():
        viewer = make_napari_viewer(show=True)
        widget = classified(viewer, smear, bundle, qtbot)
        click(viewer, (80, 75))
        if not working:
            finish(widget, qtbot)
            widget.tabs.setCurrentIndex(MORPH)
            widget.morph.form["frames"].value = 3
            widget.start()
            finish(widget, qtbot)
            widget.morph.play.setChecked(True)
            qtbot.wait(100)
            assert "cells heatmap" in viewer.layers
        else:
            assert widget._run.busy
        things = (Session.of(viewer), widget, widget.window(), viewer, viewer.layers["cells class"])
        alive = [weakref.ref(thing) for thing in things]
        viewer.close()
        return alive

    alive = live()
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(20_000)
    qtbot.wait(600)
    for _ in range(5):
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()
        gc.collect()
    left = [type(ref()).__name__ for ref in alive if ref() is not None]
    assert left == []
