"""Scores of how unlike the training cells a cell is, each against its formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cytodiffusion.classification.anomaly import (
    anomaly_scores,
    anomaly_threshold,
    default_score,
    leads,
    normalised,
    shapes,
    unit_embedding,
    unusual,
    zeta,
)
from cytodiffusion.classification.classifier import Evidence
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.class_statistics import COMBINED, SCORES
from cytodiffusion.training.calibrate import blank_calibration
from cytodiffusion.training.class_statistics import (
    embedding_spread,
    measure_statistics,
    standardise,
)

K, D, LEVELS = 3, 5, (60, 200)


def cells(n: int, seed: int, trials: int = 3) -> tuple[Evidence, np.ndarray]:
    """Evidence about cells that are easy to tell apart, and their classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % K
    errors = rng.gamma(20, 0.5, (n, trials, K)) + 8
    errors[np.arange(n), :, labels] -= 7
    embedding = 3 * np.eye(K, D)[labels] + rng.normal(0, 0.4, (n, D))
    return evidence(-errors, embedding), labels


def evidence(logits: np.ndarray, embedding: np.ndarray) -> Evidence:
    n = len(logits)
    return Evidence(
        logits=logits.mean(axis=1),
        trials=np.full(n, logits.shape[1]),
        errors_by_level=np.zeros((n, len(LEVELS), logits.shape[2]), np.float32),
        embedding=embedding.astype(np.float32),
        all_logits=logits.astype(np.float32),
    )


@pytest.fixture(scope="module")
def plain() -> Calibration:
    """Of a bundle as they were before there were typical cells."""
    seen, labels = cells(300, 0)
    spread = embedding_spread(torch.from_numpy(seen.embedding), torch.from_numpy(labels))
    return replace(
        blank_calibration(K, D, LEVELS), anomaly_threshold=4.0, early_thresholds=(6.0,), **spread
    )


@pytest.fixture(scope="module")
def calibration(plain: Calibration) -> Calibration:
    seen, labels = cells(300, 0)
    typical = replace(plain, class_statistics=measure_statistics(seen, labels, plain, 0))
    budgets = [cells(400, 1, trials)[0] for trials in (1, 2, 3)]
    return replace(typical, class_statistics=standardise(typical, budgets, 0.05))


def scores_of(found: Evidence, calibration: Calibration) -> dict[str, np.ndarray]:
    return anomaly_scores(found.all_logits, found.embedding, calibration)


def test_every_score_is_there_in_order_and_finite(calibration: Calibration) -> None:
    found = scores_of(cells(20, 2)[0], calibration)
    assert tuple(found) == SCORES
    for name, score in found.items():
        assert score.shape == (20,), name
        assert np.isfinite(score).all(), name


def test_an_old_bundle_has_the_scores_that_need_nothing_more(plain: Calibration) -> None:
    found = scores_of(cells(20, 2)[0], plain)
    assert set(found) == {"zeta", "contrast", "mahalanobis", "relative_mahalanobis", "energy"}
    assert default_score(plain) == "relative_mahalanobis"
    assert anomaly_threshold(plain, default_score(plain), 1) == 6.0
    assert anomaly_threshold(plain, default_score(plain), 3) == 4.0


def test_scores_without_a_trained_part_by_hand(plain: Calibration) -> None:
    logits = np.array([[[-1.0, -3.0, -5.0], [-3.0, -5.0, -7.0]]])
    found = scores_of(evidence(logits, np.zeros((1, D))), plain)
    assert found["zeta"] == pytest.approx(-zeta(normalised([[2.0, 4.0, 6.0]])))
    assert found["contrast"] == pytest.approx([-4.0 + 2.0])
    assert found["energy"] == pytest.approx([-np.log(np.exp([-2.0, -4.0, -6.0]).sum())])
    away = -plain.class_means[0].double().numpy() @ plain.within_factor.double().numpy()
    assert found["mahalanobis"] == pytest.approx([np.linalg.norm(away)])


def test_the_error_level_counts_standard_deviations_either_way(calibration: Calibration) -> None:
    typical = calibration.class_statistics
    assert typical is not None
    means = typical.level_means.double().numpy()
    spreads = typical.level_spreads.double().numpy()
    logits = np.full((2, 3, K), -1e6)
    for row, sign in enumerate((1, -1)):
        for trial, level in enumerate((0, 1, 0)):  # trials go round the two levels
            logits[row, trial, 1] = -np.exp(means[level, 1] + sign * 2.5 * spreads[level, 1])
    found = scores_of(evidence(logits, np.zeros((2, D))), calibration)
    np.testing.assert_allclose(found["error_level"], 2.5, rtol=1e-3)


def test_the_neighbour_distance_is_that_to_the_fifth(calibration: Calibration) -> None:
    typical = calibration.class_statistics
    assert typical is not None
    found, labels = cells(12, 5)
    unit = unit_embedding(found.embedding, calibration)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0)
    every = typical.neighbours.double().numpy()
    own = typical.neighbour_classes.numpy()
    expected = [
        np.sort(np.linalg.norm(every[own == c] - u, axis=1))[4]
        for u, c in zip(unit, labels, strict=True)
    ]
    # they are stored in half precision
    np.testing.assert_allclose(scores_of(found, calibration)["neighbours"], expected, atol=3e-3)


