"""The whole window: real keys, rubber band, drag, a click in the slide, and how long it takes."""

from __future__ import annotations

import gc
import os
import sys
import time

import numpy as np
import pytest
from canvas import canvas_of, position_of
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from cytodiffusion.cells.crops import Crops
from cytodiffusion.drawing.maps import CellMaps
from cytodiffusion.pipeline import CellBatch
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.layers.results import Results
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.review.widget import ReviewWidget
from napari_cytodiffusion.session import Session

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(
        sys.platform.startswith("linux")
        and (not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"),
        reason="no display: run under xvfb-run",
    ),
]

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def shown(make_napari_viewer, engine):
    viewer = make_napari_viewer(show=True)
    Session.of(viewer, engine)
    viewer.window.resize(1366, 768)
    return viewer


@pytest.fixture
def desk(shown, smear, qtbot):
    """The widget beside twelve classified cells."""
    place = {"scale": (0.1, 0.1), "units": ("um", "um")}
    shown.add_image(smear[0], name="smear", rgb=True, **place)
    shown.add_labels(smear[1], name="cells", **place)
    session = Session.of(shown)
    classify = ClassifyWidget(shown)
    classify.start()
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)
    widget = ReviewWidget(shown)
    shown.window.add_dock_widget(widget, name="Review cells")
    qtbot.waitUntil(lambda: len(widget.gallery.order) == 12)
    qtbot.wait(200)
    yield widget
    settle(shown, qtbot)
    classify.deleteLater()


def settle(viewer, qtbot):
    session = Session.of(viewer)
    reviewing = Reviewing.of(session)
    qtbot.waitUntil(lambda: not session.busy and not reviewing.is_learning, timeout=60_000)


def said(widget):
    return {k: name for k, (name, _) in widget._session.current.people.said.items()}


def label_of(widget, position):
    return int(widget.source.cells.labels[widget.gallery.order[position]])


def test_keys_in_the_gallery_and_on_the_canvas(desk, shown, qtbot):
    gallery, names = desk.gallery, desk.source.cells.class_names
    first = [label_of(desk, n) for n in range(5)]
    gallery.setFocus()
    QTest.keyClick(gallery, Qt.Key.Key_1)
    QTest.keyClick(gallery, Qt.Key.Key_Space)
    QTest.keyClick(gallery, Qt.Key.Key_3)
    settle(shown, qtbot)
    assert said(desk) == {first[0]: names[0], first[2]: names[2]}
    # on the canvas they are about the cell that the gallery has chosen
    qtbot.waitUntil(lambda: desk._session.chosen == first[3])
    canvas = canvas_of(shown)
    QTest.keyClick(canvas, Qt.Key.Key_2)
    settle(shown, qtbot)
    assert said(desk)[first[3]] == names[1]
    assert gallery.current_row == gallery.order[4]
    QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    settle(shown, qtbot)
    assert set(said(desk)) == {first[0], first[2]}
    QTest.keyClick(canvas, Qt.Key.Key_K)
    assert gallery.current_row == gallery.order[4]


def test_the_slide_follows_the_gallery_and_the_gallery_the_slide(desk, shown, qtbot):
    gallery = desk.gallery
    QTest.mouseClick(gallery.viewport(), LEFT, pos=gallery.rect_of(3).center())
    label = label_of(desk, 3)
    qtbot.waitUntil(lambda: desk._session.chosen == label)
    record = desk._session.current.results.record(label)
    centre = shown.layers["cells"].data_to_world((record.y, record.x))
    np.testing.assert_allclose(shown.scene.camera.center[-2:], centre)
    # a click in the slide chooses the cell in the gallery
    other = label_of(desk, 7)
    shown.reset_view()
    qtbot.wait(100)
    record = desk._session.current.results.record(other)
    where = position_of(shown, shown.layers["cells"], (record.y, record.x))
    QTest.mouseMove(canvas_of(shown), where)
    QTest.mouseClick(canvas_of(shown), LEFT, pos=where)
    qtbot.waitUntil(lambda: gallery.current_row == gallery.order[7], timeout=20_000)


def test_a_rubber_band_selects_and_a_drag_onto_a_class_labels(desk, shown, qtbot):
    gallery, view = desk.gallery, desk.gallery.viewport()
    start = gallery.rect_of(0).topLeft() - QPoint(3, 3)
    end = gallery.rect_of(1).center()
    QTest.mousePress(view, LEFT, pos=start)
    for point in (start + QPoint(12, 12), end):
        QTest.mouseMove(view, point)
    assert gallery.selected_count == 2
    QTest.mouseRelease(view, LEFT, pos=end)
    assert gallery.selected_count == 2
    # Shift selects up to a cell
    QTest.mouseClick(view, LEFT, Qt.KeyboardModifier.ShiftModifier, gallery.rect_of(2).center())
    assert gallery.selected_count == 3
    chosen = {label_of(desk, n) for n in range(3)}
    button = desk.classes.buttons[3]
    drop_on(gallery, button, qtbot)
    settle(shown, qtbot)
    assert said(desk) == dict.fromkeys(chosen, desk.source.cells.class_names[3])
    assert int(button._count.text()) >= 3


