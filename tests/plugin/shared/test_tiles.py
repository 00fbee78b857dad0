"""Pictures side by side: how large they are, and what is written under them."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QWidget

from napari_cytodiffusion.shared.common import TallArea
from napari_cytodiffusion.shared.tiles import PictureTile, TileBoard

PIXELS = np.zeros((8, 8, 3), np.uint8)


def tiles(number, caption="neutrophil"):
    return [PictureTile(PIXELS, caption, key=index) for index in range(number)]


@pytest.fixture
def board(qtbot):
    parent = QWidget()
    qtbot.addWidget(parent)
    made = TileBoard(1, parent, least=84)
    made.resize(300, 220)
    yield made
    del parent


def test_many_pictures_ask_for_height_rather_than_shrink(board, qtbot):
    board.set_tiles(tiles(10))
    assert board.minimumHeight() > 4 * 84
    parent = board.parentWidget()
    area = TallArea(board, parent)
    area.resize(300, 220)
    parent.show()
    qtbot.waitExposed(parent)
    assert area.verticalScrollBar().maximum() > 0
    sides = {board.place_of(index).width() for index in range(10)}
    assert len(sides) == 1
    assert sides.pop() >= 84
    last = board.place_of(9)
    assert last.bottom() + 10 < board.height()


def test_pictures_that_fit_are_as_large_as_there_is_room(board):
    board.resize(600, 700)
    board.set_tiles(tiles(4))
    assert board.place_of(0).width() > 280


def test_a_long_name_goes_over_two_lines(board):
    board.set_tiles(tiles(10, "immature granulocyte"))
    side = board.place_of(0).width()
    metrics = board.fontMetrics()
    lines = board._wrapped("immature granulocyte", metrics.horizontalAdvance("granulocyte"))
    assert lines == ["immature", "granulocyte"]
    for line in board._wrapped("immature granulocyte", side):
        assert metrics.horizontalAdvance(line) <= side
    # and there is room for it above the next row
    below = board.place_of(3).top() - board.place_of(0).bottom()
    assert below >= 2 * metrics.height()
