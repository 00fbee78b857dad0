"""Batches: everything once and in order, however little memory there is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cytodiffusion.device import Batches
from cytodiffusion.errors import OutOfMemoryError

CPU = torch.device("cpu")


@given(n=st.integers(0, 60), size=st.integers(1, 70), room=st.integers(1, 70))
def test_everything_is_done_once_in_order(n: int, size: int, room: int) -> None:
    def work(part: slice) -> list[int]:
        if part.stop - part.start > room:
            raise MemoryError
        return list(range(part.start, part.stop))

    batches = Batches(size, CPU)
    done = [number for _, found in batches.run(n, work) for number in found]
    assert done == list(range(n))
    sizes = [part.stop - part.start for part, _ in batches.run(n, work)]
    assert all(s <= min(size, room) for s in sizes)


def test_what_was_learned_of_the_memory_is_kept() -> None:
    tried: list[int] = []

    def work(part: slice) -> None:
        tried.append(part.stop - part.start)
        if tried[-1] > 2:
            raise RuntimeError("CUDA out of memory")

    batches = Batches(8, CPU)
    list(batches.run(8, work))
    before = len(tried)
    list(batches.run(8, work))
    assert tried[before:] == [2, 2, 2, 2]


def test_no_room_for_one_is_told_and_other_errors_pass() -> None:
    def full(part: slice) -> None:
        raise MemoryError

    def broken(part: slice) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(OutOfMemoryError, match="even for one pass at a time"):
        list(Batches(4, CPU, "pass").run(3, full))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(Batches(4, CPU).run(3, broken))
