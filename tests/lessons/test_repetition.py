"""Every wrong cell comes again, after others, until it is right."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytodiffusion.lessons.repetition import BETWEEN, remaining


@given(st.integers(1, 12), st.data())
def test_every_wrong_cell_comes_again_until_it_is_right(n: int, data: st.DataObject) -> None:
    wrong = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))  # times of each cell
    order = data.draw(st.permutations(range(n)))
    told: list[tuple[int, bool]] = []
    asked: dict[int, list[int]] = defaultdict(list)
    while left := remaining(order, told, again=True):
        cell = left[0]
        asked[cell].append(len(told))
        others = len(set(left) - {cell})
        right = len(asked[cell]) > wrong[cell]
        told.append((cell, right))
        if not right:
            again = remaining(order, told, again=True).index(cell)
            assert again == min(BETWEEN, others)  # not at once while there are others
    assert [len(asked[cell]) for cell in range(n)] == [1 + times for times in wrong]
    first = sorted(range(n), key=lambda cell: asked[cell][0])
    assert first == list(order)  # repetition does not change what is new next


@given(st.integers(1, 12), st.data())
def test_in_a_test_each_cell_comes_once(n: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(n)))
    rights = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    told = list(zip(order, rights, strict=True))
    for k in range(n + 1):
        assert remaining(order, told[:k], again=False) == list(order)[k:]


def test_answers_to_other_cells_are_no_answers_to_these() -> None:
    with pytest.raises(ValueError, match="order"):
        remaining([0, 1], [(1, True)], again=True)
    with pytest.raises(ValueError, match="order"):
        remaining([0], [(0, True), (0, True)], again=True)
