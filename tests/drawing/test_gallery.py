"""Tiles of synthetic cells in one picture."""

from __future__ import annotations

import numpy as np
import pytest

from cytodiffusion.drawing.gallery import MARK, PAPER, Gallery, columns_for
from cytodiffusion.errors import InputError

COLORS = {"basophil": "#332288", "monocyte": "#cc6677"}
NAMES = ["basophil"] * 3 + ["monocyte"] * 4


def gallery(names=NAMES, **options):
    return Gallery(names, COLORS, 64, "SYNTHETIC CELLS. Drawn by a model", **options)


def cells(n, size=64):
    """Flat tiles, each of its own brightness."""
    levels = np.arange(n, dtype=np.uint8)[:, None, None, None] * 10
    return np.broadcast_to(levels, (n, size, size, 3)).copy()


def test_each_cell_is_where_its_label_is():
    made = gallery()
    made.put(np.arange(5), cells(5))
    made.put([6, 5], cells(7)[[6, 5]])
    for number in range(len(NAMES)):
        tile = made.labels == number + 1
        assert tile.sum() == 64 * 64
        assert (made.image[tile] == 10 * number).all()
    assert made.labels.max() == len(NAMES)


def test_empty_tiles_are_paper():
    made = gallery()
    assert (made.image[made.labels > 0] == PAPER).all()


def test_classes_are_named_with_their_colours_between_the_tiles():
    made = gallery()
    between = made.image[made.labels == 0]
    for color in COLORS.values():
        rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (between == rgb).all(axis=-1).sum() > 10
    assert (between.max(axis=-1) < 120).sum() > 50


def test_the_headline_loses_sentences_rather_than_letters():
    narrow, wide = gallery(["basophil"]), gallery(["basophil"] * 60)
    for made in (narrow, wide):
        before = made.image.copy()
        made.title("SYNTHETIC. And more about the many models that have drawn it.")
        assert (before[made.labels > 0] == made.image[made.labels > 0]).all()
    alone = gallery(["basophil"])
    alone.title("SYNTHETIC")
    np.testing.assert_array_equal(narrow.image, alone.image)
    alone = gallery(["basophil"] * 60)
    alone.title("SYNTHETIC")
    assert (wide.image != alone.image).any()


def test_marked_cells_are_framed_and_stay_whole():
    made = gallery()
    made.put(range(7), cells(7))
    made.mark([2])
    red = (made.image == MARK).all(axis=-1)
    assert red.any()
    assert (made.labels[red] == 0).all()
    rows, columns = np.nonzero(red)
    y, x = made.corner(2)
    assert rows.min() < y
    assert rows.max() >= y + 64
    assert columns.min() < x
    assert columns.max() >= x + 64


def test_many_cells_are_shown_in_part():
    names = ["basophil"] * 50 + ["monocyte"] * 50
    made = gallery(names, most=10)
    assert len(made.shown) == made.labels.max() == 10
    assert made.names.count("basophil") == 5
    for start in range(0, 100, 7):
        numbers = np.arange(start, min(start + 7, 100))
        made.put(numbers, np.full((len(numbers), 64, 64, 3), start, np.uint8))
    for tile, number in enumerate(made.shown):
        assert (made.image[made.labels == tile + 1] == number // 7 * 7).all()


@pytest.mark.parametrize("each", [1, 3, 4, 7, 10])
def test_classes_of_one_size_begin_alike(each):
    names = [name for name in "abcdefghij" for _ in range(each)]
    columns = columns_for(names, 1.1)
    assert columns % each == 0 or each % columns == 0
    assert columns >= np.sqrt(len(names)) / 1.5


def test_nothing_to_show_is_said():
    with pytest.raises(InputError, match="no cells"):
        gallery([])
