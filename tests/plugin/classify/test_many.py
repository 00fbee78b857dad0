"""Many cells at once: one action each, one undo, and a widget that takes the keys."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QWidget

from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.layers.people import People
from napari_cytodiffusion.session import Session


@pytest.fixture
def desk(viewer, engine, qtbot):
    classify, inspect = ClassifyWidget(viewer), InspectWidget(viewer)
    for widget in (classify, inspect):
        qtbot.addWidget(widget)
    classify.start()
    settle(viewer, qtbot)
    return classify, inspect, Session.of(viewer)


def settle(viewer, qtbot):
    session = Session.of(viewer)
    reviewing = Reviewing.of(session)
    qtbot.waitUntil(lambda: not session.busy and not reviewing.is_learning, timeout=60_000)


class Guide(QWidget):
    """A widget that leads, and writes down what it is asked to do."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def give(self, index):
        self.asked.append(index)

    def confirm(self):
        self.asked.append("confirm")

    def undo(self):
        self.asked.append("undo")

    def redo(self):
        self.asked.append("redo")


def press(viewer, key):
    """Do what napari does for a key on the canvas."""
    found = {str(k): does for k, does in viewer.keymap.items()}
    found[key](viewer)


def test_one_undo_takes_back_one_action():
    people = People({4: ("red cell", "Ada")})
    people.say_many({1: "basophil", 2: "basophil", 4: "basophil"}, "Bo")
    people.say(1, "neutrophil", "Bo")
    assert people.undo() == (1,)
    assert people.said[1] == ("basophil", "Bo")
    assert set(people.undo()) == {1, 2, 4}
    assert people.said == {4: ("red cell", "Ada")}
    assert people.undo() == ()
    assert set(people.redo()) == {1, 2, 4}
    assert people.said[4] == ("basophil", "Bo")
    people.say(7, "artefact", "Bo")
    assert people.redo() == ()  # they went on since


def test_many_cells_get_a_class_in_one_action(desk, viewer, qtbot):
    session = desk[2]
    reviewing = Reviewing.of(session)
    reviewing.say_many([3, 5, 7], "basophil")
    settle(viewer, qtbot)
    results = session.current.results
    assert [results.record(label).human for label in (3, 5, 7)] == ["basophil"] * 3
    assert set(reviewing.undo()) == {3, 5, 7}
    settle(viewer, qtbot)
    assert not session.current.people.said
    assert set(reviewing.redo()) == {3, 5, 7}
    settle(viewer, qtbot)
    assert set(session.current.people.said) == {3, 5, 7}


def test_the_model_is_right_about_many_cells(desk, viewer, qtbot):
    session = desk[2]
    names = session.current.results.class_names
    wanted = {i: names[session.current.results.record(i).predicted] for i in (1, 2, 3, 4)}
    Reviewing.of(session).confirm_many([1, 2, 3, 4, 99])  # there is no cell 99
    settle(viewer, qtbot)
    assert {k: name for k, (name, _) in session.current.people.said.items()} == wanted
    assert len(set(wanted.values())) > 1


def test_how_many_other_cells_changed_is_known(desk, viewer, qtbot):
    session = desk[2]
    reviewing = Reviewing.of(session)
    before = session.current.results
    reviewing.say_many([1, 2, 3, 5, 6, 7], "artefact")
    settle(viewer, qtbot)
    now = session.current.results
    others = [i for i in range(1, 13) if i not in session.current.people.said]
    changed = sum(now.record(i).predicted != before.record(i).predicted for i in others)
    assert reviewing.changed_class == (changed, changed)
    reviewing.undo()
    settle(viewer, qtbot)
    assert reviewing.changed_class[1] == 0


def test_a_widget_that_is_seen_takes_the_keys_of_the_canvas(desk, viewer, qtbot):
    _, inspect, session = desk
    reviewing = Reviewing.of(session)
    guide = Guide()
    qtbot.addWidget(guide)
    reviewing.lead(guide)
    session.inspect(3)
    press(viewer, "1")  # it is not seen: the key is about the inspected cell
    settle(viewer, qtbot)
    assert session.current.people.said[3][0] == "basophil"
    guide.show()
    for key in ("2", "Enter", "Ctrl+Z", "Ctrl+Shift+Z"):
        press(viewer, key)
    assert guide.asked == [1, "confirm", "undo", "redo"]
    assert session.current.people.said == {3: ("basophil", "")}
    inspect.step(1)
    assert session.chosen == 3  # the guide goes on by itself
    guide.hide()
    inspect.step(1)
    assert session.chosen != 3


def test_classes_as_they_were_before(desk, viewer, qtbot):
    classify, _, session = desk
    before = session.current.maps.class_map.copy()
    Reviewing.of(session).say_many([3, 5, 7], "artefact")
    settle(viewer, qtbot)
    after = session.current.maps.class_map.copy()
    assert not np.array_equal(before, after)
    for corrected, wanted in ((False, before), (True, after)):
        with qtbot.waitSignal(session.view_changed):
            session.show_corrected(corrected)
        np.testing.assert_array_equal(session.current.maps.class_map, wanted)
        counts = [int(c.text().split()[0]) for c in classify.legend.counts]
        assert counts == session.current.shown_counts.tolist()
    session.show_corrected(False)
    assert "by a person" not in session.current.describe(130, 130)


def test_what_is_learned_shows_when_one_looks_at_the_present_again(desk, viewer, qtbot):
    session = desk[2]
    reviewing = Reviewing.of(session)
    reviewing.say_many([3], "artefact")
    settle(viewer, qtbot)
    with qtbot.waitSignal(session.view_changed):
        session.show_corrected(False)
    kept = session.current.maps.class_map.copy()
    reviewing.say_many([6], "artefact")
    settle(viewer, qtbot)
    np.testing.assert_array_equal(session.current.maps.class_map, kept)
    with qtbot.waitSignal(session.view_changed):
        session.show_corrected(True)
    labels = viewer.layers["cells"].data
    artefact = session.current.results.class_names.index("artefact") + 1
    assert (session.current.maps.class_map[np.isin(labels, (3, 6))] == artefact).all()
