"""Expected cells: what the form asks for, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from cytodiffusion.classification.result import Classification
from napari_cytodiffusion.classify import texts
from napari_cytodiffusion.classify.widget import ClassifyWidget


@pytest.fixture
def widget(viewer, engine, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    return made


def classify(widget, qtbot):
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    session = widget._session
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)
    return session.current


def test_fields_are_taken_for_normal_blood_and_that_is_said(widget, engine, smear, qtbot):
    classify(widget, qtbot)
    assert engine.requests[0]["settings"].prior == "normal-blood"
    assert "as in normal blood; no cell has its class from that" in widget.summary.text()


def test_all_classes_alike_says_nothing(widget, engine, smear, qtbot):
    widget.form["prior"].value = "even"
    classify(widget, qtbot)
    assert engine.requests[0]["settings"].prior == "even"
    assert "expected" not in widget.summary.text()


def test_own_shares_have_a_line_that_is_hidden_otherwise(widget, engine, smear, qtbot):
    widget.form.fold.setChecked(True)
    shares = widget.form["prior_shares"]
    assert not shares.visible
    widget.form["prior"].value = "own"
    assert not shares.native.isHidden()
    shares.value = "lymphocyte=0.8, neutrophil=0.1"
    classify(widget, qtbot)
    settings = engine.requests[0]["settings"]
    assert settings.prior == "own"
    assert settings.prior_shares == {"lymphocyte": 0.8, "neutrophil": 0.1}
    assert "as you said" in widget.summary.text()
    widget.form["prior"].value = "even"  # the line keeps its text, which is not meant then
    classify(widget, qtbot)
    assert engine.requests[1]["settings"].prior_shares == {}


def test_shares_that_cannot_be_are_told(widget, engine, smear, qtbot, monkeypatch):
    told = []
    monkeypatch.setattr("napari_cytodiffusion.classify.widget.tell", told.append)
    widget.form["prior"].value = "own"
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert "needs shares" in str(told[0])
    widget.form["prior_shares"].value = "lymphocyte=0.8, neutrophil=0.5"
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert "more than 1" in str(told[1])
    assert engine.requests == []


def test_cells_that_the_prior_decided_are_counted_and_explained(widget, engine, smear, qtbot):
    views = classify(widget, qtbot)
    batch = views.results.batches[0]
    decided = np.zeros(len(batch.result), bool)
    decided[0] = True
    marked: Classification = replace(batch.result, by_prior=decided)
    views.results.add(replace(batch, result=marked, revises=0))
    widget._show_counts(views)
    assert "one cell has its class from that" in widget.summary.text()
    record = views.results.record(int(batch.crops.ids[0]))
    assert record is not None
    assert record.review
    assert "mixture of cells that is expected" in texts.review(record)
