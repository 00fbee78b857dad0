"""The gallery: what is selected, by mouse and keys; only what is seen is drawn."""

from __future__ import annotations

import time

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest

from napari_cytodiffusion.review.gallery import CellGallery, TileLook

_LEFT = Qt.MouseButton.LeftButton
_SHIFT, _CONTROL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def gallery(qtbot):
    made = CellGallery(None)
    qtbot.addWidget(made)
    made.resize(460, 400)
    made.show()
    made.set_order(np.arange(40)[::-1])
    return made


def middle(gallery, position):
    return gallery.rect_of(position).center()


def click(gallery, position, keys=Qt.KeyboardModifier.NoModifier):
    QTest.mouseClick(gallery.viewport(), _LEFT, keys, middle(gallery, position))


def drag(gallery, start, end):
    port = gallery.viewport()
    QTest.mousePress(port, _LEFT, Qt.KeyboardModifier.NoModifier, start)
    for share in (0.3, 0.7, 1.0):
        QTest.mouseMove(port, start + (end - start) * share)
    QTest.mouseRelease(port, _LEFT, Qt.KeyboardModifier.NoModifier, end)


def test_a_click_chooses_a_cell_and_tells_its_row(gallery, qtbot):
    told = []
    gallery.current_changed.connect(told.append)
    with qtbot.waitSignal(gallery.clicked) as clicked:
        click(gallery, 5)
    assert clicked.args == [34]
    assert told == [34]
    assert gallery.selected_rows().tolist() == [34]


def test_shift_and_control_select_more(gallery):
    click(gallery, 2)
    click(gallery, 5, _SHIFT)
    assert gallery.selected_rows().tolist() == [37, 36, 35, 34]
    click(gallery, 1, _CONTROL)
    assert gallery.selected_rows().tolist() == [38, 37, 36, 35, 34]
    click(gallery, 3, _CONTROL)
    assert 36 not in gallery.selected_rows()
    click(gallery, 3)
    assert gallery.selected_rows().tolist() == [36]


def test_a_click_on_one_of_many_selects_it_alone(gallery):
    click(gallery, 0)
    click(gallery, 4, _SHIFT)
    click(gallery, 2)
    assert gallery.selected_rows().tolist() == [37]


def test_a_band_selects_what_it_touches(gallery):
    start = gallery.rect_of(1).topLeft() + QPoint(30, 30)
    drag(gallery, start, gallery.rect_of(6).topLeft() + QPoint(20, 20))
    # from the second cell of the first line into the third of the second: columns 1 and 2
    assert gallery._columns == 4
    assert sorted(39 - gallery.selected_rows()) == [1, 2, 5, 6]
    assert gallery.current_row in gallery.selected_rows()
    drag(gallery, QPoint(1, 1), QPoint(1, 380))  # beside the cells
    assert len(gallery.selected_rows()) == 0


def test_arrows_move_and_shift_extends(gallery):
    click(gallery, 0)
    for key, row in (
        (Qt.Key.Key_Right, 38),
        (Qt.Key.Key_Down, 34),
        (Qt.Key.Key_Left, 35),
        (Qt.Key.Key_Up, 39),
        (Qt.Key.Key_Up, 39),
        (Qt.Key.Key_End, 0),
        (Qt.Key.Key_Home, 39),
    ):
        QTest.keyClick(gallery, key)
        assert gallery.current_row == row
    QTest.keyClick(gallery, Qt.Key.Key_Down, _SHIFT)
    assert gallery.selected_rows().tolist() == [39, 38, 37, 36, 35]
    QTest.keyClick(gallery, Qt.Key.Key_A, _CONTROL)
    assert gallery.selected_count == 40


def test_what_is_current_stays_in_sight(gallery):
    gallery.choose(39)
    for side in (60, 150, 90):
        gallery.set_side(side)
        assert gallery.viewport().rect().intersects(gallery.rect_of(39))
    gallery.resize(250, 300)
    assert gallery.viewport().rect().intersects(gallery.rect_of(39))
    assert 0 in gallery.seen()


def test_another_order_keeps_the_cell(gallery):
    gallery.choose_row(7)
    gallery.set_order(np.arange(5, 30), current=7)
    assert (gallery.current_row, gallery.position_of(7)) == (7, 2)
    assert not gallery.choose_row(35)  # it is not shown
    gallery.set_order(np.zeros(0, np.int64))
    assert gallery.current_row == -1
    QTest.keyClick(gallery, Qt.Key.Key_Right)
    gallery.grab()


def test_only_cells_in_sight_are_drawn(gallery):
    asked = []

    def picture(row):
        asked.append(row)
        return QImage(32, 32, QImage.Format.Format_RGB888)

    gallery.picture_of = picture
    gallery.look_of = lambda row: TileLook("neutrophil", "#117733", row % 2 == 0)
    gallery.set_order(np.arange(50_000))
    start = time.process_time()
    for value in np.linspace(0, gallery.verticalScrollBar().maximum(), 30):
        gallery.verticalScrollBar().setValue(int(value))
        gallery.grab()
    gallery.select_all()
    gallery.set_side(100)
    gallery.grab()
    assert max(asked) == 49_999
    assert len(asked) < 31 * 60
    assert time.process_time() - start < 3
