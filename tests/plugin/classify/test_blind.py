"""Blind mode: nothing tells what the model says, and all of it comes back."""

from __future__ import annotations

import pytest

from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.session import Session


@pytest.fixture
def desk(viewer, engine, qtbot):
    classify, inspect = ClassifyWidget(viewer), InspectWidget(viewer)
    for widget in (classify, inspect):
        qtbot.addWidget(widget)
    classify.start()
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3)
    return classify, inspect, session


def told(widget):
    """All texts of a widget that are to be seen."""
    from qtpy.QtWidgets import QLabel

    labels = [label for label in widget.findChildren(QLabel) if label.isVisibleTo(widget)]
    return " ".join(label.text() for label in labels)


def test_the_slide_hides_classes_uncertainty_and_outlines(desk):
    _, _, session = desk
    layers = session.current.layers
    shown = {role: layer.visible for role, layer in layers.items()}
    session.set_blind(True)
    assert not any(layer.visible for layer in layers.values())
    session.switch()  # key U
    session.toggle_colors()  # key H
    session.show_outlines(True, True)
    assert not any(layer.visible for layer in layers.values())
    session.switch()
    session.set_blind(False)
    assert {role: layer.visible for role, layer in layers.items()} == shown


def test_the_table_of_the_layers_says_nothing_of_the_model(desk, qtbot):
    _, _, session = desk
    views = session.current
    shown = [views.labels, views.layers["class"]]
    qtbot.waitUntil(lambda: all("predicted" in layer.features for layer in shown), timeout=30_000)
    before = views.labels.features
    session.set_blind(True)
    for layer in shown:
        assert set(layer.features) <= {"index", "label"}
        assert len(layer.features) == len(before)
    views.set_features(before.assign(human=""))  # a table that comes meanwhile
    assert all("predicted" not in layer.features for layer in shown)
    session.set_blind(False)
    for layer in shown:
        assert [*layer.features] == [*before.assign(human="")]
        assert layer.features["predicted"].equals(before["predicted"])


def test_the_status_bar_says_only_what_people_said(desk, qtbot):
    _, _, session = desk
    views = session.current
    session.set_blind(True)
    assert views.describe(30, 25) == "cell 1"
    Reviewing.of(session).say_many([1], "basophil")
    qtbot.waitUntil(lambda: not Reviewing.of(session).is_learning, timeout=60_000)
    assert views.describe(30, 25) == "basophil by a person (cell 1)"
    session.set_blind(False)
    assert "by a person" in views.describe(30, 25)


def test_inspect_shows_the_picture_and_no_word_of_the_model(desk):
    _, inspect, session = desk
    inspect.show()
    session.inspect(3)
    name = session.current.results.class_names[session.current.results.record(3).predicted]
    assert name in told(inspect)
    session.set_blind(True)
    assert name not in told(inspect)
    assert inspect.review_bar.choice.currentText() == ""
    assert inspect.review_bar.whose.text() == "said by nobody yet"
    for part in (inspect.posterior, inspect.gauge, inspect.morphology, inspect.order):
        assert not part.isVisibleTo(inspect)
    assert inspect.crop.isVisibleTo(inspect)
    # the order tells nothing either: it is that of the labels
    walked = []
    for _ in range(4):
        walked.append(session.chosen)
        inspect.step(1)
    assert walked == [3, 4, 5, 6]
    session.set_blind(False)
    session.inspect(3)
    assert name in told(inspect)
    assert inspect.posterior.isVisibleTo(inspect)


def test_classify_hides_legend_counts_and_summary(desk):
    classify, _, session = desk
    session.set_blind(True)
    text = told(classify)
    assert "Blind mode" in text
    assert not classify.legend.isVisibleTo(classify)
    assert not classify.summary.isVisibleTo(classify)
    session.set_blind(False)
    assert "Blind mode" not in told(classify)
    assert classify.legend.isVisibleTo(classify)


def test_cells_that_are_classified_meanwhile_are_hidden_too(desk, qtbot):
    classify, _, session = desk
    session.set_blind(True)
    classify.start()
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3)
    assert not any(layer.visible for layer in session.current.layers.values())


def test_a_widget_that_is_opened_meanwhile_is_blind(desk, viewer, qtbot):
    desk[2].set_blind(True)
    classify, inspect = ClassifyWidget(viewer), InspectWidget(viewer)
    for widget in (classify, inspect):
        qtbot.addWidget(widget)
    assert not classify.legend.isVisibleTo(classify)
    assert not inspect.order.isVisibleTo(inspect)
