"""*Review cells* on the classified field of the viewer."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from fake_engine import CLASSES
from qtpy.QtCore import QMimeData, QPointF, Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QInputDialog

from napari_cytodiffusion.review.gallery import CELLS_MIME
from napari_cytodiffusion.review.texts import changed_text, counts_text
from napari_cytodiffusion.review.widget import ReviewWidget
from napari_cytodiffusion.session import Session


def people(widget):
    return {k: v[0] for k, v in widget._session.current.people.said.items()}


def choose(box, data):
    box.setCurrentIndex(box.findData(data))


def labels(widget):
    return widget.source.cells.labels[widget.gallery.order].tolist()


def current(widget):
    return int(widget.source.cells.labels[widget.gallery.current_row])


def press(widget, key, keys=Qt.KeyboardModifier.NoModifier):
    widget.gallery.setFocus()
    QTest.keyClick(widget.gallery, key, keys)


@pytest.fixture
def active(widget, qtbot):
    widget.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is widget, timeout=5_000)
    return widget


def test_the_most_uncertain_cell_is_first_and_chosen(widget, qtbot):
    results = widget._session.current.results
    assert labels(widget) == results.ordered("uncertainty")
    assert widget.gallery.selected_count == 1
    assert widget.counts.text() == "<b>0</b> labelled (0 confirmed, 0 corrected), 12 to do."
    counts = [button._count.text() for button in widget.classes.buttons]
    assert counts == [f"{n}" for n in results.counts]
    qtbot.waitUntil(lambda: widget.thumbnails.get(widget.gallery.current_row) is not None)


def test_keys_label_confirm_skip_and_undo(active, viewer, settle):
    widget, first = active, labels(active)
    press(widget, Qt.Key.Key_2)
    settle()
    assert people(widget) == {first[0]: CLASSES[1]}
    assert current(widget) == first[1]
    press(widget, Qt.Key.Key_Return)
    settle()
    confirmed = widget._session.current.results.uncorrected.record(first[1]).predicted
    assert people(widget)[first[1]] == CLASSES[confirmed]
    press(widget, Qt.Key.Key_Space)
    assert current(widget) == first[3]
    assert len(people(widget)) == 2
    press(widget, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    settle()
    assert set(people(widget)) == {first[0]}
    assert current(widget) == first[1]  # the cell that it was
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    press(widget, Qt.Key.Key_Z, both)
    settle()
    assert set(people(widget)) == {first[0], first[1]}
    press(widget, Qt.Key.Key_Right)
    assert current(widget) == first[2]


def test_a_key_labels_all_that_are_selected_in_one_action(active, settle):
    widget = active
    widget.gallery.choose(0)
    widget.gallery.choose(3, extend=True)
    chosen = set(labels(widget)[:4])
    press(widget, Qt.Key.Key_3)
    settle()
    assert people(widget) == dict.fromkeys(chosen, CLASSES[2])
    assert current(widget) == labels(widget)[4]
    widget.undo_button.click()
    settle()
    assert people(widget) == {}


def test_the_order_stays_while_one_works(widget, settle):
    before = labels(widget)
    widget.give(0)
    settle()
    assert labels(widget) == before
    widget.again.click()
    choose(widget.filters.labelled, False)
    assert set(labels(widget)) == set(before[1:])
    choose(widget.filters.labelled, True)
    assert labels(widget) == before[:1]
    choose(widget.filters.labelled, None)
    choose(widget.filters.classes, 0)
    results = widget._session.current.results
    assert set(labels(widget)) == set(results.ordered("class", 0))


def test_the_learners_order_of_many_cells_is_made_in_a_thread(widget, qtbot, monkeypatch):
    at_once = labels(widget)
    choose(widget.order, "learner")
    expected = labels(widget)
    assert sorted(expected) == sorted(at_once)
    choose(widget.order, "uncertainty")
    monkeypatch.setattr("napari_cytodiffusion.review.widget._SORTED_AT_ONCE", 5)
    choose(widget.order, "learner")
    assert labels(widget) == at_once  # until it is there
    qtbot.waitUntil(lambda: widget._sorting is None, timeout=20_000)
    assert labels(widget) == expected


def test_cells_are_dropped_onto_a_class(widget, settle):
    widget.gallery.choose(1)
    chosen = current(widget)
    button, data = widget.classes.buttons[3], QMimeData()
    data.setData(CELLS_MIME, b"1")
    where, left = QPointF(5, 5), Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(where.toPoint(), Qt.DropAction.CopyAction, data, left, none)
    QApplication.sendEvent(button, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(button, QDropEvent(where, Qt.DropAction.CopyAction, data, left, none))
    settle()
    assert people(widget) == {chosen: CLASSES[3]}
    other = QMimeData()
    other.setText("files")
    foreign = QDragEnterEvent(where.toPoint(), Qt.DropAction.CopyAction, other, left, none)
    foreign.ignore()
    QApplication.sendEvent(button, foreign)
    assert not foreign.isAccepted()


def test_a_class_that_is_not_there_yet(widget, settle, monkeypatch):
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("blast", True))
    widget.gallery.choose(0)
    widget.classes.other.click()
    settle()
    assert set(people(widget).values()) == {"blast"}
    assert widget.classes.buttons[-1].name == "blast"
    assert widget.filters.classes.findText("blast") > 0


def test_many_classes_leave_room_for_cells(widget, qtbot):
    names = [f"class {number}" for number in range(40)]
    cells = replace(widget.source.cells, class_names=tuple(names), colors=("#336699",) * 40)
    widget.source.cells = cells
    widget._fill_filters()
    assert len(widget.classes.buttons) == 40
    assert widget.minimumSizeHint().height() < 560


def test_all_shown_cells_are_accepted_after_a_question(widget, settle, asked):
    widget.gallery.choose(0)
    wrong = current(widget)
    widget.give_name("artefact")
    settle()
    before = widget._session.current.results.uncorrected
    widget.accept_many(sure=False)
    settle()
    assert "11 cells that are shown" in asked[0]
    said = people(widget)
    assert len(said) == 12
    assert said[wrong] == "artefact"
    assert "12</b> labelled" in widget.counts.text()
    widget.undo()
    settle()
    assert set(people(widget)) == {wrong}
    assert widget._session.current.results.uncorrected is before


def test_only_cells_that_pass_the_error_rate_are_accepted(widget, settle, asked):
    # the stand-in leaves 10, 11 and 12 for review
    assert widget.accept_sure.text() == "Those that pass the error rate of Classify (9)"
    widget.accept_sure.trigger()
    settle()
    assert set(people(widget)) == set(range(1, 10))
    assert "that pass the error rate" in asked[0]


def test_a_click_in_the_slide_and_in_the_gallery(widget, viewer, qtbot):
    session, told = Session.of(viewer), []
    session.inspect(7)
    assert current(widget) == 7
    session.inspected.connect(told.append)
    widget.gallery.choose(2)
    qtbot.waitUntil(lambda: bool(told), timeout=5_000)
    assert told == [labels(widget)[2]]
    record = session.current.results.record(told[0])
    centre = session.current.labels.data_to_world((record.y, record.x))
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre, atol=1e-6)


def test_how_many_changed_and_how_it_was_before(widget, settle, viewer, qtbot):
    assert not widget.before.isVisibleTo(widget)
    widget.gallery.choose(0)
    widget.give_name("artefact")
    settle()
    assert "by what you said" in widget.changed.text()
    views = widget._session.current
    corrected = views.maps.class_map.copy()
    assert widget.before.isVisibleTo(widget)
    row, first = int(widget.gallery.order[0]), labels(widget)[0]
    for results in (views.results.uncorrected, views.results):
        with qtbot.waitSignal(widget._session.view_changed, timeout=20_000):
            widget.before.click()
        shown = widget.source.cells.posterior[row].max()
        assert shown == pytest.approx(results.record(first).confidence)
        assert np.array_equal(views.maps.class_map, corrected) == (results is views.results)


def test_keys_go_to_the_cells_after_a_choice(active, qtbot):
    box = active.order
    box.setFocus()
    box.activated.emit(0)
    assert active.gallery.hasFocus()
    # but where a button has the focus, Space is the button's
    active.again.setFocus()
    before = active.gallery.current_row
    QTest.keyClick(active.again, Qt.Key.Key_Space)
    assert active.gallery.current_row == before


def test_blind_tells_nothing_of_the_model(widget, settle):
    widget.blind.click()
    names = [widget.order.itemText(i) for i in range(widget.order.count())]
    assert names == ["Like the chosen cell", "As they lie", "In random order"]
    assert widget.order.currentData() == "chance"
    row = int(widget.gallery.order[4])
    assert widget._look_of(row).name == ""
    assert "model" not in widget._tip_of(row)
    assert all(button._count.text() == "0" for button in widget.classes.buttons)
    assert not widget.right.isVisibleTo(widget)
    assert not widget.accept.isVisibleTo(widget)
    widget.confirm()
    assert people(widget) == {}
    widget.gallery.choose(4)
    widget.give(2)
    settle()
    assert widget._look_of(row).name == CLASSES[2]
    assert "confirmed" not in widget.counts.text()
    assert not widget.before.isVisibleTo(widget)
    widget._session.set_blind(False)
    assert not widget.blind.isChecked()
    assert widget._look_of(int(widget.gallery.order[0])).name in CLASSES


def test_without_cells_it_says_what_comes_first(viewer, qtbot):
    made = ReviewWidget(viewer)
    qtbot.addWidget(made)
    assert "Classify cells comes first" in made.gallery.empty_text
    for does in (made.confirm, made.skip, made.undo, made.redo, made.sort):
        does()
    made.give(3)
    made.step(1)
    made.grab()
    assert counts_text(_counts(made)) == ""


def _counts(widget):
    from cytodiffusion.review.counts import count_cells

    return count_cells(widget.source.cells, widget.source.people)


def test_what_changed_is_said_in_words():
    assert changed_text(0, 0) == "No other cell has another class by what you said."
    assert changed_text(1, 1).startswith("1 other cell has another class")
    assert "1,200 other cells have" in changed_text(7, 1200)
    assert "7 changed by the latest word" in changed_text(7, 1200)


def test_all_labelled_is_said(widget, settle, messages, asked):
    widget.accept_many(sure=False)
    settle()
    widget.gallery.choose(3)
    widget.skip()
    assert messages == ["You have looked at all cells of this choice."]


def test_the_widget_is_let_go(viewer, engine, qtbot):
    made = ReviewWidget(viewer)
    gone = weakref.ref(made)
    made.deleteLater()
    del made

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    qtbot.waitUntil(is_gone, timeout=20_000)
    Session.of(viewer).stepped.emit(1)
