from __future__ import annotations

import numpy as np
import pytest

from cytodiffusion.image.label_changes import CellChanges, changed_cells


@pytest.fixture
def labels():
    image = np.zeros((40, 60), np.int32)
    for number in range(6):
        y, x = divmod(number, 3)
        image[4 + 20 * y : 14 + 20 * y, 4 + 20 * x : 14 + 20 * x] = number + 1
    return image


def test_nothing_changed(labels):
    found = changed_cells(labels, labels.copy())
    assert not found
    assert found == CellChanges()
    assert changed_cells(labels, labels.astype(np.uint16)) == CellChanges()


def test_painted_deleted_and_added_cells(labels):
    after = labels.copy()
    after[4, 14] = 1  # one pixel more
    after[after == 2] = 0
    after[30, 30] = 99
    assert changed_cells(labels, after) == CellChanges((1, 5), (99,), (2,))
    assert changed_cells(labels, after).to_classify == (1, 5, 99)


def test_a_cell_that_was_only_moved_or_merged(labels):
    moved = labels.copy()
    moved[moved == 3] = 0
    moved[5:15, 45:55] = 3
    assert changed_cells(labels, moved) == CellChanges((3,))
    merged = np.where(labels == 6, 5, labels)
    assert changed_cells(labels, merged) == CellChanges((5,), (), (6,))
    # numbers that were exchanged are other cells
    swapped = np.where(labels == 1, 2, np.where(labels == 2, 1, labels))
    assert changed_cells(labels, swapped).changed == (1, 2)


def test_another_shape_changes_everything(labels):
    found = changed_cells(labels, labels[:20])
    assert found == CellChanges((1, 2, 3), (), (4, 5, 6))
    assert changed_cells(labels, np.zeros_like(labels)).removed == (1, 2, 3, 4, 5, 6)


def test_strips_see_the_whole_image(labels, monkeypatch):
    from cytodiffusion.image import label_changes as changes

    monkeypatch.setattr(changes, "_STRIP_PIXELS", 60)
    after = labels.copy()
    after[39, 59] = 7
    after[25, 5] = 0
    assert changed_cells(labels, after) == CellChanges((4,), (7,))
