"""Exact counts, and an order that tells nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytodiffusion.authenticity.settings import check_enough, counts_of, order_of
from cytodiffusion.errors import InputError

NAMES = [f"class {n}" for n in range(12)]


@given(st.integers(1, 400), st.integers(1, 12), st.integers(0, 2**39))
def test_every_class_has_as_many_real_as_synthetic_cells(half, k, seed) -> None:
    if half < k:
        with pytest.raises(InputError, match=f"at least {2 * k}"):
            counts_of(2 * half, NAMES[:k], seed)
        return
    counts = counts_of(2 * half, NAMES[:k], seed)
    assert list(counts) == NAMES[:k]
    assert sum(counts.values()) == half
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_seed_decides_which_classes_get_one_more() -> None:
    more = {name for s in range(40) for name, n in counts_of(10, NAMES[:4], s).items() if n == 2}
    assert more == set(NAMES[:4])
    assert set(counts_of(288, NAMES[:8]).values()) == {18}


@pytest.mark.parametrize(
    ("trials", "said"), [(0, "at least 2"), (7, "6 or 8"), (-4, "at least 2"), (10**6, "hours")]
)
def test_trials_that_make_no_sense_are_refused(trials, said) -> None:
    with pytest.raises(InputError, match=said):
        counts_of(trials, ["a"])


@given(st.integers(1, 300), st.integers(0, 2**39), st.text(min_size=1, max_size=20))
def test_an_order_shows_every_cell_once_and_again_for_the_same_name(n, seed, name) -> None:
    order = order_of(n, seed, name)
    assert sorted(order.tolist()) == list(range(n))
    assert order.tolist() == order_of(n, seed, name).tolist()


def test_the_order_tells_nothing_of_what_comes_next() -> None:
    """Over many participants each place is as often synthetic, whatever came before."""
    truth = np.arange(60) % 2 == 1  # as telling as an order of cells could be
    shown = np.array([truth[order_of(60, 3, f"person {n}")] for n in range(2000)])
    by_place = shown.mean(axis=0)
    # standard error 0.011; five of them
    assert np.abs(by_place - 0.5).max() < 0.056
    after_synthetic = shown[:, 1:][shown[:, :-1]].mean()
    # 29 of the other 59 are synthetic
    assert after_synthetic == pytest.approx(29 / 59, abs=0.01)
    assert len({tuple(row) for row in shown}) == 2000


def test_too_few_cells_say_how_many_there_are_and_what_fits() -> None:
    wanted = {"a": 18, "b": 18, "c": 18}
    with pytest.raises(InputError) as error:
        check_enough({"a": 30, "b": 12, "c": 5}, wanted, "real", " (2 unreadable)")
    said = str(error.value)
    assert "108 trials over 3 classes take up to 18 real cells" in said
    assert "12 b, 5 c (2 unreadable)" in said
    assert "at most 30 trials fit" in said
    assert "leave them out" in said
    with pytest.raises(InputError, match="only 0 a; add cells"):
        check_enough({}, {"a": 1}, "synthetic")
    check_enough({"a": 18, "b": 99}, {"a": 18, "b": 18}, "real")
