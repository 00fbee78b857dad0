"""The dock *Study*: where the day begins, its list of images, and what it remembers."""

from __future__ import annotations

import contextlib

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog
from studies import fill_classified

from cytodiffusion.errors import InputError
from cytodiffusion.study import Study
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study import widget as module
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.widget import StudyWidget


@pytest.fixture
def dock(viewer, qtbot):
    viewer.layers.clear()
    made = StudyWidget(viewer)
    made._reviewing.call_observer("Ada")
    qtbot.addWidget(made)
    made.resize(360, 900)
    made.show()
    qtbot.waitExposed(made)
    yield made
    settle(viewer, qtbot)
    made._current.close()


def settle(viewer, qtbot):
    reviewing = Reviewing.of(Session.of(viewer))
    qtbot.waitUntil(lambda: reviewing._job is None, timeout=20_000)


def click(dock, qtbot, row):
    """Click a row of the list, and wait for its image."""
    view = dock.images
    spot = view.visualRect(view.images.index(row)).center()
    with qtbot.waitSignal(dock._current.image_opened, timeout=20_000):
        qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=spot)


def rows(dock):
    return [(row.name, row.cells, row.labelled) for row in dock.images.images.rows]


def test_an_empty_dock_says_what_to_do(dock):
    assert dock.welcome.isVisible()
    assert dock.welcome.text().count(".") == 2
    assert dock.new_button.isVisible()
    assert not dock.recent.isVisible()
    assert not dock.images.isVisible()


