"""Observers of the open study: kappas, disputed cells and suspect labels, and the way to a cell."""

from __future__ import annotations

import pytest
from fake_engine import CLASSES
from qtpy.QtCore import Qt
from studies import fill_classified

from cytodiffusion.study import Study
from cytodiffusion.study.suspects import Suspect
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study import observers_page
from napari_cytodiffusion.study.observers_page import ObserversPage


@pytest.fixture
def current(opened, tmp_path):
    """A study with two images that Ada and Bob labelled; they disagree on one cell of b.png."""
    folder = tmp_path / "study"
    with Study.create(folder) as study:
        for number, name in enumerate(("a.png", "b.png")):
            fill_classified(study, tmp_path / name, seed=number)
        for who, last in (("Ada", CLASSES[0]), ("Bob", CLASSES[1])):
            study.annotate([("a.png", 1), ("a.png", 2)], CLASSES[0], who)
            study.annotate(("b.png", 3), last, who)
    return opened(folder)


@pytest.fixture
def page(current, viewer, qtbot):
    made = ObserversPage(viewer)
    qtbot.addWidget(made)
    made.resize(380, 620)
    made.show()
    qtbot.waitUntil(lambda: made.found is not None, timeout=20_000)
    yield made
    qtbot.waitUntil(lambda: made._job is None and made._search is None, timeout=20_000)


def click(qtbot, table, row):
    place = table.visualItemRect(table.item(row, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_blind_mode_hides_what_others_say(page, viewer):
    session = Session.of(viewer)
    session.set_blind(True)
    assert page.blind.isVisible()
    assert not page.line.isVisible()
    assert not page.tabs.isVisible()
    session.set_blind(False)
    assert page.tabs.isVisible()
    assert not page.blind.isVisible()


def test_who_labelled_what_and_how_far_they_agree(page, current, qtbot):
    assert page.people.texts(0) == ["Ada", "Bob"]
    assert page.people.texts(1) == ["3", "3"]
    assert page.pairs.texts(0) == ["Ada, Bob"]
    assert page.pairs.texts(2) == ["67%"]
    assert page.classes.texts(0) == list(CLASSES[:2])
    assert page.line.text().startswith("Of 3 cells with several labels, 1 is disputed")
    assert page.tabs.tabText(1) == "Disputed (1)"
    current._reviewing.call_observer("Cem")
    current.annotate(("b.png", 3), CLASSES[1])  # a moment later all of it is another
    qtbot.waitUntil(lambda: page.people.texts(0) == ["Ada", "Bob", "Cem"], timeout=20_000)
    assert page.pairs.texts(0)[-1] == "all (Fleiss)"
    assert page.disputed.texts(1) == [f"2 {CLASSES[1]}, 1 {CLASSES[0]}"]


def test_a_click_on_a_disputed_cell_leads_to_it(page, current, viewer, qtbot):
    page.tabs.setCurrentIndex(1)
    assert page.disputed.texts(0) == ["b.png, 3"]
    assert page.disputed.texts(1) == [f"1 {CLASSES[0]}, 1 {CLASSES[1]}"]
    assert page.disputed.texts(2) == [f"Ada: {CLASSES[0]}, Bob: {CLASSES[1]}"]
    with qtbot.waitSignal(current.image_opened, timeout=20_000):
        click(qtbot, page.disputed, 0)
    session = Session.of(viewer)
    assert current.open_names() == ["b.png"]
    assert session.chosen == 3
    record = session.current.results.record(3)
    centre = session.current.labels.data_to_world((record.y, record.x))
    assert viewer.scene.camera.center[-2:] == pytest.approx(centre)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)


def test_cells_with_several_labels_are_saved(page, tmp_path, monkeypatch, messages):
    target = tmp_path / "shared.csv"
    monkeypatch.setattr(observers_page, "ask_where", lambda *_: target)
    page.save()
    assert len(target.read_text(encoding="utf-8").splitlines()) == 4
    monkeypatch.setattr(observers_page, "ask_where", lambda *_: target / "a.csv")  # in no folder
    page.save()
    assert len(messages) == 1


def test_suspect_labels_are_looked_for_and_lead_to_the_cell(page, current, qtbot, monkeypatch):
    made = [Suspect(1, "a.png", 2, CLASSES[0], "Ada", CLASSES[1], 0.1, CLASSES[1], 0.6)]

    def find(study, *, progress):
        progress(0.5, "a.png")
        return made

    monkeypatch.setattr("cytodiffusion.study.suspects.suspect_labels", find)
    page.tabs.setCurrentIndex(2)
    qtbot.mouseClick(page.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.suspect_table.rowCount() == 1, timeout=20_000)
    qtbot.waitUntil(lambda: "contradicted" in page.run_bar.line.text(), timeout=20_000)
    assert page.run_bar.line.text() == "1 label is contradicted by both."
    assert page.tabs.tabText(2) == "Suspect (1)"
    with qtbot.waitSignal(current.image_opened, timeout=20_000):
        click(qtbot, page.suspect_table, 0)
    assert current.open_names() == ["a.png"]
    current.annotate(("a.png", 2), CLASSES[1])
    assert "look again" in page.run_bar.line.text()


def test_the_search_can_be_cancelled(page, qtbot, monkeypatch):
    def endless(study, *, progress):
        while True:
            progress(0.1, "a.png")

    monkeypatch.setattr("cytodiffusion.study.suspects.suspect_labels", endless)
    page.search()
    assert not page.run_bar.run_button.isEnabled()
    page.run_bar.cancel_button.click()
    qtbot.waitUntil(lambda: page.run_bar.line.text() == "Cancelled.", timeout=20_000)
    assert page.run_bar.run_button.isEnabled()


def test_without_a_study_it_says_what_to_do(page, current):
    current.close()
    assert page.line.text().startswith("Open a study")
    assert page.people.rowCount() == 0
    assert not page.run_bar.run_button.isEnabled()
    assert not page.save_button.isEnabled()
