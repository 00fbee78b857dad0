"""The study that is open in a viewer: images shown, classes on the disk, taken back, renamed."""

from __future__ import annotations

import numpy as np
import pytest
from fake_engine import CLASSES

from cytodiffusion.study import Study
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy


@pytest.fixture
def current(viewer, folder, qtbot):
    viewer.layers.clear()
    made = CurrentStudy.of(Session.of(viewer))
    assert made.open(folder)
    made._reviewing.call_observer("Ada")
    yield made
    settle(viewer, qtbot)
    made.close()


def settle(viewer, qtbot):
    reviewing = Reviewing.of(Session.of(viewer))
    qtbot.waitUntil(lambda: reviewing._job is None, timeout=20_000)


def show(current, qtbot, name):
    with qtbot.waitSignal(current.image_opened, timeout=20_000) as told:
        current.open_image(name)
    assert told.args == [name]
    views = current.views_of(name)
    qtbot.waitUntil(lambda: len(views.layers) == 3, timeout=20_000)
    return views


def said_on_disk(folder, name="a.png"):
    with Study.open(folder, writable=False) as study:
        places = study.places(study.said(image=name))
        return {places[n][1]: pairs for n, pairs in study.said(image=name).items()}


def test_an_image_is_shown_as_it_was_classified(current, viewer, qtbot):
    views = show(current, qtbot, "a.png")
    assert [layer.name for layer in viewer.layers[:2]] == ["a.png", "a.png cells"]
    assert views.results.class_names == CLASSES
    assert len(views.results) == 6
    assert views.labels.features["predicted"][1] == views.results.class_names[1]
    assert views.pixel_size_um == 0.5
    assert Session.of(viewer).current is views
    assert current.image_of(views) == "a.png"
    np.testing.assert_array_equal(views.maps.class_map > 0, views.labels.data > 0)


def test_another_image_takes_the_place(current, viewer, qtbot):
    show(current, qtbot, "a.png")
    show(current, qtbot, "b.png")
    assert current.open_names() == ["b.png"]
    assert current.views_of("a.png") is None


def test_outlines_changed_by_hand_stay(current, viewer, qtbot):
    views = show(current, qtbot, "a.png")
    assert not current.changed_by_hand("a.png")
    views.labels.paint((2, 2), 9)
    assert current.changed_by_hand("a.png")
    show(current, qtbot, "b.png")
    assert current.open_names() == ["a.png", "b.png"]


def test_what_is_said_is_on_the_disk_at_once(current, folder, viewer, qtbot):
    views = show(current, qtbot, "a.png")
    session = Session.of(viewer)
    session.inspect(2)
    Reviewing.of(session).say("basophil")
    assert said_on_disk(folder) == {2: (("basophil", "Ada"),)}
    assert views.people.said == {2: ("basophil", "Ada")}
    assert current.annotate([("b.png", 1), ("a.png", 3)], "blast", seconds=1.5)
    assert said_on_disk(folder, "b.png") == {1: (("blast", "Ada"),)}
    assert views.people.said[3] == ("blast", "Ada")
    settle(viewer, qtbot)
    assert views.results.class_names[-1] == "blast"
    assert views.results.record(3).human == "blast"


def test_undo_and_redo_go_through_the_study(current, folder, viewer, qtbot):
    views = show(current, qtbot, "a.png")
    session, heard = Session.of(viewer), []
    current.annotated.connect(heard.append)
    reviewing = Reviewing.of(session)
    session.inspect(2)
    reviewing.say("basophil")
    session.inspect(4)
    reviewing.undo()
    assert said_on_disk(folder) == {}
    assert views.people.said == {}
    assert session.chosen == 2
    reviewing.redo()
    assert views.people.said == {2: ("basophil", "Ada")}
    assert said_on_disk(folder) == {2: (("basophil", "Ada"),)}
    assert len(heard) == 3


def test_what_was_said_is_there_when_the_image_is_opened(current, viewer, qtbot):
    assert current.annotate(("a.png", 5), "neutrophil")
    views = show(current, qtbot, "a.png")
    assert views.people.said == {5: ("neutrophil", "Ada")}
    settle(viewer, qtbot)
    assert views.results.record(5).human == "neutrophil"


def test_names_and_colours_follow(current, viewer, qtbot):
    views = show(current, qtbot, "a.png")
    current.annotate(("a.png", 1), "basophil")
    settle(viewer, qtbot)
    current.study.change_class("basophil", new_name="mast cell", color="#123456")
    current.classes_changed.emit()
    assert views.results.class_names[0] == "mast cell"
    assert views.results.colors[0] == "#123456"
    settle(viewer, qtbot)
    assert views.results.class_names == ("mast cell", *CLASSES[1:])
    assert views.results.colors[0] == "#123456"
    assert views.people.said == {1: ("mast cell", "Ada")}
    color = views.layers["class"].get_color(1)
    np.testing.assert_allclose(color[:3], np.array([0x12, 0x34, 0x56]) / 255, atol=0.01)


def test_a_cell_that_is_gone_is_a_sentence(current, messages, qtbot):
    show(current, qtbot, "a.png")
    assert not current.annotate(("a.png", 99), "basophil")
    assert messages == ["There is no cell 99 in a.png."]


def test_what_is_not_a_study_leaves_the_open_one(current, tmp_path, messages):
    assert not current.open(tmp_path / "nowhere")
    assert len(messages) == 1
    assert current.study is not None
    assert current.study.name == "study"
