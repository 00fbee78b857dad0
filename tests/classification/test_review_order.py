"""White cells before others, fragments last."""

from __future__ import annotations

import numpy as np

from cytodiffusion.classification.review_order import SMALL_UM2, review_order, small_objects


def test_white_cells_come_first_and_fragments_last() -> None:
    entropy = np.array([0.1, 0.9, 0.5, 0.9, 2.0, 0.5])
    ids = np.array([1, 2, 3, 4, 5, 6])
    white = np.array([True, False, True, False, True, True])
    border = np.array([False, False, False, True, True, False])
    order = review_order(entropy, ids, white, border)
    assert ids[order].tolist() == [3, 6, 1, 2, 5, 4]
    assert review_order(entropy[:0], ids[:0], white[:0], border[:0]).tolist() == []


def test_small_objects_are_smaller_than_cells() -> None:
    assert small_objects(np.array([3.0, SMALL_UM2, 45.0, np.nan])).tolist() == [
        *(True, False, False, False)
    ]
