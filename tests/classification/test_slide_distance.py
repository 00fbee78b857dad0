"""A slide unlike the training: its distance, lowered confidences, wider sets, its own anomalies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.slide_distance import (
    FAR,
    expected_confidence,
    far_slide,
    likeliest_sets,
    lowered,
    slide_distance,
    slide_scores,
    standard_scores,
    weigh_distance,
)
from cytodiffusion.model.slide_distance import SlideDistance

KEPT = SlideDistance(
    typical=(0.0, 0.5, 1.0),
    spread=0.5,
    fall=0.2,
    slope=0.1,
    doubt=(-0.1, 0.0, 0.6),
    tail=2.0,
)
THRESHOLD = 2.0


def cells(n: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores ``(n,)`` of cells whose stain raises all of them, and what they were taken for."""
    rng = np.random.default_rng(seed)
    called = rng.integers(0, 3, n)
    return np.array(KEPT.typical)[called] + 0.5 * (rng.standard_normal(n) + shift), called


def classified(n: int, shift: float, seed: int = 0) -> Classification:
    scores, called = cells(n, shift, seed)
    rng = np.random.default_rng(seed + 1)
    logits = rng.standard_normal((n, 3))
    logits[np.arange(n), called] += 5.0
    posterior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Classification(
        class_names=("a", "b", "c"),
        posterior=posterior,
        predicted=called,
        confidence=posterior.max(axis=1),
        entropy=np.zeros(n),
        margin=np.zeros(n),
        prediction_set=np.eye(3, dtype=bool)[called],
        anomaly_score=scores,
        anomaly=scores > THRESHOLD,
        trials=np.ones(n, np.int64),
        errors_by_level=np.zeros((n, 1, 3), np.float32),
        levels=np.array([1]),
        anomaly_threshold=THRESHOLD,
        logits=logits,
        anomaly_scores={"combined": scores},
    )


def test_slides_of_the_training_have_no_distance_and_others_one() -> None:
    home = [cells(n, 0.0, seed) for seed in range(40) for n in (16, 60, 300)]
    found = [slide_distance(standard_scores(s, c, KEPT), c, KEPT) for s, c in home]
    assert np.mean(np.array(found) > 0) < 0.06  # two standard errors
    for shift in (1.0, 3.0):
        scores, called = cells(400, shift)
        distance = slide_distance(standard_scores(scores, called, KEPT), called, KEPT)
        assert distance == pytest.approx(shift, abs=0.3)
    assert slide_distance(np.zeros(0), np.zeros(0, int), KEPT) == 0.0


def test_what_is_usual_in_one_laboratory_of_the_training_is_no_distance() -> None:
    scores, called = cells(400, 1.0)
    standard = standard_scores(scores, called, KEPT)
    assert slide_distance(standard, called, replace(KEPT, usual=1.1)) == 0.0


def test_a_few_odd_cells_make_no_slide_far() -> None:
    scores, called = cells(400, 0.0)
    scores[:12] += 100.0
    assert slide_distance(standard_scores(scores, called, KEPT), called, KEPT) < FAR


def test_red_cells_do_not_outvote_the_white_cells_of_a_field() -> None:
    called = np.array([0] * 2000 + [1] * 100)
    standard = np.where(called == 1, 3.0, 0.0)
    assert slide_distance(standard, called, KEPT) > 0.8  # the plain mean is 0.14


def test_confidence_falls_with_the_distance_and_more_for_a_doubted_class() -> None:
    posterior = np.array([[0.9, 0.06, 0.04], [0.04, 0.06, 0.9], [0.4, 0.3, 0.3]])
    last = posterior.max(axis=1)
    for distance in (0.5, 2.0, 5.0):
        found = lowered(posterior, distance, KEPT)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        wanted = np.maximum(expected_confidence(posterior, distance, KEPT), 1 / 3)
        np.testing.assert_allclose(found.max(axis=1), wanted, atol=0.02)
        assert (found.max(axis=1) <= last + 1e-9).all()
        assert found[1, 2] < found[0, 0]  # the doubted class
        assert (np.argsort(-found[:2], axis=1) == np.argsort(-posterior[:2], axis=1)).all()
        last = found.max(axis=1)
    assert lowered(posterior, 0.0, KEPT) is posterior


def test_confidence_never_rises() -> None:
    trusted = replace(KEPT, doubt=(-5.0, -5.0, -5.0))
    posterior = np.array([[0.9, 0.06, 0.04]])
    np.testing.assert_allclose(lowered(posterior, 3.0, trusted), posterior, rtol=1e-6)


def test_likeliest_sets_are_the_smallest_that_add_up() -> None:
    posterior = np.array([[0.96, 0.03, 0.01], [0.6, 0.1, 0.3], [0.34, 0.33, 0.33]])
    wanted = [[True, False, False], [True, False, True], [True, True, True]]
    np.testing.assert_array_equal(likeliest_sets(posterior, 0.85), wanted)


def test_a_new_stain_is_no_anomaly_and_a_blast_in_it_is_one() -> None:
    scores, called = cells(300, 4.0)
    assert (scores > THRESHOLD).mean() > 0.5
    odd = scores.copy()
    odd[:6] += 5.0
    held = slide_scores(odd, called, KEPT, THRESHOLD)
    assert (held[:6] > THRESHOLD).all()
    assert (held[6:] > THRESHOLD).mean() < 0.1
    assert (np.argsort(held) == np.argsort(standard_scores(odd, called, KEPT))).all()


def test_blasts_that_are_all_taken_for_one_class_do_not_hide_one_another() -> None:
    """On a slide of an ordinary stain, two in five cells are of a class never seen."""
    scores, called = cells(300, 0.0)
    blasts = called == 1
    scores[blasts] += 2.0
    held = slide_scores(scores, called, KEPT, THRESHOLD)
    np.testing.assert_array_equal(held, scores)


def test_a_far_slide_is_less_sure_with_wider_sets_and_says_so() -> None:
    home, far = (weigh_distance(classified(200, s), KEPT, 0.95) for s in (0.0, 3.0))
    before = classified(200, 3.0)
    assert home.slide_distance is not None
    assert home.slide_distance < FAR
    assert (home.prediction_set == classified(200, 0.0).prediction_set).all()
    assert far.slide_distance is not None
    assert far.slide_distance > 2
    assert far.confidence.mean() < before.confidence.mean() - 0.02
    assert far.prediction_set.sum() > before.prediction_set.sum()
    assert (far.prediction_set >= before.prediction_set).all()
    assert before.anomaly.mean() > 0.3 > 0.1 > far.anomaly.mean()
    np.testing.assert_array_equal(far.predicted, before.predicted)
    np.testing.assert_array_equal(far.anomaly_scores["combined"], before.anomaly_score)
    told = far_slide(far.slide_distance, far.sure_before, float(far.confidence.mean()))
    assert told is not None
    assert "unlike those that the model knows" in told
    assert far_slide(home.slide_distance, home.sure_before, 0.9) is None
    assert far_slide(None, None, 0.9) is None
