from __future__ import annotations

import gc
import re
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_cytodiffusion.classify import texts
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.session import Session


@pytest.fixture
def widget(viewer, engine, qtbot):
    classify = ClassifyWidget(viewer)
    qtbot.addWidget(classify)
    made = InspectWidget(viewer)
    qtbot.addWidget(made)
    assert not made.next.isEnabled()
    assert "Classify cells" in made.hint.text()
    classify.start()
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=30_000)
    return made


def test_one_cell_with_everything(widget, viewer):
    widget.show_cell(3)
    assert "artefact" in widget.title.text()
    assert "cell 3" in widget.title.text()
    assert "88 %" in widget.title.text()
    assert widget.summary.text() == "next basophil 4 %"
    assert widget.members.text() == "Only artefact fits; the others are ruled out."
    assert widget.unusual.text() == "Not unusual: like cells in the training."
    assert not widget.border.isVisibleTo(widget)
    # figures for who wants them, folded away and without jargon
    assert not widget.more.isVisibleTo(widget)
    widget.fold.setChecked(True)
    assert widget.more.isVisibleTo(widget)
    assert widget.facts["trials"].text() == "3"
    assert widget.facts["entropy"].text().startswith("36 %")
    assert "0.1" in widget.facts["scale"].text()
    assert "limit 0.9" in widget.facts["anomaly"].text()
    for label in widget.findChildren(QLabel):
        assert not re.search(r"\bnats?\b|posterior", label.text() + label.toolTip(), re.IGNORECASE)
    for value in widget.facts.values():
        assert value.toolTip()
    assert widget.posterior._bars.opts["width"].sum() == pytest.approx(1)
    assert len(widget.errors.getPlotItem().listDataItems()) == 4
    image = widget.crop.pixmap().toImage()
    assert image.width() == image.height() == 288
    centre = image.pixelColor(144, 144)
    assert (centre.red(), centre.green(), centre.blue()) == (200, 120, 140)


def test_a_frame_marks_the_cell_without_taking_the_selection(widget, viewer):
    widget.show_cell(1)
    frame = viewer.layers["inspected cell"]
    np.testing.assert_allclose(np.ptp(frame.data[0], axis=0), 200)
    np.testing.assert_allclose(frame.scale, viewer.layers["cells"].scale)
    assert viewer.layers.selection.active is viewer.layers["cells class"]
    for label, centre in ((1, (30, 25)), (2, (30, 75)), (8, (80, 175))):
        widget.show_cell(label)
        frame = viewer.layers["inspected cell"]
        middle = frame.data_to_world(np.asarray(frame.data[0]).mean(axis=0))
        there = viewer.layers["cells"].data_to_world(centre)
        np.testing.assert_allclose(middle, there, atol=0.02)
    assert len([layer for layer in viewer.layers if layer.name == "inspected cell"]) == 1


def test_cells_are_inspected_in_the_3d_view_too(widget, viewer):
    """napari cannot exchange flat shapes while it shows three dimensions."""
    widget.show_cell(1)
    viewer.dims.ndisplay = 3
    for label in (2, 3):
        widget.show_cell(label)
        assert f"cell {label}" in widget.title.text()
    widget.step(1)
    frame = viewer.layers["inspected cell"]
    there = viewer.layers["cells"].data_to_world((30, 75))
    np.testing.assert_allclose(frame.data_to_world((0, 0)), there, atol=0.02)
    viewer.dims.ndisplay = 2
    widget.step(1)


def record_of(posterior, members, anomaly=False):
    """Made up cell of three classes."""
    posterior = np.asarray(posterior)
    return SimpleNamespace(
        predicted=int(posterior.argmax()),
        posterior=posterior,
        confidence=float(posterior.max()),
        prediction_set=np.isin(np.arange(3), members),
        anomaly=anomaly,
    )


@pytest.mark.parametrize(
    ("posterior", "members", "following", "fits"),
    [
        ([0.98, 0.02, 0], [0], "next b 2 %", "Only a fits; the others are ruled out."),
        ([0.98, 0.02, 0], [], "next b 2 %", "No class fits well enough."),
        ([0.3, 0.6, 0.1], [0, 1], "next a 30 %", "May be b or a; the others are ruled out."),
        ([0.3, 0.4, 0.3], [0, 1, 2], "next a 30 %", "No class can be ruled out."),
        (
            [0.998, 0.001, 0.001],
            [0],
            "every other class less than 1 %",
            "Only a fits; the others are ruled out.",
        ),
    ],
)
def test_classes_in_words(posterior, members, following, fits):
    record = record_of(posterior, members)
    assert texts.runner_up(record, "abc") == following
    assert texts.fitting(record, "abc") == fits


@pytest.mark.parametrize(("order", "first"), [("uncertainty", 12), ("anomaly", 4), ("class", 12)])
def test_next_and_previous_follow_the_order(widget, qtbot, order, first):
    widget.order.setCurrentIndex(widget.order.findData(order))
    qtbot.mouseClick(widget.next, Qt.MouseButton.LeftButton)
    assert widget._label == first
    assert widget.place.text() == "1 of 12"
    qtbot.mouseClick(widget.next, Qt.MouseButton.LeftButton)
    assert widget.place.text() == "2 of 12"
    qtbot.mouseClick(widget.previous, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(widget.previous, Qt.MouseButton.LeftButton)
    assert widget.place.text() == "12 of 12"


def test_only_one_class(widget, qtbot):
    widget.only.setCurrentIndex(widget.only.findData(2))
    seen = set()
    for _ in range(4):
        widget.step(1)
        seen.add(widget._label)
    assert seen == {2, 6, 10}


def test_the_camera_follows_if_wanted(widget, viewer):
    widget.step(1)
    camera = viewer.scene.camera
    target = viewer.layers["cells"].data_to_world((130, 175))
    np.testing.assert_allclose(camera.center[-2:], target, atol=0.05)
    assert camera.zoom >= 7
    widget.follow.setChecked(False)
    widget.step(1)
    np.testing.assert_allclose(camera.center[-2:], target, atol=0.05)


def test_keys_step(widget, viewer):
    Session.of(viewer).stepped.emit(1)
    first = widget._label
    assert first
    Session.of(viewer).stepped.emit(1)
    assert widget._label != first


def test_removing_the_cells_empties_it(widget, viewer):
    widget.show_cell(1)
    viewer.layers.remove("cells")
    assert Session.of(viewer).current is None
    assert not widget.next.isEnabled()
    assert "Classify cells" in widget.hint.text()


def test_session_dies_with_its_viewer(engine, qtbot):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    session = Session.of(viewer, engine)
    assert Session.of(viewer) is session
    alive = weakref.ref(viewer), weakref.ref(session)
    del viewer, session
    gc.collect()
    assert alive[0]() is None
    assert alive[1]() is None


@pytest.mark.parametrize("points", [8, 13])
def test_no_number_is_cut_where_the_widget_is_narrowest(widget, qtbot, points):
    font = widget.font()
    font.setPointSize(points)
    widget.setFont(font)
    widget.step(1)
    widget.fold.setChecked(True)
    widget.facts["scale"].setText("0.0683 \u00b5m/px")
    widget.resize(1, 220)  # too low for everything, so that the scroll bar takes some width
    widget.show()
    qtbot.waitExposed(widget)
    qtbot.waitUntil(lambda: widget.width() >= widget.minimumSizeHint().width())
    seen = widget._area.viewport()
    for value in widget.facts.values():
        end = value.mapTo(seen, value.rect().topLeft()).x() + value.sizeHint().width()
        assert end <= seen.width(), value.text()
