"""Telling unknown cells from known ones: against scikit-learn and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated import classification
from sklearn.metrics import roc_auc_score

from cytodiffusion.evaluation.anomalies import anomaly_figures, auc, roc, sensitivity_at, unmeasured


def test_auc_by_hand_and_against_pairs() -> None:
    negative, positive = np.array([0.1, 0.4, 0.35]), np.array([0.8, 0.35])
    # of six pairs four are in order, one is a tie
    assert auc(negative, positive) == pytest.approx((4 + 0.5) / 6)


def test_figures_of_a_left_out_class() -> None:
    known, unknown = classification(150), classification(60, seed=5)
    unknown = replace(unknown, anomaly_score=unknown.anomaly_score + 1.5)
    found = anomaly_figures(known, unknown, false_alarms=0.1, resamples=50)
    truth = np.repeat([0, 1], [150, 60])
    scores = np.concatenate([known.anomaly_score, unknown.anomaly_score])
    assert found["auc"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["sensitivity"] == pytest.approx(unknown.anomaly.mean())
    assert found["specificity"] == pytest.approx(1 - known.anomaly.mean())
    assert found["intervals"]["auc"][0] < found["auc"] < found["intervals"]["auc"][1]
    assert (found["n_known"], found["n_unknown"]) == (150, 60)
    own = found["scores"]["score"]
    assert own["auc"] == found["auc"]
    bar = np.quantile(known.anomaly_score, 0.9)
    assert own["sensitivity_here"] == pytest.approx((unknown.anomaly_score > bar).mean())
    unsure = found["scores"]["1 - confidence"]["auc"]
    assert unsure == pytest.approx(
        roc_auc_score(truth, 1 - np.concatenate([known.confidence, unknown.confidence]))
    )


def test_parts_of_the_score_have_thresholds_of_their_own() -> None:
    known, unknown = classification(80), classification(40, seed=5)
    known, unknown = (
        replace(r, anomaly_scores={"whole": r.anomaly_score, "part": -r.confidence})
        for r in (known, unknown)
    )
    found = anomaly_figures(
        known, unknown, false_alarms=0.1, thresholds={"part": -0.7, "whole": 9.0}, resamples=10
    )
    assert found["score_name"] == "whole"
    assert "whole" not in found["scores"]
    part = found["scores"]["part"]
    assert part["sensitivity"] == pytest.approx((unknown.confidence < 0.7).mean())
    assert part["specificity"] == pytest.approx((known.confidence >= 0.7).mean())
    assert found["scores"]["entropy"]["sensitivity"] is None
    assert found["scores"]["score"]["specificity"] == pytest.approx(
        (known.anomaly_score <= known.anomaly_threshold).mean()
    )


def test_sensitivity_at_a_rate_of_false_alarms() -> None:
    negative = np.arange(100.0)
    assert sensitivity_at(negative, np.array([98.5, 10, 99.5, 97]), 0.02) == 0.5


def test_curve_goes_from_corner_to_corner() -> None:
    curve = roc(np.arange(50.0), np.arange(25.0, 75.0))
    assert (curve["false_alarms"][0], curve["sensitivity"][0]) == (0, 0)
    assert (curve["false_alarms"][-1], curve["sensitivity"][-1]) == (1, 1)


def test_without_anomalies_only_the_false_alarms_are_known() -> None:
    result = classification(50)
    found = unmeasured("none were asked for", result)
    assert found["auc"] is None
    assert found["sensitivity"] is None
    assert found["specificity"] == pytest.approx(1 - result.anomaly.mean())
    assert found["why"] == "none were asked for"
