"""Classes of the open study, changed in the window: every name and colour follows at once."""

from __future__ import annotations

import numpy as np
import pytest
from fake_engine import CLASSES
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QInputDialog, QLineEdit
from studies import fill_classified

from cytodiffusion.study import Study
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.study.classes_page import ClassesPage


@pytest.fixture
def current(opened, tmp_path):
    """A study with one image of six cells, of which Ada called the first a basophil."""
    folder = tmp_path / "study"
    with Study.create(folder) as study:
        fill_classified(study, tmp_path / "a.png")
        study.annotate(("a.png", 1), "basophil", "Ada")
    return opened(folder)


@pytest.fixture
def page(current, viewer, qtbot):
    made = ClassesPage(viewer)
    qtbot.addWidget(made)
    made.resize(360, 420)
    made.show()
    return made


def choose(page, *names):
    page.table.clearSelection()
    for row, name in enumerate(page.table.texts(0)):
        for column in range(3):
            page.table.item(row, column).setSelected(name in names)


def names_of(current):
    return [one.name for one in current.study.classes()]


def test_it_shows_what_there_is(page, current, qtbot):
    assert page.table.texts(0) == list(CLASSES)
    assert page.table.texts(2) == ["1", *["0"] * (len(CLASSES) - 1)]
    assert not page.delete_button.isEnabled()
    current.annotate(("a.png", 2), "basophil")  # counted in a moment: keys come first
    qtbot.waitUntil(lambda: page.table.texts(2)[0] == "2", timeout=5_000)


def test_a_name_is_typed_into_the_table(page, current, qtbot):
    item = page.table.item(0, 0)
    place = page.table.visualItemRect(item).center() + QPoint(6, 0)
    qtbot.mouseClick(page.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(page.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    field = page.table.viewport().findChild(QLineEdit)
    field.selectAll()
    qtbot.keyClicks(field, "mast cell")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names_of(current)[0] == "mast cell", timeout=5_000)  # queued by Qt
    assert current.study.annotations()["class"].tolist() == ["mast cell"]
    assert page.table.texts(0)[0] == "mast cell"
    assert page.line.text() == "basophil is called mast cell now."


def test_what_a_name_means_already_is_said_and_the_table_is_as_before(page, current):
    page.table.item(0, 0).setText(CLASSES[1])
    assert (
        page.line.text()
        == f"{CLASSES[1]} means the class {CLASSES[1]} already: merge the two instead."
    )
    assert page.table.texts(0) == list(CLASSES)
    page.table.item(0, 0).setText("a|b")
    assert "cannot be a name" in page.line.text()
    assert page.table.texts(0) == list(CLASSES)


def test_a_class_is_added_by_its_name(page, current, qtbot):
    qtbot.keyClicks(page.new_name, "blast")
    assert page.add_button.isEnabled()
    qtbot.keyClick(page.new_name, Qt.Key.Key_Return)
    assert page.table.texts(0)[-1] == "blast"
    assert page.new_name.text() == ""
    page.new_name.setText("Basophil")
    page.add()
    assert page.line.text() == "Basophil means basophil, which is there already."
    assert page.table.rowCount() == len(CLASSES) + 1


def test_colours_and_names_follow_everywhere(page, current, viewer, qtbot, monkeypatch):
    classify = ClassifyWidget(viewer)
    qtbot.addWidget(classify)
    with qtbot.waitSignal(current.image_opened, timeout=20_000):
        current.open_image("a.png")
    views = current.views_of("a.png")
    qtbot.waitUntil(lambda: len(views.layers) == 3, timeout=20_000)
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#123456"))
    choose(page, "basophil")
    page.choose_color()
    page.rename("basophil", "mast cell")
    assert views.results.class_names[0] == "mast cell"
    np.testing.assert_allclose(
        views.layers["class"].get_color(1)[:3], np.array([0x12, 0x34, 0x56]) / 255, atol=0.01
    )
    assert classify.legend.names[0] == "mast cell"
    assert classify.legend.colors[0] == "#123456"
    assert page.table.texts(0)[0] == "mast cell"
    assert views.people.said == {1: ("mast cell", "Ada")}
    assert [one.name for one in page.selected()] == ["mast cell"]


def test_several_are_grouped_at_once(page, current, monkeypatch):
    choose(page, *CLASSES[:2])
    monkeypatch.setattr(QInputDialog, "getItem", lambda *_: ("granulocyte  ", True))
    page.choose_group()
    assert [one.group for one in current.study.classes()][:2] == ["granulocyte"] * 2
    assert page.table.texts(1)[:2] == ["granulocyte"] * 2


def test_merged_labels_are_those_of_the_other(page, current, monkeypatch):
    offered = []

    def pick(parent, title, text, items, *_):
        offered.extend(items)
        return CLASSES[2], True

    monkeypatch.setattr(QInputDialog, "getItem", pick)
    choose(page, *CLASSES[:2])
    page.choose_merge()
    assert offered == list(CLASSES[2:])
    assert names_of(current) == list(CLASSES[2:])
    assert current.study.annotations()["class"].tolist() == [CLASSES[2]]
    assert page.table.texts(2)[0] == "1"


def test_a_class_with_labels_is_not_deleted_nor_any_other_with_it(page, current, qtbot):
    choose(page, *CLASSES[:2])
    qtbot.mouseClick(page.delete_button, Qt.MouseButton.LeftButton)
    assert "1 cell" in page.line.text()
    assert names_of(current) == list(CLASSES)
    choose(page, CLASSES[1])
    qtbot.mouseClick(page.delete_button, Qt.MouseButton.LeftButton)
    assert names_of(current) == [CLASSES[0], *CLASSES[2:]]
    assert page.line.text() == f"Deleted: {CLASSES[1]}."


def test_without_a_study_or_only_looking_nothing_is_offered(page, current, monkeypatch):
    folder = current.folder
    current.close()
    assert page.table.rowCount() == 0
    assert "Open a study" in page.help.text()
    assert not page.new_name.isEnabled()
    monkeypatch.setattr("napari_cytodiffusion.study.current.may_write", lambda _: False)
    current.open(folder)
    choose(page, "basophil")
    assert "only to look at it" in page.help.text()
    assert not page.color_button.isEnabled()
    assert not page.table.item(0, 0).flags() & Qt.ItemFlag.ItemIsEditable
