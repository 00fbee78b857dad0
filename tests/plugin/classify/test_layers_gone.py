"""Layers of a classification: their table, and what is left when one is removed or none is made."""

from __future__ import annotations

import pandas as pd
import pytest
from qtpy.QtCore import Qt

from cytodiffusion.errors import InputError
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.session import Session


@pytest.fixture
def widget(viewer, engine, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    return made


def classify(widget, qtbot):
    session = widget._session
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    if session.current is not None:
        qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)


def names(viewer):
    return [layer.name for layer in viewer.layers]


def test_the_class_layer_has_the_table_of_the_cells(widget, viewer, qtbot):
    classify(widget, qtbot)
    shown = viewer.layers["cells class"]
    qtbot.waitUntil(lambda: "predicted" in shown.features, timeout=30_000)
    pd.testing.assert_frame_equal(shown.features, viewer.layers["cells"].features)
    assert "no_class_fits" in shown.features
    # its values are classes: what the table says of a number is not said of a pixel
    outside = shown.get_status(shown.data_to_world((0, 0)), world=True)
    assert not any("predicted" in text for text in outside.values())
    viewer.layers.remove("cells class")
    widget._session.show("class")
    again = viewer.layers["cells class"].features
    pd.testing.assert_frame_equal(again, viewer.layers["cells"].features)


def test_the_legend_says_that_its_layer_is_gone_and_brings_it_back(widget, viewer, qtbot):
    classify(widget, qtbot)
    assert widget.legend.isVisibleTo(widget)
    assert not widget.removed.isVisibleTo(widget)
    viewer.layers.remove("cells class")
    assert not widget.legend.isVisibleTo(widget)
    assert widget.removed.isVisibleTo(widget)
    assert "The layer of the classes was removed. Class shows it again." in widget.removed.text()
    qtbot.wait(200)
    assert "cells class" not in names(viewer)  # not by itself
    qtbot.mouseClick(widget.uncertainty_button, Qt.MouseButton.LeftButton)
    assert widget.legend.isVisibleTo(widget)
    viewer.layers.remove("cells uncertainty")
    assert "uncertainty was removed" in widget.removed.text()
    qtbot.mouseClick(widget.class_button, Qt.MouseButton.LeftButton)
    assert viewer.layers["cells class"].data.any()
    assert widget.legend.isVisibleTo(widget)
    assert not widget.removed.isVisibleTo(widget)


def test_when_all_layers_are_gone_the_legend_is_too(widget, viewer, qtbot):
    classify(widget, qtbot)
    for name in names(viewer)[2:]:
        viewer.layers.remove(name)
    assert widget._session.current is None
    assert widget.legend.boxes == []
    assert widget.summary.text() == ""
    qtbot.waitUntil(lambda: not widget.differential.isVisibleTo(widget), timeout=5_000)
    assert not widget.export.button.isEnabled()
    assert not widget.review.isVisibleTo(widget)
    classify(widget, qtbot)
    assert len(widget.legend.boxes) == 4
    assert widget.legend.isVisibleTo(widget)


def test_a_class_layer_that_is_removed_at_once_stays_away(widget, viewer, qtbot):
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "cells class" in viewer.layers, timeout=30_000)
    viewer.layers.remove("cells class")
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=30_000)
    qtbot.wait(300)
    assert "cells class" not in names(viewer)


@pytest.mark.parametrize("how", ["error", "cancel"])
def test_a_run_without_a_cell_leaves_no_layers(widget, engine, viewer, messages, qtbot, how):
    if how == "error":
        engine.error = InputError("No.")
        classify(widget, qtbot)
        assert messages == ["No."]
    else:
        engine.seconds_a_batch = 5.0  # cancelled before the first is done
        widget.start()
        qtbot.waitUntil(engine.begun.is_set, timeout=30_000)
        widget._session.cancel()
        qtbot.waitUntil(lambda: not widget._session.busy, timeout=30_000)
        assert engine.closed.wait(30)
    assert names(viewer) == ["smear", "cells"]
    assert Session.of(viewer).current is None


def test_it_leaves_the_layers_of_an_earlier_run_as_they_were(
    widget, engine, viewer, messages, qtbot
):
    classify(widget, qtbot)
    before = viewer.layers["cells class"].data
    counts = [label.text() for label in widget.legend.counts]
    engine.error = InputError("No.")
    classify(widget, qtbot)
    assert viewer.layers["cells class"].data is before
    assert before.any()
    assert [label.text() for label in widget.legend.counts] == counts