def drop_on(gallery, button, qtbot):
    """Drag what is selected onto a button: what Qt's own loop of a drag would deliver."""
    from qtpy.QtCore import QPointF
    from qtpy.QtGui import QDrag, QDragEnterEvent, QDropEvent

    begun = []

    def deliver(drag, action):
        begun.append(drag)
        middle, data = QPoint(8, 8), drag.mimeData()
        keys = Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(button, QDragEnterEvent(middle, action, data, LEFT, keys))
        QApplication.sendEvent(button, QDropEvent(QPointF(middle), action, data, LEFT, keys))
        return action

    real, QDrag.exec = QDrag.exec, deliver
    try:
        view, at = gallery.viewport(), gallery.rect_of(0).center()
        QTest.mousePress(view, LEFT, pos=at)
        QTest.mouseMove(view, at + QPoint(30, 30))
        QTest.mouseRelease(view, LEFT, pos=at + QPoint(30, 30))
    finally:
        QDrag.exec = real
    assert begun


def test_blind_mode_hides_the_classes_in_the_whole_window(desk, shown, qtbot):
    layers = desk._session.current.layers
    assert layers["class"].visible
    QTest.mouseClick(desk.blind, LEFT, pos=QPoint(8, desk.blind.height() // 2))
    assert desk._session.blind
    assert not any(layer.visible for layer in layers.values())
    QTest.mouseClick(desk.blind, LEFT, pos=QPoint(8, desk.blind.height() // 2))
    assert layers["class"].visible


# -- how long it takes ----------------------------------------------------------------------------


def fifty_thousand(viewer, engine):
    """Classified cells in a picture of ten megapixels."""
    from fake_engine import result_of

    n, side, pitch = 50_000, 224, 14
    number = np.arange(side * side, dtype=np.int32).reshape(side, side) + 1
    number[number > n] = 0
    cell = np.zeros((pitch, pitch), np.int32)
    cell[2:-2, 2:-2] = 1
    labels = np.kron(number, cell)
    rng = np.random.default_rng(0)
    ids = np.arange(1, n + 1)
    centres = np.stack(np.divmod(ids - 1, side), axis=1) * pitch + (pitch - 1) / 2
    crops = Crops(
        np.broadcast_to(np.uint8(0), (n, 32, 32, 3)), ids, centres, np.full(n, 60.0),
        np.zeros(n, bool), 0.6,
    )  # fmt: skip
    model = engine.model
    posterior = rng.dirichlet(np.full(len(model.class_names), 0.3), n)
    posterior = (posterior + 1e-6) / (posterior + 1e-6).sum(axis=1, keepdims=True)
    results = Results(model.class_names, [c.color for c in model.classes])
    results.add(CellBatch(crops, result_of(posterior, rng.random(n) * 0.9), n, n))
    place = {"scale": (0.6, 0.6), "units": ("um", "um")}
    rgb = np.where(labels[..., None] > 0, (150, 80, 160), (240, 238, 240)).astype(np.uint8)
    image = viewer.add_image(rgb, name="field", rgb=True, **place)
    layer = viewer.add_labels(labels, name="cells", **place)
    views = CellViews(viewer, image, layer, CellMaps(labels, len(model.classes)), results)
    views.pixel_size_um, views.window_um = 0.6, 20.0
    views.paint_cells()
    Session.of(viewer).add_views(views)


class Work(QTimer):
    """Takes down how long the window computes between two ticks.

    The processor's time of this thread, which nothing else on the computer makes longer.
    """

    def __init__(self):
        super().__init__()
        self.setInterval(5)
        self.timeout.connect(self._tick)
        self.gaps, self._last = [], time.thread_time()
        self.start()

    def _tick(self):
        now = time.thread_time()
        self.gaps.append(now - self._last)
        self._last = now


@pytest.mark.slow
def test_the_next_of_fifty_thousand_cells_comes_at_once(shown, engine, qtbot):
    fifty_thousand(shown, engine)
    session = Session.of(shown)
    widget = ReviewWidget(shown)
    shown.window.add_dock_widget(widget, name="Review cells")
    gallery = widget.gallery
    qtbot.waitUntil(lambda: len(gallery.order) == 50_000, timeout=60_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=60_000)
    gallery.setFocus()
    QTest.keyClick(gallery, Qt.Key.Key_Space)  # the first cell makes the frame around it
    qtbot.wait(500)
    gc.collect()
    work, took = Work(), []
    keys = (Qt.Key.Key_1, Qt.Key.Key_Return, Qt.Key.Key_Space, Qt.Key.Key_2)
    for n in range(24):
        before, start = gallery.current_row, time.thread_time()
        QTest.keyClick(gallery, keys[n % len(keys)])
        gallery.viewport().repaint()
        took.append(time.thread_time() - start)
        assert gallery.current_row != before
        qtbot.wait(40)
    settle(shown, qtbot)
    qtbot.wait(700)  # the table of the cells follows
    work.stop()
    assert len(said(widget)) == 18
    assert np.median(took) < 0.05, took
    assert max(took) < 0.1, took
    assert max(work.gaps) < 0.2, sorted(work.gaps)[-5:]
