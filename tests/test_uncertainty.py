"""Calibration, prediction sets and scores of doubt."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cytodiffusion.uncertainty import (
    conformal_threshold,
    entropy,
    fit_temperature,
    margin,
    prediction_sets,
    softmax,
)

logits = arrays(
    np.float64, st.tuples(st.integers(0, 5), st.integers(1, 6)), elements=st.floats(-1e4, 1e4)
)


@settings(max_examples=60, deadline=None)
@given(logits)
def test_probabilities_are_probabilities(values: np.ndarray) -> None:
    p = softmax(values)
    assert p.shape == values.shape
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-12)
    h, m = entropy(p), margin(p)
    assert ((h >= 0) & (h <= math.log(p.shape[1]) + 1e-9)).all()
    assert ((m >= 0) & (m <= 1)).all()


def test_entropy_and_margin_at_the_ends() -> None:
    p = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(entropy(p), [0, math.log(4), math.log(2)])
    np.testing.assert_allclose(margin(p), [1, 0, 0])
    assert margin(np.ones((2, 1))).tolist() == [1, 1]
    assert len(margin(np.ones((0, 3)))) == len(entropy(np.ones((0, 3)))) == 0


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 4.0])
def test_the_temperature_is_found_again(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, (6000, 4))
    chances = softmax(values / true_temperature)
    labels = (chances.cumsum(1) < rng.random((6000, 1))).sum(1)
    assert fit_temperature(values, labels) == pytest.approx(true_temperature, rel=0.08)


def test_a_perfect_classifier_gets_a_finite_temperature() -> None:
    t = fit_temperature(np.eye(3) * 5, np.arange(3))
    assert 0 < t < 1


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_cover_as_often_as_stated(coverage: float) -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        p = softmax(rng.normal(0, 1.5, (160, 5)))
        labels = (p.cumsum(1) < rng.random((160, 1))).sum(1).clip(0, 4)
        true = p[np.arange(160), labels]
        threshold = conformal_threshold(1 - true[:80], coverage)
        sets = prediction_sets(p[80:], threshold)
        found.append(sets[np.arange(80), labels[80:]].mean())
    assert coverage - 0.006 <= np.mean(found) <= coverage + 0.03


def test_the_threshold_is_the_conformal_quantile() -> None:
    scores = np.arange(1, 100) / 100.0
    rng = np.random.default_rng(0)
    assert conformal_threshold(rng.permutation(scores), 0.9) == pytest.approx(0.90)
    assert conformal_threshold(np.array([0.1, 0.2]), 0.95) == 1.0  # too few to say


def test_a_set_is_never_empty_and_everything_is_in_at_threshold_one() -> None:
    p = softmax(np.random.default_rng(0).normal(0, 1, (50, 4)))
    assert (prediction_sets(p, 0.0).sum(1) == 1).all()
    assert prediction_sets(p, 1.0).all()
    assert prediction_sets(np.ones((0, 4)), 0.5).shape == (0, 4)
