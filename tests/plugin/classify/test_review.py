"""Cells too unsure for an error rate: counted, outlined, found again, said."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from cytodiffusion.errors import InputError
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.session import Session

#: Cells of the stand-in that are for review, and those that are unlike anything in the training.
REVIEW, ANOMALIES = {10, 11, 12}, {4, 9}
#: Values of the outlines in their map: inner and outer half.
WHITE, AMBER = {1, 2}, {3, 6}


@pytest.fixture
def widget(viewer, engine, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    return made


def classify(widget, qtbot, percent=2.0):
    widget.form["error_rate"].value = percent / 100 or None
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    session = widget._session
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    if session.current is not None:
        qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)


def outlined(viewer, ids, values):
    shown = viewer.layers["cells anomalies"].data
    return set(np.unique(ids[np.isin(shown, list(values))]).tolist())


def test_the_field_speaks_of_errors(widget):
    field = widget.form["error_rate"]
    assert field.value == 0.02
    assert field.native.text() == "2.0 %"
    field.value = None
    assert field.native.text() == "any, mark none"
    field.value = 0.025
    assert field.value == 0.025
    assert field.native.text() == "2.5 %"


def test_a_slide_that_is_new_to_the_model_is_told(widget, engine, qtbot, monkeypatch):
    monkeypatch.setattr("cytodiffusion.classification.result.MANY", 0.1)
    classify(widget, qtbot, 0)
    assert widget.summary.text().startswith("2 of 12 cells are unlike those the model was trained")


def test_nothing_is_for_review_with_no_error_rate(widget, engine, viewer, smear, qtbot):
    classify(widget, qtbot, 0)
    assert engine.requests[0]["settings"].error_rate is None
    assert "review" not in widget.summary.text()
    assert not widget.review.isVisibleTo(widget)
    assert outlined(viewer, smear[1], WHITE) == ANOMALIES
    assert outlined(viewer, smear[1], AMBER) == set()


def test_cells_for_review_are_counted_and_outlined(widget, engine, viewer, smear, qtbot):
    classify(widget, qtbot)
    assert engine.requests[0]["settings"].error_rate == 0.02
    assert "3 of 12 cells are too unsure for 2 % errors" in widget.summary.text()
    assert "At most 2 % of the others, and of the white cells among them" in widget.summary.text()
    assert widget.review.text() == "Outline cells too unsure for 2 % errors"
    assert widget.review.isVisibleTo(widget)
    layer = viewer.layers["cells anomalies"]
    assert outlined(viewer, smear[1], AMBER) == REVIEW
    assert outlined(viewer, smear[1], WHITE) == ANOMALIES
    np.testing.assert_allclose(layer.get_color(3), (1.0, 0.62, 0.11, 1.0), atol=0.01)
    np.testing.assert_allclose(layer.get_color(6), (0, 0, 0, 1))
    widget.anomalies.setChecked(False)
    assert outlined(viewer, smear[1], WHITE) == set()
    assert layer.visible
    widget.review.setChecked(False)
    assert not layer.visible
    widget.anomalies.setChecked(True)
    assert layer.visible
    assert outlined(viewer, smear[1], AMBER) == set()


def test_the_rate_that_stands_there_is_not_insisted_on(widget, engine, qtbot):
    classify(widget, qtbot)
    assert "error_rate" not in engine.requests[0]["settings"].model_fields_set
    classify(widget, qtbot, 5.0)
    assert "error_rate" in engine.requests[1]["settings"].model_fields_set
    assert "too unsure for 5 % errors" in widget.summary.text()


def test_a_model_that_can_promise_nothing_says_so(widget, engine, viewer, smear, qtbot):
    engine.promises = False
    classify(widget, qtbot)
    assert "No cell is marked as too unsure" in widget.summary.text()
    assert not widget.review.isVisibleTo(widget)
    assert outlined(viewer, smear[1], AMBER) == set()
    classify(widget, qtbot, 0)
    assert "review" not in widget.summary.text()


def test_hidden_classes_are_not_outlined_for_review(widget, viewer, smear, qtbot):
    classify(widget, qtbot)
    widget.legend.boxes[10 % 4].setChecked(False)
    assert outlined(viewer, smear[1], AMBER) == REVIEW - {10}


def test_the_table_of_the_labels_says_it(widget, viewer, qtbot):
    classify(widget, qtbot)
    cells = viewer.layers["cells"]
    qtbot.waitUntil(lambda: "review" in cells.features, timeout=30_000)
    column = cells.features["review"]
    assert column.dtype == bool
    assert set(np.flatnonzero(column)) == REVIEW


def test_the_pointer_is_told(widget, viewer, qtbot):
    classify(widget, qtbot)
    layer = viewer.layers["cells class"]
    unsure = layer.get_status(layer.data_to_world((130, 75)), world=True)["value"]
    sure = layer.get_status(layer.data_to_world((30, 75)), world=True)["value"]
    assert "for review" in unsure
    assert "cell 10" in unsure
    assert "for review" not in sure


def test_a_second_run_without_forgets_it(widget, viewer, smear, qtbot):
    classify(widget, qtbot)
    classify(widget, qtbot, 0)
    assert "review" not in widget.summary.text()
    assert not widget.review.isVisibleTo(widget)
    assert outlined(viewer, smear[1], AMBER) == set()


def test_what_cannot_be_promised_is_said_before_there_are_layers(
    widget, engine, viewer, messages, qtbot
):
    engine.refusal = InputError("The model fake cannot promise an error rate of 0.02.")
    classify(widget, qtbot)
    assert messages == ["The model fake cannot promise an error rate of 0.02."]
    assert Session.of(viewer).current is None
    assert [layer.name for layer in viewer.layers] == ["smear", "cells"]


def test_inspect_walks_through_them_and_says_why(widget, viewer, qtbot):
    inspect = InspectWidget(viewer)
    qtbot.addWidget(inspect)
    classify(widget, qtbot)
    inspect.only.setCurrentIndex(inspect.only.findData("review"))
    seen = set()
    for _ in range(4):
        inspect.step(1)
        seen.add(inspect._label)
    assert seen == REVIEW
    assert "For review" in inspect.review.text()
    assert "84.00\u00a0%" in inspect.review.text()
    inspect.show_cell(1)
    assert inspect.review.text() == "Accepted: its confidence is above 84.00\u00a0%."
    inspect.show_cell(4)
    assert inspect.unusual.text() == "Unlike anything in the training."
    assert inspect.facts["anomaly"].text() == "1, limit 0.9"


def test_inspect_is_silent_where_nothing_was_asked(widget, viewer, qtbot):
    inspect = InspectWidget(viewer)
    qtbot.addWidget(inspect)
    classify(widget, qtbot, 0)
    inspect.show_cell(12)
    assert inspect.only.findData("review") == -1
    assert not inspect.review.isVisibleTo(inspect)


def test_classes_that_contradict_the_outlines_are_told_and_outlined(
    widget, engine, viewer, smear, qtbot
):
    """Cells 1, 5 and 9 are neutrophils to the stand-in; all cells were outlined as red ones."""
    cells = viewer.layers["cells"]
    cells.metadata["cytodiffusion"] = {"kinds": [1] * 12}
    classify(widget, qtbot, 0)
    assert engine.requests[0]["kinds"] == [1] * 12
    contradicted = {i for i in range(1, 13) if i % 4 in (0, 1)}  # basophils and neutrophils
    said = widget.summary.text()
    assert "6 cells that were outlined without a nucleus" in said
    assert "3 basophil, 3 neutrophil" in said
    assert widget.review.isVisibleTo(widget)
    assert outlined(viewer, smear[1], AMBER) == contradicted - ANOMALIES
    qtbot.waitUntil(lambda: "contradiction" in cells.features, timeout=30_000)
    assert set(np.flatnonzero(cells.features["contradiction"])) == contradicted
    widget.review.setChecked(False)
    assert outlined(viewer, smear[1], AMBER) == set()


def test_the_unsure_and_the_contradicted_are_told_together(widget, viewer, smear, qtbot):
    viewer.layers["cells"].metadata["cytodiffusion"] = {"kinds": [1] * 12}
    classify(widget, qtbot)
    assert "8 of 12 cells are too unsure for 2 % errors or contradicted" in widget.summary.text()
    assert outlined(viewer, smear[1], AMBER) == {1, 5, 8, 10, 11, 12}


def test_labels_of_other_tools_contradict_nothing(widget, engine, viewer, smear, qtbot):
    classify(widget, qtbot, 0)
    assert engine.requests[0]["kinds"] is None
    assert "without a nucleus" not in widget.summary.text()
