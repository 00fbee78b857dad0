"""Prediction sets hold the true class as often as was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytodiffusion.classification.conformal import (
    conformal_p_values,
    conformal_sets,
    enough_of_each,
    measured_coverage,
)
from cytodiffusion.classification.scores import softmax

COVERAGES = (0.5, 0.8, 0.9, 0.95)


def cells(n: int, k: int, seed: int, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of cells, class 0 harder than the others, and their true classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += np.where(labels == 0, 0.3, sharpness)
    return softmax(logits), labels


def strange(posterior: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return 1.0 - posterior[np.arange(len(labels)), labels]


@given(seed=st.integers(0, 10_000), k=st.integers(2, 5), coverage=st.sampled_from(COVERAGES))
@settings(max_examples=15, deadline=None)
def test_sets_cover_exchangeable_cells(seed: int, k: int, coverage: float) -> None:
    # the promise is about the mean over validation sets, so a few of them are drawn
    covered = []
    for draw in range(40):
        posterior, labels = cells(200, k, 1000 * seed + draw)
        sets = conformal_sets(posterior[100:], strange(posterior[:100], labels[:100]), coverage)
        covered.append(sets[np.arange(100), labels[100:]].mean())
    # five standard errors of the mean
    assert np.mean(covered) >= coverage - 5 * np.std(covered) / np.sqrt(40)


def test_coverage_is_hardly_more_than_asked() -> None:
    posterior, labels = cells(8000, 4, 0)
    for coverage in COVERAGES:
        sets = conformal_sets(posterior[4000:], strange(posterior[:4000], labels[:4000]), coverage)
        assert sets[np.arange(4000), labels[4000:]].mean() == pytest.approx(coverage, abs=0.025)


def test_every_class_is_covered_by_itself_where_asked() -> None:
    posterior, labels = cells(12_000, 4, 1)
    half, true = slice(6000, None), labels[6000:]
    scores = strange(posterior[:6000], labels[:6000])
    together = conformal_sets(posterior[half], scores, 0.9)
    by_class = conformal_sets(posterior[half], scores, 0.9, labels[:6000])

    def covered(sets: np.ndarray) -> list[float]:
        return [float(sets[true == c, c].mean()) for c in range(4)]

    assert covered(together)[0] < 0.8  # the hard class pays for the others
    np.testing.assert_allclose(covered(by_class), 0.9, atol=0.035)


@given(
    seed=st.integers(0, 10_000),
    low=st.floats(0.05, 0.95),
    more=st.floats(0.0, 0.04),
    by_class=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_sets_grow_with_the_coverage(seed: int, low: float, more: float, by_class: bool) -> None:
    posterior, labels = cells(80, 3, seed)
    scores, classes = strange(posterior, labels), labels if by_class else None
    small = conformal_sets(posterior[:20], scores, low, classes)
    large = conformal_sets(posterior[:20], scores, low + more, classes)
    assert not (small & ~large).any()


def test_p_values_are_the_share_of_cells_that_are_as_strange() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    p = conformal_p_values(np.array([[0.75, 0.25]]), scores)
    np.testing.assert_allclose(p, [[(1 + 2) / 5, (1 + 0) / 5]])  # 1 - p is 0.25 and 0.75
    by_class = conformal_p_values(np.array([[0.75, 0.25]]), scores, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(by_class, [[1 / 3, 1 / 3]])


def test_a_class_without_validation_cells_is_never_ruled_out() -> None:
    sets = conformal_sets(
        np.array([[0.98, 0.01, 0.01]]), np.linspace(0, 0.1, 50), 0.9, np.arange(50) % 2
    )
    assert sets.tolist() == [[True, False, True]]


def test_a_cell_like_none_gets_an_empty_set() -> None:
    sets = conformal_sets(np.array([[0.5, 0.5], [0.97, 0.03]]), np.linspace(0, 0.1, 99), 0.9)
    assert sets.tolist() == [[False, False], [True, False]]


def test_no_cells() -> None:
    assert conformal_sets(np.ones((0, 3)), np.array([0.1]), 0.9).shape == (0, 3)


def test_the_same_cell_gets_the_same_set_whatever_is_beside_it() -> None:
    posterior, labels = cells(60, 3, 3)
    scores = strange(posterior, labels)
    whole = conformal_p_values(posterior, scores, labels)
    alone = np.concatenate([conformal_p_values(row[None], scores, labels) for row in posterior])
    np.testing.assert_array_equal(whole, alone)


def test_measured_coverage_is_cross_validated() -> None:
    posterior, labels = cells(4000, 3, 4)
    found = measured_coverage(posterior, labels, 0.9)
    assert found["asked"] == 0.9
    assert found["measured"] == pytest.approx(0.9, abs=0.02)
    assert found["by_class_measured"] == pytest.approx(0.9, abs=0.02)
    assert 1 < found["size"] < 3
    assert 1 < found["by_class_size"] < 3
    assert measured_coverage(posterior[:1], labels[:1], 0.9) == {}


def test_enough_of_each_counts_the_rarest_and_the_missing() -> None:
    classes = np.repeat([0, 1], [100, 20])
    assert enough_of_each(classes, 2, 0.9)
    assert not enough_of_each(classes[:-1], 2, 0.9)
    assert not enough_of_each(classes, 2, 0.95)
    assert not enough_of_each(classes, 3, 0.5)  # no cell of the third


def test_p_values_are_those_of_crepes() -> None:
    crepes = pytest.importorskip("crepes")
    posterior, labels = cells(300, 3, 5)
    scores = np.round(strange(posterior[:200], labels[:200]), 2)  # with ties
    new = np.round(posterior[200:], 2)
    for classes in (None, labels[:200]):
        other = crepes.ConformalClassifier()
        other.fit(scores, bins=classes)
        if classes is None:
            expected = other.predict_p(1 - new, smoothing=False)
        else:
            columns = [
                other.predict_p((1 - new)[:, c], bins=np.full(100, c), smoothing=False)
                for c in range(3)
            ]
            expected = np.stack([np.ravel(column) for column in columns], axis=1)
        np.testing.assert_allclose(conformal_p_values(new, scores, classes), expected)
