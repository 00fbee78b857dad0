"""Finer classes and attributes in the window."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engine import result_of
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QWidget

from cytodiffusion.traits import Trait
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.morphology import MorphologyPanel
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.counterfactual.form import CounterfactualForm
from napari_cytodiffusion.session import Session

KINDS = ("band neutrophil", "segmented neutrophil", "odd")
FINER = Trait("neutrophil", KINDS, "neutrophil", colors=("#010203",) * 3)
SHAPE = Trait("nucleus_shape", ("unsegmented-round", "irregular"), classes=("neutrophil",))
COARSE = ("basophil", "neutrophil", "red cell", "artefact")
FINE = ("basophil", *KINDS, "red cell", "artefact")


@pytest.fixture
def widget(viewer, engine, qtbot):
    engine.model.traits = (SHAPE, FINER)
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    return made


def classify(widget, qtbot, level):
    session = widget._session
    widget.form["level"].value = level
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    return session.current


def test_the_window_follows_the_level(widget, engine, viewer, smear, qtbot):
    """Cell i is of class i % 4; neutrophils are 1, 5 and 9, of the finer classes 1, 2 and 0."""
    views = classify(widget, qtbot, "fine")
    assert engine.requests[0]["settings"].level == "fine"
    assert widget.legend.names == FINE
    assert views.results.counts.tolist() == [3, 1, 1, 1, 3, 3]
    assert views.coarse.class_names == COARSE
    assert views.coarse.counts.tolist() == [3, 3, 3, 3]
    ids, shown = smear[1], viewer.layers["cells class"].data
    for cell, number in ((1, 3), (5, 4), (9, 2), (4, 1), (2, 5)):
        assert set(np.unique(shown[ids == cell])) == {number}
    np.testing.assert_allclose(
        viewer.layers["cells class"].get_color(2), [1 / 255, 2 / 255, 3 / 255, 1]
    )
    assert "segmented" in (views.results.describe(1) or "")
    counted = [c.name for c in widget.differential.found.classes]
    assert counted == ["basophil", *KINDS]
    assert "wrong coarse class" in widget.summary.text()
    # cells for review stay those of the coarse level
    assert views.results.n_review == views.coarse.n_review > 0
    qtbot.waitUntil(lambda: "coarse" in viewer.layers["cells"].features, timeout=30_000)
    # cells that go are gone on both levels
    rest = views.results.without([1, 2])
    assert rest.counts.tolist() == [3, 1, 0, 1, 2, 3]
    assert rest.coarse.counts.tolist() == [3, 2, 2, 3]
    # back to the classes of the model
    views = classify(widget, qtbot, "coarse")
    assert widget.legend.names == COARSE
    assert views.coarse is views.results
    assert "wrong coarse class" not in widget.summary.text()


def test_a_model_without_finer_classes_says_so(widget, engine, qtbot):
    engine.model.traits = ()
    views = classify(widget, qtbot, "fine")
    assert widget.legend.names == COARSE
    assert views.coarse is views.results
    assert "no finer classes" in widget.summary.text()


def test_a_person_may_say_a_finer_class(widget, viewer, qtbot):
    """It is learned on the coarse level, of which the finer class is a kind; none is new."""
    session = Session.of(viewer)
    before = classify(widget, qtbot, "fine").results
    reviewing = Reviewing.of(session)
    session.inspect(2)
    reviewing.say("segmented neutrophil")
    qtbot.waitUntil(lambda: not session.busy and reviewing._job is None, timeout=60_000)
    results = session.current.results
    assert results is not before
    assert results.class_names == widget.legend.names == FINE
    assert results.coarse.class_names == COARSE
    assert "segmented neutrophil by a person" in results.describe(2)
    assert results.coarse.record(2).by_human == COARSE.index("neutrophil")
    assert results.counts.sum() == results.coarse.counts.sum() == 12
    for name in FINE[4:]:  # both levels count the same
        assert results.counts[FINE.index(name)] == results.coarse.counts[COARSE.index(name)]


def test_heatmaps_compare_with_classes_of_the_model(widget, qtbot):
    views = classify(widget, qtbot, "fine")
    form = CounterfactualForm(QPushButton(widget), widget)
    form.show_cell(views.coarse.record(5), views)
    assert "neutrophil" in form.title.text()
    assert sorted(index for _, index in form._choices) == [0, 2, 3]
    assert form.asked().predicted == 1


@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_a_cell_has_its_finer_class_and_attributes(widget, viewer, qtbot, level):
    inspect = InspectWidget(viewer)
    qtbot.addWidget(inspect)
    classify(widget, qtbot, level)
    panel = inspect.morphology
    inspect.show_cell(5)
    assert panel.finer.text() == "Neutrophil: odd 75 %, band 12 %, segmented 12 %"
    shape, value, sure = panel.rows[0]
    assert (shape.text(), value.text(), sure.text()) == (
        "Shape of the nucleus",
        "irregular",
        "75 %",
    )
    assert shape.toolTip()
    assert panel.isVisibleTo(inspect)
    assert panel._inside.isVisibleTo(inspect)
    panel.fold.setChecked(False)
    assert not panel._inside.isVisibleTo(inspect)
    assert panel.finer.isVisibleTo(inspect)
    inspect.show_cell(2)  # a red cell, of which nothing is told
    assert not panel.isVisibleTo(inspect)


def test_a_share_next_to_one_is_written_as_it_is(qtbot):
    shares = np.array([[0.005, 0.995, 0.996, 0.004, 0]], np.float32)
    posterior = np.array([[0.1, 0.7, 0.1, 0.1]])
    result = replace(
        result_of(posterior, np.zeros(1)), traits=(SHAPE, FINER), trait_probabilities=shares
    )
    around = QWidget()
    qtbot.addWidget(around)
    panel = MorphologyPanel(around)
    panel.show_cell(SimpleNamespace(result=result))
    assert panel.finer.text() == "Neutrophil: band >99 %"
    assert panel.rows[0][2].text() == ">99 %"
    for label in (panel.finer, panel.rows[0][2]):
        assert label.textFormat() == Qt.TextFormat.PlainText


def test_nothing_is_said_by_a_model_without_traits(viewer, engine, qtbot):
    classifier, inspect = ClassifyWidget(viewer), InspectWidget(viewer)
    for made in (classifier, inspect):
        qtbot.addWidget(made)
    classify(classifier, qtbot, "coarse")
    inspect.show_cell(5)
    assert not inspect.morphology.isVisibleTo(inspect)
    assert Session.of(viewer).current is not None
