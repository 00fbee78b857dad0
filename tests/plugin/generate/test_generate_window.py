"""*Generate cells* and *Synthetic smear* in the whole window, with real clicks."""

from __future__ import annotations

import gc
import os
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication

import napari_cytodiffusion
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.generate.widget import GenerateWidget
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.smear.widget import DRAWN, SmearWidget

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(
        sys.platform.startswith("linux")
        and (not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"),
        reason="no display: run under xvfb-run",
    ),
]
MANIFEST = Path(napari_cytodiffusion.__file__).with_name("napari.yaml")
NAMES = ("basophil", "eosinophil", "monocyte")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("tiny"), NAMES))


@pytest.fixture
def open_viewer(make_napari_viewer, engine, model):
    engine.model = model

    def opened():
        viewer = make_napari_viewer(show=True)
        Session.of(viewer, engine)
        return viewer

    return opened


def dock(viewer, widget, qtbot):
    viewer.window.add_dock_widget(widget, name=type(widget).__name__)
    qtbot.wait(200)
    return widget


def click(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def finish(viewer, qtbot, widget=None):
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=60_000)
    if widget is not None:
        qtbot.waitUntil(lambda: not widget._look_timer.isActive(), timeout=60_000)


def pixels_of(viewer):
    return viewer.screenshot(canvas_only=True, flash=False)


def test_clicks_generate_a_gallery_that_is_classified_by_more(open_viewer, npe2pm, qtbot):
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_file(MANIFEST))
    viewer = open_viewer()
    viewer.window.resize(1280, 800)
    _, widget = viewer.window.add_plugin_dock_widget("napari-cytodiffusion", "Generate cells")
    assert isinstance(widget, GenerateWidget)
    qtbot.waitUntil(lambda: "about" in widget.effort.text(), timeout=60_000)
    widget.form["steps"].value = 3
    click(qtbot, widget.counts.buttons["Clear"])
    spin = widget.counts.spins["eosinophil"]
    qtbot.keyClick(spin, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClicks(spin, "4")
    click(qtbot, widget.form["reject"].native)
    assert not widget.form["reject"].value
    click(qtbot, widget.run_bar.run_button)
    finish(viewer, qtbot, widget)
    assert widget._cells.classes == ("eosinophil",) * 4
    qtbot.wait(300)
    with_cells = pixels_of(viewer)
    viewer.layers["synthetic cells"].visible = False
    assert (pixels_of(viewer) != with_cells).any(axis=-1).mean() > 0.1
    viewer.layers["synthetic cells"].visible = True
    click(qtbot, widget.classify_button)
    (classify,) = [w for w in QApplication.allWidgets() if isinstance(w, ClassifyWidget)]
    qtbot.waitUntil(classify.isVisible, timeout=10_000)
    assert classify.cells.layer() is viewer.layers["synthetic tiles"]
    assert classify.image.layer() is viewer.layers["synthetic cells"]
    click(qtbot, classify.run_bar.run_button)
    finish(viewer, qtbot)
    qtbot.waitUntil(lambda: len(Session.of(viewer).current.results) == 4, timeout=30_000)
    viewer.close()


def test_the_window_answers_while_cells_are_drawn(open_viewer, monkeypatch, qtbot):
    import importlib

    drawing = importlib.import_module("cytodiffusion.generation.generate")
    sample = drawing.sample_cells

    def waiting(*args, progress, **options):
        def report(share, message):
            time.sleep(0.1)
            progress(share, message)

        return sample(*args, progress=report, **options)

    monkeypatch.setattr(drawing, "sample_cells", waiting)
    viewer = open_viewer()
    widget = dock(viewer, GenerateWidget(viewer), qtbot)
    qtbot.waitUntil(lambda: "about" in widget.effort.text(), timeout=60_000)
    widget.form["steps"].value = 20
    widget.counts.set_all(8)
    click(qtbot, widget.run_bar.run_button)
    qtbot.waitUntil(lambda: "synthetic cells" in viewer.layers, timeout=30_000)
    before, longest = pixels_of(viewer), 0.0
    until = time.monotonic() + 2
    while time.monotonic() < until:
        started = time.thread_time()
        QApplication.processEvents()
        longest = max(longest, time.thread_time() - started)
        time.sleep(0.01)
    changed = (pixels_of(viewer) != before).any(axis=-1).mean()
    assert Session.of(viewer).busy
    assert changed > 0.05
    assert longest < 0.5
    started = time.monotonic()
    click(qtbot, widget.run_bar.cancel_button)
    finish(viewer, qtbot)
    # half a second on a machine that does nothing else
    assert time.monotonic() - started < 5
    finish(viewer, qtbot, widget)
    viewer.close()


def test_clicks_make_a_smear(open_viewer, qtbot):
    viewer = open_viewer()
    viewer.window.resize(1280, 800)
    widget = dock(viewer, SmearWidget(viewer), qtbot)
    widget.model.set_value(DRAWN)
    for name, value in {"width": 320, "height": 256, "n_white": 2}.items():
        widget.form[name].value = value
    click(qtbot, widget.run_bar.run_button)
    finish(viewer, qtbot)
    qtbot.wait(300)
    assert viewer.layers["true cells"].data.max() > 10
    with_cells = pixels_of(viewer)
    viewer.layers["synthetic smear"].visible = False
    assert (pixels_of(viewer) != with_cells).any(axis=-1).mean() > 0.2
    viewer.close()


@pytest.mark.parametrize("working", [False, True])
def test_everything_dies_with_the_window(open_viewer, qtbot, working):
    def live() -> list[weakref.ref]:
        viewer = open_viewer()
        viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True)
        generate = dock(viewer, GenerateWidget(viewer), qtbot)
        smear = dock(viewer, SmearWidget(viewer), qtbot)
        qtbot.waitUntil(lambda: "about" in generate.effort.text(), timeout=60_000)
        generate.form["steps"].value = 500 if working else 3
        generate.start()
        qtbot.waitUntil(lambda: "synthetic cells" in viewer.layers, timeout=30_000)
        if not working:
            finish(viewer, qtbot, generate)
            smear.model.set_value(DRAWN)
            smear.form["width"].value = 256
            smear.form["height"].value = 256
            smear.form["n_white"].value = 1
            smear.start()
            finish(viewer, qtbot)
        things = (Session.of(viewer), generate, smear, generate._gallery, generate.window(), viewer)
        alive = [weakref.ref(thing) for thing in things]
        viewer.close()
        return alive

    alive = live()
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)
    # timers that were under way hold what they were to call
    qtbot.wait(700)
    for _ in range(5):
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()
        gc.collect()
    assert [type(ref()).__name__ for ref in alive if ref() is not None] == []
