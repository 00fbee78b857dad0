"""Fidelity: alike is alike, narrow is precise but not complete, copies are found."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.fidelity import fidelity, kernel_distance, memorisation, nearest_distances
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cytodiffusion.errors import InputError

RNG = np.random.default_rng(0)
REAL, OTHER = RNG.normal(size=(2, 300, 6))


def test_cells_of_one_distribution() -> None:
    found = fidelity(REAL, OTHER)
    assert found.precision > 0.7
    assert found.recall > 0.7
    assert 0.9 < found.density < 1.1
    assert found.coverage > 0.9
    assert abs(found.kernel_distance) < 0.1
    assert set(found.record()) == {
        "precision", "recall", "density", "coverage", "kernel_distance", "kernel_distance_sd",
    }  # fmt: skip


def test_one_kind_of_cell_only_is_precise_and_covers_little() -> None:
    found = fidelity(REAL, 0.1 * OTHER)
    assert found.precision > 0.95
    assert found.recall < 0.2
    assert found.coverage < 0.5


def test_something_else_is_none_of_it() -> None:
    found = fidelity(REAL, OTHER + 20)
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)
    assert found.kernel_distance > 100


def test_known_numbers_on_a_line() -> None:
    real = np.arange(10.0)[:, None]
    found = fidelity(real, real + 0.5)
    assert found.precision == 1.0
    assert found.coverage == 1.0
    far = fidelity(real, real + 100)
    assert far.coverage == 0.0


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(6, 20), st.just(3)), elements=st.floats(-9, 9)),
    arrays(np.float64, st.tuples(st.integers(6, 20), st.just(3)), elements=st.floats(-9, 9)),
)
def test_shares_are_shares_and_turning_changes_nothing(a: np.ndarray, b: np.ndarray) -> None:
    found = fidelity(a, b)
    for share in (found.precision, found.recall, found.coverage):
        assert 0 <= share <= 1
    assert found.density >= 0
    swapped = fidelity(b, a)
    assert found.precision == swapped.recall
    assert found.recall == swapped.precision


def test_the_kernel_distance_grows_with_the_difference() -> None:
    distances = [kernel_distance(REAL, OTHER + shift)[0] for shift in (0, 0.5, 1, 2)]
    assert distances == sorted(distances)
    assert kernel_distance(REAL, OTHER, seed=3) == kernel_distance(REAL, OTHER, seed=3)


def test_copies_are_found() -> None:
    training = RNG.normal(size=(400, 6))
    held_out = nearest_distances(OTHER, training)
    honest = memorisation(nearest_distances(REAL, training), held_out)
    assert 0.9 < honest["ratio"] < 1.1
    assert honest["nearer_than_5_percent"] < 0.12
    copied = training[:300] + RNG.normal(0, 0.01, (300, 6))
    caught = memorisation(nearest_distances(copied, training), held_out)
    assert caught["ratio"] < 0.1
    assert caught["nearer_than_1_percent"] > 0.95


@pytest.mark.parametrize("synthetic", [np.zeros((5, 6)), np.zeros((9, 4)), np.zeros(9)])
def test_what_does_not_compare(synthetic: np.ndarray) -> None:
    with pytest.raises(InputError):
        fidelity(REAL, synthetic)
