"""Calibration, prediction sets and scores of doubt."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cytodiffusion.classification.scores import entropy, fit_temperature, margin, softmax

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