def test_a_new_study_is_made_where_it_is_asked_for(dock, tmp_path, qtbot, monkeypatch):
    chosen = tmp_path / "mine"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(chosen), ""))
    qtbot.mouseClick(dock.new_button, Qt.MouseButton.LeftButton)
    assert (chosen / "study.db").is_file()
    assert dock.title.text() == "mine"
    assert "add images" in dock.state.text()
    dock.close_action.trigger()
    assert dock.welcome.isVisible()
    assert dock.recent.item(0).text() == "mine"
    spot = dock.recent.visualItemRect(dock.recent.item(0)).center()
    qtbot.mouseClick(dock.recent.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    assert dock.title.text() == "mine"


def test_images_are_listed_and_open_with_a_click(dock, folder, viewer, qtbot):
    assert dock._current.open(folder)
    assert rows(dock) == [("a.png", 6, 0), ("b.png", 6, 0)]
    assert dock.state.text() == "2 images, 12 cells: 0 labelled, 12 to do."
    click(dock, qtbot, 1)
    assert [layer.name for layer in viewer.layers[:2]] == ["b.png", "b.png cells"]
    click(dock, qtbot, 0)
    assert dock._current.open_names() == ["a.png"]
    assert dock.images.currentIndex().row() == 0
    dock._current.annotate(("a.png", 2), "basophil")
    qtbot.waitUntil(lambda: rows(dock)[0] == ("a.png", 6, 1), timeout=5_000)
    assert "1 labelled, 11 to do" in dock.state.text()


def test_changed_outlines_are_asked_about(dock, folder, viewer, qtbot, monkeypatch):
    asked = []
    dock._current.open(folder)
    click(dock, qtbot, 0)
    dock._current.views_of("a.png").labels.paint((2, 2), 9)
    monkeypatch.setattr(module, "ask", lambda *words: asked.append(words[2]))
    spot = dock.images.visualRect(dock.images.images.index(1)).center()
    qtbot.mouseClick(dock.images.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    qtbot.wait(100)
    assert "Outlines of a.png were changed by hand" in asked[0]
    assert dock._current.open_names() == ["a.png"]
    monkeypatch.setattr(module, "ask", lambda *words: True)
    click(dock, qtbot, 1)
    assert dock._current.open_names() == ["a.png", "b.png"]


def test_an_image_that_is_gone_is_a_sentence(dock, folder, viewer, qtbot, messages):
    dock._current.open(folder)
    (folder.parent / "images" / "b.png").unlink()
    spot = dock.images.visualRect(dock.images.images.index(1)).center()
    qtbot.mouseClick(dock.images.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    qtbot.waitUntil(lambda: dock.trouble.isVisible(), timeout=20_000)
    assert dock.trouble.text().startswith("The image b.png is no longer at")
    assert rows(dock)[1] == ("b.png", 6, 0)
    click(dock, qtbot, 0)
    assert not dock.trouble.isVisible()


def look(dock, qtbot, row):
    """Click an image that cannot be shown; return what is said of it."""
    spot = dock.images.visualRect(dock.images.images.index(row)).center()
    qtbot.mouseClick(dock.images.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    qtbot.waitUntil(lambda: dock.trouble.isVisible(), timeout=20_000)
    return dock.trouble.text()


def test_an_image_that_was_changed_is_a_sentence(dock, folder, qtbot, messages):
    dock._current.open(folder)
    (folder.parent / "images" / "b.png").write_bytes(b"another picture")
    assert "is no longer the image b.png" in look(dock, qtbot, 1)
    click(dock, qtbot, 0)


def test_a_label_image_that_is_missing_is_a_sentence(dock, folder, qtbot, messages):
    dock._current.open(folder)
    (folder / dock._current.study.image("b.png").labels).unlink()
    assert "is missing in the study: put it back from a copy" in look(dock, qtbot, 1)
    click(dock, qtbot, 0)


def test_a_damaged_study_is_a_sentence_and_stays_as_it_is(dock, folder, messages):
    file = folder / "study.db"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    before = file.read_bytes()
    assert not dock._current.open(folder)
    assert "is damaged: use a copy of it" in dock.start_trouble.text()
    assert file.read_bytes() == before


def fill_up(study, comment):
    """Annotate until the disk is full."""
    with contextlib.suppress(InputError):
        for _ in range(1_000):
            study.annotate(("b.png", 1), "neutrophil", "Bob", comment=comment)
        pytest.fail("there was always space")


def test_a_full_disk_keeps_what_was_said(dock, folder, viewer, qtbot, messages):
    dock._current.open(folder)
    click(dock, qtbot, 0)
    assert dock._current.annotate(("a.png", 2), "basophil")
    study = dock._current.study
    pages = study.database.one("PRAGMA page_count")
    study.database.rows(f"PRAGMA max_page_count = {pages}")
    for comment in ("x" * 500, ""):  # until nothing more fits, not even a little
        fill_up(study, comment)
    assert not dock._current.annotate(("a.png", 1), "neutrophil")
    assert "No space is left on the disk of the study" in dock.trouble.text()
    assert list(dock._current.views_of("a.png").people.said) == [2]
    with Study.open(folder, writable=False) as other:
        assert other.cells("a.png")["human"].tolist() == ["", "basophil", *[""] * 4]
        assert other.database.damage() == ""


def test_odd_names_are_shown_as_they_are(dock, tmp_path, viewer, qtbot):
    with Study.create(tmp_path / "<b>odd &amp; study") as study:
        odd = fill_classified(study, tmp_path / "<i>'a\"; 細胞🩸%s.png")
    dock._current.open(tmp_path / "<b>odd &amp; study")
    assert dock.title.textFormat() == dock.trouble.textFormat() == Qt.TextFormat.PlainText
    assert dock.title.text() == "<b>odd &amp; study"
    assert rows(dock) == [(odd, 6, 0)]
    click(dock, qtbot, 0)
    dock._reviewing.call_observer("<u>O'Neil")
    assert dock._current.annotate((odd, 1), "basophil")
    assert dock._current.study.annotations()["observer"].tolist() == ["<u>O'Neil"]


def test_a_study_of_a_newer_version_is_a_sentence(dock, folder, messages, qtbot):
    with Study.open(folder) as study:
        study.database.rows("PRAGMA user_version = 99")
    assert not dock._current.open(folder)
    assert "newer version" in dock.start_trouble.text()
    assert dock.welcome.isVisible()


def test_a_study_that_may_not_be_written_is_looked_at(dock, folder, messages, qtbot, monkeypatch):
    monkeypatch.setattr("napari_cytodiffusion.study.current.may_write", lambda _: False)
    dock._current.open(folder)
    assert dock._current.study is not None
    assert not dock._current.writable
    assert "only be looked at" in dock.trouble.text()
    click(dock, qtbot, 0)
    assert not dock._current.annotate(("a.png", 1), "basophil")
    assert messages == ["The study study was opened only to look at it."]


def test_a_locked_study_loses_nothing(dock, folder, viewer, messages, qtbot, monkeypatch):
    monkeypatch.setattr("napari_cytodiffusion.study.current._BUSY_SECONDS", 0.05)
    dock._current.open(folder)
    click(dock, qtbot, 0)
    with Study.open(folder) as other, other.database.transaction():
        assert not dock._current.annotate(("a.png", 1), "basophil")
    assert "in use by another program" in dock.trouble.text()
    assert dock._current.views_of("a.png").people.said == {}
    assert dock._current.annotate(("a.png", 1), "basophil")


def test_who_looks_is_said_in_the_dock(dock, folder, qtbot):
    dock._current.open(folder)
    assert dock.observer.text() == "Ada"
    dock.observer.setText("Ben")
    dock.observer.editingFinished.emit()
    assert dock._current.observer == "Ben"
    dock._current.annotate(("a.png", 1), "basophil")
    assert dock._current.study.observers() == ["Ben"]


def test_what_the_model_says_anew_is_kept(dock, folder, viewer, qtbot):
    from napari_cytodiffusion.classify.widget import ClassifyWidget

    classify = ClassifyWidget(viewer)
    qtbot.addWidget(classify)
    dock._current.open(folder)
    click(dock, qtbot, 0)
    classify.form["error_rate"].value = 0.05
    with qtbot.waitSignal(dock._current.predictions_changed, timeout=30_000):
        classify.start()
    runs = dock._current.study.runs()
    assert len(runs) == 2
    assert runs[0].settings["error_rate"] == 0.05
    assert len(dock._current.study.classification("a.png", runs[0].id)[0]) == 6
    assert dock._current.open_names() == ["a.png"]


def test_images_that_others_add_are_listed(dock, folder, tmp_path, qtbot):
    dock._current.open(folder)
    with Study.open(folder) as other:
        fill_classified(other, tmp_path / "images" / "c.png", seed=5)
    dock._current.images_changed.emit()
    assert len(rows(dock)) == 3


def test_it_opens_where_one_was(dock, folder, viewer, qtbot):
    session = Session.of(viewer)
    dock._current.open(folder)
    click(dock, qtbot, 1)
    session.show("uncertainty")
    session.inspect(4)
    viewer.scene.camera.zoom, viewer.scene.camera.center = 7.0, (3.0, 9.0)
    session.show_classes([True, False, True, True])
    dock._current.close()
    assert len(viewer.layers) == 0
    assert CurrentStudy.of(session).study is None
    with qtbot.waitSignal(dock._current.image_opened, timeout=20_000) as told:
        dock._current.open(folder)
    assert told.args == ["b.png"]
    assert session.current.kind == "uncertainty"
    assert session.current.shown == [True, False, True, True]
    assert session.chosen == 4
    assert viewer.scene.camera.zoom == 7.0
    assert tuple(viewer.scene.camera.center[-2:]) == (3.0, 9.0)
