"""Bootstrap intervals and rates of confusion matrices, against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_fscore_support

from cytodiffusion.metrics.curves import confusion
from cytodiffusion.metrics.intervals import (
    confusion_intervals,
    interval_of_share,
    percentile_interval,
    rates_of_confusion,
    resampled_intervals,
    stratified_intervals,
    wilson_interval,
)


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    predicted = np.where(rng.random(300) < 0.8, labels, rng.integers(0, 5, 300))
    return labels, predicted


def test_rates_are_those_of_scikit_learn(answers) -> None:
    labels, predicted = answers
    rates = rates_of_confusion(confusion(labels, predicted, 5))
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=range(4), zero_division=0
    )
    np.testing.assert_allclose(rates["precision"][:4], precision)
    np.testing.assert_allclose(rates["recall"][:4], recall)
    np.testing.assert_allclose(rates["f1"][:4], f1)
    assert rates["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert rates["macro_f1"] == pytest.approx(f1.mean())
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        assert rates["balanced_accuracy"] == pytest.approx(
            balanced_accuracy_score(labels, predicted)
        )
    # the fifth class never occurs: it has no recall and counts in no mean
    assert np.isnan(rates["recall"][4])
    assert rates["precision"][4] == 0


def test_rates_by_hand() -> None:
    rates = rates_of_confusion(np.array([[3, 1, 0], [0, 4, 0], [0, 2, 0]]))
    assert rates["accuracy"] == pytest.approx(7 / 10)
    np.testing.assert_allclose(rates["recall"], [3 / 4, 1, 0])
    np.testing.assert_allclose(rates["precision"], [1, 4 / 7, 0])
    np.testing.assert_allclose(rates["f1"], [6 / 7, 8 / 11, 0])
    assert rates["balanced_accuracy"] == pytest.approx(1.75 / 3)


def test_the_interval_of_accuracy_is_that_of_scipy(answers) -> None:
    labels, predicted = answers
    ranges = confusion_intervals(confusion(labels, predicted, 5), seed=0, resamples=4000)
    hits = (labels == predicted).astype(float)
    other = bootstrap((hits,), np.mean, method="percentile", rng=np.random.default_rng(1))
    np.testing.assert_allclose(ranges["accuracy"], other.confidence_interval, atol=0.008)
    assert ranges["recall"].shape == (5, 2)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for number in range(200):
        labels = rng.integers(0, 3, 150)
        predicted = np.where(rng.random(150) < 0.7, labels, (labels + 1) % 3)
        low, high = confusion_intervals(
            confusion(labels, predicted, 3), seed=number, resamples=300
        )["balanced_accuracy"]
        held += low <= 0.7 <= high
    assert 0.89 <= held / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random(50)
    found = [
        resampled_intervals(lambda i: {"mean": values[i].mean()}, 50, seed=s, resamples=50)
        for s in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    low, high = found[0]["mean"]
    assert low < values.mean() < high


def test_groups_are_resampled_within_themselves() -> None:
    sizes = stratified_intervals(
        lambda a, b: {"first": len(a), "top": float(b.max() < 3)}, (7, 3), resamples=20
    )
    assert sizes == {"first": (7, 7), "top": (1, 1)}


def test_no_resample_that_can_tell_gives_no_interval() -> None:
    assert np.isnan(percentile_interval(np.array([np.nan, np.nan]))).all()
    np.testing.assert_allclose(percentile_interval(np.arange(101.0)), (2.5, 97.5))


@pytest.mark.parametrize(("right", "n"), [(27, 27), (0, 27), (1, 1)])
def test_where_all_cells_are_alike_the_interval_is_exact(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(0.95, "exact")
    found = interval_of_share(right, n, np.array([right / n, right / n]))
    assert found == pytest.approx((expected.low, expected.high))


def test_other_shares_keep_the_bootstrap() -> None:
    assert interval_of_share(5, 9, np.array([0.2, 0.8])) == (0.2, 0.8)
    nothing = interval_of_share(0, 0, np.array([np.nan, np.nan]))
    assert np.isnan(nothing).all()


@given(n=st.integers(1, 400), share=st.floats(0, 1))
def test_wilson_s_interval_is_scipy_s(n: int, share: float) -> None:
    count = round(share * n)
    expected = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_nothing_counted_has_no_interval() -> None:
    assert np.isnan(wilson_interval(0, 0)).all()
