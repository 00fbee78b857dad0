"""Figures of merit against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import classification
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from cytodiffusion.metrics.scores import balanced_accuracy, expected_calibration_error, summarise


def test_figures_are_those_of_scikit_learn() -> None:
    result = classification()
    labels = np.random.default_rng(1).integers(0, 4, 200)
    found = summarise(result, labels)
    assert found["n"] == 200
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, result.predicted))
    expected = balanced_accuracy_score(labels, result.predicted)
    assert found["balanced_accuracy"] == pytest.approx(expected)
    assert balanced_accuracy(labels, result.predicted) == pytest.approx(expected)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, result.predicted, average="macro"))
    covered = [result.prediction_set[i, label] for i, label in enumerate(labels)]
    assert found["coverage"] == pytest.approx(np.mean(covered))
    assert found["trials_mean"] == pytest.approx(result.trials.mean())
    assert list(found["recall"]) == list("abcd")


def test_classes_that_do_not_occur_count_in_no_mean() -> None:
    result = classification()
    labels = np.random.default_rng(1).integers(0, 2, 200)
    found = summarise(result, labels)
    recalls = [(result.predicted[labels == k] == k).mean() for k in (0, 1)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert balanced_accuracy(labels, result.predicted) == pytest.approx(np.mean(recalls))
    assert set(found["recall"]) == {"a", "b"}


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55, 1.0])
    hits = np.array([True, False, True, False, True])
    # 0.95 and 1.0 share the last of ten bins
    by_hand = 3 / 5 * abs(2 / 3 - 2.9 / 3) + 2 / 5 * 0.05
    assert expected_calibration_error(confidence, hits, bins=10) == pytest.approx(by_hand)
    assert expected_calibration_error(np.ones(4), np.ones(4, bool)) == 0
