"""The dock *Lesson*: made, played by key, stopped, gone on with, looked at again, exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lesson_toys import NAMES, write_disc_lesson
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.lessons import LessonAnswers, open_lesson
from cytodiffusion.model.testing import tiny_bundle
from napari_cytodiffusion.lesson import play as page_module
from napari_cytodiffusion.lesson.widget import LessonWidget
from napari_cytodiffusion.remembered import recent_files


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Keys count at once."""
    monkeypatch.setattr(page_module, "GUARD", 0.0)


@pytest.fixture
def widget(qtbot):
    made = LessonWidget(ViewerModel())
    qtbot.addWidget(made)
    made.resize(460, 700)
    made.show()
    yield made
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(20_000)


@pytest.fixture
def opened(widget, tmp_path):
    widget.open(write_disc_lesson(tmp_path / "discs.lesson.zip"))
    return widget


def begin(widget, name: str, mode: str = "practise") -> None:
    start = widget.start_page
    start.mode.value = mode
    start.name.value = name
    QTest.mouseClick(start.begin_button, Qt.MouseButton.LeftButton)


def truth(widget) -> int:
    """Number of the class of the cell in sight."""
    sitting = widget.sitting
    cell = sitting.answers.left(sitting.info)[0]
    return NAMES.index(sitting.lesson.content.cells[cell].class_name)


def press(widget, number: int) -> None:
    QTest.keyClick(widget.play_page, Qt.Key(Qt.Key.Key_1 + number))


def space(widget) -> None:
    QTest.keyClick(widget.play_page, Qt.Key.Key_Space)


def answers(path: Path) -> list[tuple]:
    with LessonAnswers(open_lesson(path), writable=False) as kept:
        return kept.rows("SELECT said, correct FROM answers ORDER BY rowid")


def test_an_opened_lesson_says_what_it_is_about(opened) -> None:
    start = opened.start_page
    assert start.title.text() == "Discs, by Ada: 6 cells of 3 classes"
    assert "&lt;blue&gt;" in start.about.text()  # what is in a file is text, never HTML
    assert "CC0" in start.about.text()
    assert start.sittings.isHidden()
    assert recent_files("lessons/recent") == [opened.lesson.path.resolve()]


def test_played_by_key_until_every_cell_is_known(opened, qtbot, messages, tmp_path) -> None:
    begin(opened, "Ada")
    page = opened.play_page
    assert opened.pages.currentIndex() == 1
    assert "0 of 6 known" in page.place.text()
    assert [b.text() for b in page.class_buttons] == ["1  blue", "2  green", "3  red"]
    assert len(page.board.tiles()) == 1
    right = truth(opened)
    press(opened, 8)  # no class has this key
    assert page.told is None
    press(opened, (right + 1) % 3)
    assert f"Not {NAMES[(right + 1) % 3]}: it is {NAMES[right]}." in page.verdict.text()
    assert "class given by Grace" in page.verdict.text()
    captions = [tile.caption for tile in page.board.tiles()]
    assert captions[2] == f"Synthetic: as {NAMES[(right + 1) % 3]}"
    assert len(captions) == 5
    assert "cell size: big" in page.text.text()
    assert page.class_buttons[0].isHidden()
    press(opened, right)  # nothing is answered twice
    page.board.chosen.emit(page.board.tiles()[1].key)
    assert len(page.board.tiles()) == 1
    page.board.chosen.emit(page.board.tiles()[0].key)
    assert len(page.board.tiles()) == 5
    space(opened)
    assert "right at the first answer: 0 of 1" in page.place.text()
    count = 0
    while opened.pages.currentIndex() == 1:
        press(opened, truth(opened))
        assert page.told.right
        space(opened)
        count += 1
    assert count == 6  # the wrong one came again
    result = opened.result_page
    assert opened.pages.currentIndex() == 2
    assert "5 of 6 right at the first answer" in result.title.text()
    assert "The other one came again" in result.title.text()
    assert result.confusion.texts(0) == [f"{n + 1}  {name}" for n, name in enumerate(NAMES)]
    (tile,) = result.wrong.tiles()
    assert tile.caption == f"{NAMES[right]}\nnot {NAMES[(right + 1) % 3]}"
    result.wrong.chosen.emit(tile.key)
    assert opened.pages.currentIndex() == 1
    assert f"it is {NAMES[right]}" in page.verdict.text()
    space(opened)
    assert opened.pages.currentIndex() == 2
    QTest.mouseClick(result.back_button, Qt.MouseButton.LeftButton)
    assert opened.start_page.sittings.texts(2) == ["finished"]
    assert len(answers(opened.lesson.path)) == 7
    opened.export(tmp_path / "out")
    qtbot.waitUntil((tmp_path / "out" / "report.html").is_file, timeout=60_000)
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    assert "5 of 6 first answers right" in messages[-1]


