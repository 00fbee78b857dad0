"""Kappa of two and of many: as others compute it, with intervals that hold what is true."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cytodiffusion.metrics.agreement import agreement_by_class, cohens_kappa, fleiss_kappa

#: Fleiss (1971), table 1: 14 raters, 10 subjects, 5 classes.
FLEISS = np.array(
    [
        *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
        *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
    ]
)


def two(n: int, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of an observer, and of one who says the same so often, else anything."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 4, n)
    return first, np.where(rng.random(n) < right, first, rng.integers(0, 4, n))


def test_cohens_kappa_is_that_of_scikit_learn() -> None:
    first, second = two(300, 0.7, 0)
    found = cohens_kappa(first, second, 4)
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert (found.cells, found.share) == (300, pytest.approx((first == second).mean()))
    assert found.kappa_interval[0] < found.kappa < found.kappa_interval[1]
    assert cohens_kappa(first, second, 4) == found  # the same seed, the same interval
    assert cohens_kappa(first, second, 4, seed=1) != found


def test_the_interval_holds_the_true_kappa() -> None:
    # who repeats a uniform label with probability q and else draws one has a kappa of q
    found = [cohens_kappa(*two(150, 0.7, seed), 4, resamples=300) for seed in range(60)]
    held = [one.kappa_interval[0] <= 0.7 <= one.kappa_interval[1] for one in found]
    assert np.mean(held) >= 0.88


def test_fleiss_kappa_is_that_of_the_paper() -> None:
    assert round(fleiss_kappa(FLEISS).kappa, 3) == 0.210
    assert round(fleiss_kappa(FLEISS).share, 3) == 0.378


def test_cells_with_one_label_count_for_nothing() -> None:
    alone = np.eye(5, dtype=np.int64)
    assert fleiss_kappa(np.concatenate([FLEISS, alone])) == fleiss_kappa(FLEISS)
    assert agreement_by_class(np.concatenate([FLEISS, alone])) == agreement_by_class(FLEISS)


def test_observers_need_not_all_label_a_cell() -> None:
    votes = np.array([[3, 0], [2, 0], [1, 1], [0, 3], [0, 2], [1, 2]])
    found = fleiss_kappa(votes)
    same = np.mean([1, 1, 0, 1, 1, 1 / 3])
    first = np.mean([1, 1, 1 / 2, 0, 0, 1 / 3])
    chance = first**2 + (1 - first) ** 2
    assert found.share == pytest.approx(same)
    assert found.kappa == pytest.approx((same - chance) / (1 - chance))


def test_agreement_about_a_class_is_that_of_the_other_observers() -> None:
    # two observers: the share is 2 a / (2 a + b), where a cells have both votes and b one
    votes = np.array([[2, 0, 0]] * 6 + [[1, 1, 0]] * 4 + [[0, 2, 0]] * 10)
    first, second, third = agreement_by_class(votes)
    assert (first.cells, second.cells, third.cells) == (10, 14, 0)
    assert first.share == pytest.approx(12 / 16)
    assert second.share == pytest.approx(20 / 24)
    assert np.isnan(third.share)
    assert first.interval[0] < first.share < first.interval[1]


def test_full_agreement_on_few_cells_is_not_certain() -> None:
    labels = np.array([0, 1, 2, 0, 1])
    found = cohens_kappa(labels, labels, 3)
    assert (found.kappa, found.share) == (1.0, 1.0)
    assert found.share_interval == (pytest.approx(0.025 ** (1 / 5)), 1.0)
    assert found.kappa_interval[0] < 0.5
    assert found.kappa_interval[1] == 1.0
    group = fleiss_kappa(3 * np.eye(3, dtype=np.int64))
    assert group.kappa == 1.0
    assert group.kappa_interval[0] < group.kappa_interval[1] == 1.0
    (one, *_) = agreement_by_class(3 * np.eye(3, dtype=np.int64))
    assert one.interval[0] < 0.2


def test_one_class_only_says_nothing_beyond_chance() -> None:
    labels = np.zeros(5, np.int64)
    found = cohens_kappa(labels, labels, 3)
    assert np.isnan(found.kappa)
    assert found.share == 1.0
