"""Cells are known again in a new segmentation by their pixels."""

from __future__ import annotations

import numpy as np

from cytodiffusion.image.label_changes import same_cells


def test_cells_that_overlap_by_more_than_half_are_the_same() -> None:
    before, after = np.zeros((20, 40), np.int32), np.zeros((20, 40), np.int32)
    before[2:8, 2:8], before[2:8, 12:18], before[2:8, 22:28], before[12:18, 2:8] = 1, 2, 3, 4
    after[2:8, 3:9] = 7  # moved a little
    after[2:8, 15:21] = 8  # half of it elsewhere
    after[2:8, 22:25] = 9  # half as large
    assert same_cells(before, after, [1, 2, 3, 4]) == {1: 7}
    assert same_cells(before, before, [3, 1]) == {1: 1, 3: 3}
    assert same_cells(before, after, []) == {}
    assert same_cells(before, after[:5], [1]) == {}