def test_a_learner_stops_and_goes_on(opened, tmp_path, qtbot) -> None:
    begin(opened, "Ada")
    press(opened, truth(opened))
    space(opened)
    shown = opened.sitting.answers.left(opened.sitting.info)[0]
    QTest.mouseClick(opened.play_page.leave_button, Qt.MouseButton.LeftButton)
    start = opened.start_page
    assert start.sittings.texts(2) == ["1 of 6"]
    assert not list(tmp_path.glob("*-wal"))  # the file of answers is closed
    other = LessonWidget(ViewerModel())
    qtbot.addWidget(other)
    other.open(opened.lesson.path)
    other.start_page.name.value = "ada"
    assert other.start_page.begin_button.text() == "Go on: 1 of 6 done"
    begin(other, "ada")
    assert other.sitting.answers.left(other.sitting.info)[0] == shown


def test_a_test_tells_at_the_end(opened) -> None:
    begin(opened, "Ada", "test")
    page = opened.play_page
    assert "Cell 1 of 6" in page.place.text()
    for _ in range(6):
        QTest.mouseClick(page.class_buttons[0], Qt.MouseButton.LeftButton)
        assert page.told is None
    assert opened.pages.currentIndex() == 2
    assert "2 of 6 right" in opened.result_page.title.text()
    assert len(opened.result_page.wrong.tiles()) == 4


def test_what_is_wrong_is_told_and_nothing_is_lost(opened, tmp_path, messages) -> None:
    lesson = opened.lesson
    (tmp_path / "broken.lesson.zip").write_bytes(b"PK nothing")
    opened.open(tmp_path / "broken.lesson.zip")
    assert "not a lesson" in messages[0]
    assert opened.lesson is lesson
    begin(opened, "  ")
    assert "needs a name" in messages[1]
    assert opened.pages.currentIndex() == 0
    opened.start_page.form.run_bar.run.emit()
    assert "Choose a file" in opened.start_page.form.run_bar.line.text()


def test_made_in_the_window_and_cancelled(widget, tmp_path, qtbot, messages) -> None:
    tiny_bundle(tmp_path / "model", tuple(NAMES))
    form = widget.start_page.form
    widget.start_page.new_button.setChecked(True)
    form.fields["source"].set_value(write_discs(tmp_path / "data", {"test": 4}))
    assert form.fields["output"].value == tmp_path / "data.lesson.zip"
    form.fields["model"].value = str(tmp_path / "model")
    form.fields["device"].value = "cpu"
    form.fields["pixel_size_um"].value = PIXEL_SIZE_UM
    form.fields["per_class"].value = 2
    form.fields["explain"].value = False
    QTest.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    QTest.mouseClick(form.run_bar.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)
    assert "Cancelled; no lesson was written." in form.run_bar.line.text()
    assert not (tmp_path / "data.lesson.zip").exists()
    qtbot.waitUntil(form.run_bar.run_button.isEnabled, timeout=60_000)
    QTest.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.lesson is not None, timeout=60_000)
    assert widget.start_page.title.text() == "data: 6 cells of 3 classes"
    assert widget.pages.currentIndex() == 0
    assert not widget.start_page.form.isVisible()


@pytest.mark.window
def test_keys_of_the_window_belong_to_the_lesson(make_napari_viewer, tmp_path, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1366, 768)
    _, widget = viewer.window.add_plugin_dock_widget("napari-cytodiffusion", "Lesson")
    layer = viewer.add_labels(np.eye(4, dtype=int))
    mode = layer.mode
    widget.open(write_disc_lesson(tmp_path / "discs.lesson.zip", 3))
    begin(widget, "Ada")
    qtbot.waitUntil(lambda: widget.play_page.width() > 0)
    page = widget.play_page
    # nothing is cut off on a small screen
    window = viewer.window._qt_window
    bottom = page.leave_button.mapTo(window, page.leave_button.rect().bottomRight())
    assert window.rect().contains(bottom)
    count = 0
    while widget.pages.currentIndex() == 1:
        press(widget, truth(widget))
        space(widget)
        count += 1
    assert count == 3
    assert layer.mode == mode  # digits choose tools of a labels layer elsewhere
    assert "3 of 3 right" in widget.result_page.title.text()
