"""Reliability, risk against coverage, trials against accuracy: by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cytodiffusion.metrics.curves import (
    accuracy_by_trials,
    area_under_risk,
    histogram_of_trials,
    reliability,
    risk_coverage,
    risks,
    share_decided,
)
from cytodiffusion.metrics.scores import expected_calibration_error


def test_reliability_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 1.0])
    hits = np.array([True, False, True, True])
    low, high = reliability(confidence, hits, bins=10)
    assert (low["low"], low["high"], low["n"], low["accuracy"]) == (0.5, 0.6, 1, 1.0)
    assert (high["n"], high["accuracy"]) == (3, pytest.approx(2 / 3))
    assert high["confidence"] == pytest.approx(2.9 / 3)


def test_the_diagram_and_the_calibration_error_agree() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(500)
    hits = rng.random(500) < confidence**2
    points = reliability(confidence, hits)
    error = sum(p["n"] * abs(p["accuracy"] - p["confidence"]) for p in points) / 500
    assert expected_calibration_error(confidence, hits) == pytest.approx(error)


def test_risk_by_hand() -> None:
    confidence = np.array([0.6, 0.9, 0.8, 0.7])
    hits = np.array([False, True, False, True])
    np.testing.assert_allclose(risks(confidence, hits), [0, 1 / 2, 1 / 3, 1 / 2])
    assert area_under_risk(confidence, hits) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    curve = risk_coverage(confidence, hits)
    assert curve["coverage"] == [0.25, 0.5, 0.75, 1.0]
    assert curve["risk"][-1] == 0.5


def test_equal_confidences_share_their_errors_whatever_their_order() -> None:
    confidence = np.array([0.9, 0.5, 0.5, 0.5])
    one = risks(confidence, np.array([True, True, False, True]))
    other = risks(confidence, np.array([True, False, True, True]))
    np.testing.assert_allclose(one, other)
    np.testing.assert_allclose(one, [0, 1 / 6, 2 / 9, 1 / 4])


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    rng = np.random.default_rng(0)
    confidence, hits = rng.random(5000), rng.random(5000) < 0.9
    curve = risk_coverage(confidence, hits)
    assert len(curve["risk"]) == len(curve["coverage"]) == 200
    assert curve["coverage"][-1] == 1
    assert curve["risk"][-1] == pytest.approx(1 - hits.mean())


def test_share_that_can_be_decided() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    hits = np.array([True, True, False, True])
    assert share_decided(confidence, hits, 0.0) == 0.5
    assert share_decided(confidence, hits, 0.25) == 1.0
    assert share_decided(confidence, ~hits, 0.1) == 0.0


def test_accuracy_after_each_trial_by_hand() -> None:
    # one cell is right from the first trial on, the other one after the second
    logits = np.array([[[2.0, 0], [0, 1], [0, 0]], [[1, 0], [0, 2], [0, 1]]])
    rows = accuracy_by_trials(logits, np.array([0, 1]))
    assert [r["trials"] for r in rows] == [1, 2, 3]
    assert [r["accuracy"] for r in rows] == [0.5, 1.0, 1.0]
    assert [r["balanced_accuracy"] for r in rows] == [0.5, 1.0, 1.0]


def test_histogram_of_trials() -> None:
    rows = histogram_of_trials(np.array([3, 3, 12, 4, 3]))
    assert rows == [{"trials": 3, "n": 3}, {"trials": 4, "n": 1}, {"trials": 12, "n": 1}]