def test_a_class_without_kept_cells_is_as_far_as_can_be(calibration: Calibration) -> None:
    typical = calibration.class_statistics
    assert typical is not None
    lone = replace(
        calibration,
        class_statistics=replace(
            typical, neighbour_classes=torch.zeros_like(typical.neighbour_classes)
        ),
    )
    found, labels = cells(12, 5)
    distance = scores_of(found, lone)["neighbours"]
    assert (distance[labels > 0] == 2.0).all()
    assert (distance[labels == 0] < 2.0).all()


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_the_shape_of_leads_does_not_depend_on_their_size(scale: float, seed: int) -> None:
    lead = leads(np.random.default_rng(seed).normal(0, 3, (5, K)))
    np.testing.assert_allclose(shapes(scale * lead), shapes(lead), rtol=1e-9)
    np.testing.assert_allclose(shapes(lead).mean(axis=1), -1)


def test_of_two_classes_the_rarer_is_not_unusual() -> None:
    """All of the lead goes to the one rival there is: that says which class, and no more."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [380, 20])
    errors = rng.gamma(20, 0.1, (400, 3, 2))
    errors[np.arange(400), :, labels] -= 1
    errors[[0, 399]] = errors[[0, 399]][..., ::-1]  # two training cells are not recognised
    seen = evidence(-errors, np.eye(2, D)[labels] + rng.normal(0, 0.1, (400, D)))
    spread = embedding_spread(torch.from_numpy(seen.embedding), torch.from_numpy(labels))
    calibration = replace(blank_calibration(2, D, LEVELS), **spread)
    calibration = replace(
        calibration, class_statistics=measure_statistics(seen, labels, calibration, 0)
    )
    calibration = replace(calibration, class_statistics=standardise(calibration, [seen], 0.02))
    found = scores_of(seen, calibration)
    assert (found["shape"] == 0).all()
    assert np.abs(found["combined"]).max() < 100


def test_equal_logits_have_a_shape_too() -> None:
    assert (shapes(np.zeros((2, K))) == 0).all()


def test_unusual_cells_by_hand() -> None:
    means = torch.tensor([[0.0, -1.0], [-2.0, 0.0]])
    factors = torch.stack([2 * torch.eye(2), torch.eye(2)])
    values = np.array([[3.0, 3.0], [1.0, 4.0]])
    found = unusual(values, np.array([0, 1]), means, factors)
    np.testing.assert_allclose(found, [2 * 5.0, 5.0])


def test_an_odd_order_of_rivals_is_told_where_sizes_are_usual(plain: Calibration) -> None:
    """As sure of its class as its cells are, but near to the class that they are far from."""
    gaps = np.array([[0.0, 2, 10], [10, 0, 2], [2, 10, 0]])
    rng = np.random.default_rng(3)
    labels = np.arange(300) % K
    size = rng.uniform(0.3, 3, (300, 1, 1))  # sure or not so sure
    logits = -size * gaps[labels][:, None] + rng.normal(0, 0.1, (300, 3, K))
    embedding = 3 * np.eye(K, D)[labels] + rng.normal(0, 0.4, (300, D))
    seen = evidence(logits, embedding)
    typical = measure_statistics(seen, labels, plain, 0)
    calibration = replace(plain, class_statistics=typical)
    calibration = replace(calibration, class_statistics=standardise(calibration, [seen], 0.05))
    odd = np.array([[[0.0, -10, -2]]])
    found = scores_of(evidence(odd, np.zeros((1, D))), calibration)
    assert found["contrast"] < anomaly_threshold(calibration, "contrast", 1)
    assert found["shape"] > 3 * anomaly_threshold(calibration, "shape", 1)


def test_the_combined_score_is_zero_in_the_middle_and_one_at_the_edge(
    calibration: Calibration,
) -> None:
    typical = calibration.class_statistics
    assert typical is not None
    found = scores_of(cells(400, 1)[0], calibration)
    parts = np.stack([found[name] for name in COMBINED], axis=1)
    middle, edge = np.median(parts, axis=0), np.quantile(parts, 0.9, axis=0)
    np.testing.assert_allclose(
        found["combined"], ((parts - middle) / (edge - middle)).mean(axis=1), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("trials", [1, 2, 3])
@pytest.mark.parametrize("name", SCORES)
def test_as_many_false_alarms_as_stated_at_every_budget(
    calibration: Calibration, name: str, trials: int
) -> None:
    fresh = scores_of(cells(2000, 7, trials)[0], calibration)[name]
    rate = (fresh > anomaly_threshold(calibration, name, trials)).mean()
    # 400 validation cells fix a rate of 0.05 to about 0.011
    assert rate == pytest.approx(0.05, abs=0.035)


def test_unlike_cells_exceed_the_threshold(calibration: Calibration) -> None:
    rng = np.random.default_rng(9)
    logits = -(rng.gamma(20, 0.5, (50, 3, K)) + 8)  # no class fits
    embedding = np.zeros((50, D))
    embedding[:, 4] = -4 + rng.normal(0, 0.4, 50)
    found = scores_of(evidence(logits, embedding), calibration)
    assert default_score(calibration) == "combined"
    assert (found["combined"] > anomaly_threshold(calibration, "combined", 3)).mean() > 0.95


def test_no_cells_have_no_scores(calibration: Calibration) -> None:
    none = np.zeros((0, 0, K))
    found = anomaly_scores(none, np.zeros((0, D), np.float32), calibration)
    assert {score.shape for score in found.values()} == {(0,)}
