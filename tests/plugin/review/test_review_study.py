"""*Review cells* on all images of an open study."""

from __future__ import annotations

import numpy as np
from fake_engine import CLASSES

from cytodiffusion.study import Study
from napari_cytodiffusion.session import Session


def on_disk(folder):
    with Study.open(folder, writable=False) as study:
        return {number: dict(map(reversed, pairs)) for number, pairs in study.said().items()}


def number(widget):
    return int(widget.source.cells.numbers[widget.gallery.current_row])


def test_a_label_is_on_the_disk_before_the_next_cell_shows(of_study, folder):
    seen = []

    def look(row):
        seen.append(on_disk(folder))

    of_study.gallery.choose(0)
    first = number(of_study)
    of_study.gallery.current_changed.connect(look)
    of_study.give(1)
    assert seen == [{first: {"Ada": CLASSES[1]}}]
    assert number(of_study) != first


def test_several_cells_of_several_images_are_one_action(of_study, folder):
    widget = of_study
    assert widget.whose.currentText() == "Whole study"
    widget.order.setCurrentIndex(widget.order.findData("place"))
    widget.gallery.choose(4)
    widget.gallery.choose(7, extend=True)
    rows = widget.gallery.selected_rows()
    assert set(widget.source.cells.image[rows]) == {0, 1}
    widget.give(2)
    assert len(on_disk(folder)) == 4
    widget.undo()
    assert on_disk(folder) == {}
    widget.redo()
    assert len(on_disk(folder)) == 4
    assert "4</b> labelled" in widget.counts.text()


def test_each_observer_has_their_own_to_do(of_study, current, folder):
    of_study.gallery.choose(0)
    first = number(of_study)
    of_study.give(1)
    current._reviewing.call_observer("ada")  # is the same person
    assert of_study.source.mine()[of_study.source.cells.row_of(first)] == 1
    current._reviewing.call_observer("Ben")
    of_study.sort()
    assert number(of_study) == first  # Ben has not looked at it
    of_study.give(2)
    assert on_disk(folder)[first] == {"Ada": CLASSES[1], "Ben": CLASSES[2]}
    assert "1 disputed" in of_study.counts.text()
    names = [
        of_study.filters.observers.itemText(i) for i in range(of_study.filters.observers.count())
    ]
    assert names == ["By anybody", "Ada", "Ben"]


def test_a_click_opens_the_image_and_keys_do_not(of_study, current, viewer, qtbot, settle):
    widget, session = of_study, Session.of(viewer)
    widget.order.setCurrentIndex(widget.order.findData("place"))
    widget.gallery.choose(1)
    qtbot.wait(120)
    assert current.open_names() == []
    with qtbot.waitSignal(current.image_opened, timeout=20_000):
        widget.gallery.clicked.emit(widget.gallery.current_row)
    qtbot.waitUntil(lambda: session.chosen == 2, timeout=5_000)
    settle()
    session.inspect(5)  # a click in the slide
    assert widget.source.cells.labels[widget.gallery.current_row] == 5
    # cells of the open image show what corrections made of them
    before = widget.source.cells.posterior.copy()
    widget.give(3)
    settle()
    image = widget.source.cells.image
    changed = np.abs(widget.source.cells.posterior - before).max(axis=1) > 0
    assert changed[image == 0].any()
    assert not changed[image == 1].any()
    assert session.current.people.said[5] == (CLASSES[3], "Ada")


def test_what_others_say_is_shown(of_study, current, folder):
    cells = of_study.source.cells
    with Study.open(folder) as study:
        study.annotate(int(cells.numbers[3]), CLASSES[0], "Eve")
    current.annotated.emit((int(cells.numbers[3]),))
    assert of_study.source.people.by("Eve")[3] == 0
    assert "Eve" in of_study._tip_of(3)


def test_a_new_class_and_a_renamed_one(of_study, current, qtbot):
    of_study.gallery.choose(0)
    first = number(of_study)
    of_study.give_name("blast")
    source = of_study.source
    qtbot.waitUntil(lambda: "blast" in of_study.source.cells.class_names, timeout=20_000)
    qtbot.waitUntil(lambda: source._job is None, timeout=20_000)
    row = source.cells.row_of(first)
    assert of_study._look_of(row).name == "blast"
    current.study.change_class("blast", new_name="myeloblast")
    current.classes_changed.emit()
    qtbot.waitUntil(lambda: "myeloblast" in of_study.source.cells.class_names, timeout=20_000)
    qtbot.waitUntil(lambda: source._job is None, timeout=20_000)
    assert of_study.classes.buttons[-1].name == "myeloblast"


def test_the_widget_follows_the_study_that_is_open(of_study, current, viewer):
    assert of_study.whose.isVisibleTo(of_study)
    current.close()
    assert not of_study.whose.isVisibleTo(of_study)
    assert len(of_study.source.cells) == 0
    assert "Classify cells comes first" in of_study.gallery.empty_text


def test_pictures_of_an_image_that_is_gone_are_told(of_study, current, folder, qtbot, messages):
    (folder.parent / "images" / "b.png").unlink()
    of_study.thumbnails.set_source(of_study.source.cut())
    of_study.thumbnails.want(range(12))
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    assert "b.png is no longer at" in messages[0]
    # those of the other image are there
    here = of_study.source.cells.image == 0
    qtbot.waitUntil(
        lambda: all(of_study.thumbnails.get(int(row)) for row in np.flatnonzero(here)),
        timeout=20_000,
    )
