"""Trials are shared and repeatable; elimination keeps the best and drops the hopeless."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cytodiffusion.classification.anomaly import anomaly_scores, anomaly_threshold, scores_after
from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.trials import (
    NEAR_THRESHOLD,
    eliminate,
    make_trial,
    settled_at_once,
)
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.training.calibrate import blank_calibration

CALIBRATION = blank_calibration(4, 2, (60, 200))
SHAPE = (3, 4, 4)


def test_a_trial_depends_on_seed_and_number_only() -> None:
    first = make_trial(5, (60, 200, 10), SHAPE, 7)
    make_trial(6, (60,), SHAPE, 7)
    torch.rand(3)
    again = make_trial(5, (60, 200, 10), SHAPE, 7)
    assert torch.equal(first.epsilon, again.epsilon)
    assert not torch.equal(first.epsilon, make_trial(5, (60,), SHAPE, 8).epsilon)
    assert not torch.equal(first.epsilon, make_trial(6, (60,), SHAPE, 7).epsilon)


def test_trials_go_round_the_levels_and_all_turns() -> None:
    trials = [make_trial(n, (60, 200, 10), SHAPE, 0) for n in range(48)]
    assert [t.level for t in trials[:4]] == [60, 200, 10, 60]
    assert {(t.quarter_turns, t.mirrored) for t in trials} == {
        (q, m) for q in range(4) for m in (False, True)
    }
    counts = np.unique([t.level_index for t in trials], return_counts=True)[1]
    assert counts.tolist() == [16, 16, 16]


def test_the_largest_seed_works() -> None:
    make_trial(1999, (60,), SHAPE, 2**40 - 1)


@pytest.mark.parametrize("number", range(8))
def test_a_turn_moves_whole_pixels(number: int) -> None:
    pixels = torch.rand(2, 3, 4, 4)
    turned = make_trial(number, (60,), SHAPE, 0).turn(pixels)
    assert turned.shape == pixels.shape
    assert torch.equal(turned.flatten(2).sort().values, pixels.flatten(2).sort().values)


logits = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 5)),
    elements=st.floats(-50, 50),
)


@settings(max_examples=60, deadline=None)
@given(logits, st.floats(1e-4, 0.4))
def test_the_best_class_always_lives_and_nothing_depends_on_neighbours(
    values: np.ndarray, alpha: float
) -> None:
    live = eliminate(values, CALIBRATION, alpha)
    n = len(values)
    assert live.shape == values[:, 0].shape
    assert live[np.arange(n), values.mean(1).argmax(1)].all()
    alone = np.concatenate([eliminate(values[i : i + 1], CALIBRATION, alpha) for i in range(n)])
    np.testing.assert_array_equal(live, alone)


@settings(max_examples=40, deadline=None)
@given(logits)
def test_a_stricter_test_eliminates_less(values: np.ndarray) -> None:
    strict = eliminate(values, CALIBRATION, 1e-4)
    loose = eliminate(values, CALIBRATION, 0.2)
    assert (strict | ~loose).all()


@settings(max_examples=40, deadline=None)
@given(logits, st.floats(-20, 20))
def test_what_all_classes_share_does_not_matter(values: np.ndarray, shift: float) -> None:
    rounded = values.round(3)
    best = np.sort(rounded.mean(1), axis=1)
    if best.shape[1] > 1 and (best[:, -1] - best[:, -2] < 1e-6).any():
        return  # a tie may go either way
    moved = rounded + shift * np.arange(values.shape[1])[None, :, None]
    a = eliminate(rounded, CALIBRATION, 0.01234)
    b = eliminate(moved, CALIBRATION, 0.01234)
    np.testing.assert_array_equal(a, b)


def test_clear_and_consistent_leads_end_the_matter() -> None:
    rng = np.random.default_rng(0)
    lead = np.array([0.0, -8.0, -9.0, -0.5])
    values = lead + rng.normal(0, 1.0, (1, 8, 4))
    np.testing.assert_array_equal(
        eliminate(values, CALIBRATION, 2e-3), [[True, False, False, True]]
    )


def test_agreement_of_two_trials_alone_ends_nothing() -> None:
    values = np.array([[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]])
    assert eliminate(values, CALIBRATION, 2e-3).all()
    sure = replace(CALIBRATION, prior_variance=1e-4)
    assert eliminate(values, sure, 2e-3).sum() == 1


def test_equals_are_wrongly_eliminated_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, (4000, 6, 2))
    out = (~eliminate(values, CALIBRATION, 0.02)).any(axis=1).mean()
    assert out < 0.06  # two-sided, as the best is chosen by the same data


@pytest.fixture(scope="module")
def default() -> ModelBundle:
    return load_bundle(device="cpu")


def ordinary(model: ModelBundle) -> np.ndarray:
    """Logits ``(K, 1, K)`` of the middle cell of each class."""
    assert model.calibration.class_statistics is not None
    return model.calibration.class_statistics.lead_means.double().numpy()[:, None]


def test_one_trial_settles_a_clear_and_ordinary_cell(default: ModelBundle) -> None:
    clear = ordinary(default)
    assert settled_at_once(clear, default.calibration, 2e-3).mean() > 0.7
    assert not settled_at_once(0.2 * clear, default.calibration, 2e-3).any()  # no class leads
    without = replace(default.calibration, class_statistics=None)
    assert not settled_at_once(clear, without, 2e-3).any()
    # the asked level counts
    strict = settled_at_once(clear, default.calibration, 1e-9)
    assert not strict.any()


def test_one_trial_settles_no_cell_that_may_or_may_not_be_an_anomaly(default: ModelBundle) -> None:
    calibration = default.calibration
    rng = np.random.default_rng(0)
    means = ordinary(default)[rng.integers(0, len(default.classes), 500), 0]
    spread = np.exp(rng.normal(0, 0.3, means.shape))
    cells = (means * rng.uniform(0.5, 2, (500, 1)) * spread)[:, None]
    embedding = np.zeros((len(cells), calibration.class_means.shape[1]), np.float32)
    score = anomaly_scores(cells, embedding, calibration)["combined"]
    distance = score - anomaly_threshold(calibration, "combined", 1)
    near = np.abs(distance) < NEAR_THRESHOLD
    settled = settled_at_once(cells, calibration, 2e-3)
    clear = eliminate(cells, calibration, 0.02).sum(axis=1) == 1
    assert (near & clear).sum() > 100
    assert settled[~near].mean() > 0.9
    assert not settled[near].any()


def test_one_threshold_holds_after_one_trial_and_after_several(default: ModelBundle) -> None:
    calibration = default.calibration
    noise = np.random.default_rng(0).normal(0, 0.1, (10, 3, 10))
    cells = ordinary(default) + noise
    embedding = np.tile(calibration.class_means.numpy().mean(0), (10, 1)).astype(np.float32)
    trials = np.array([1, 5] * 5)
    found = scores_after(cells, embedding, trials, calibration)
    one = anomaly_scores(cells[:, :1], embedding, calibration)
    three = anomaly_scores(cells, embedding, calibration)
    for name, values in found.items():
        after, alone = (anomaly_threshold(calibration, name, t) for t in (3, 1))
        np.testing.assert_allclose(values[1::2], three[name][1::2])
        np.testing.assert_allclose(values[::2] - after, one[name][::2] - alone)


def test_cells_take_one_trial_or_at_least_three(default: ModelBundle) -> None:
    size = default.input_size
    y, x = np.mgrid[:size, :size] - size / 2
    rng = np.random.default_rng(0)
    cells = np.full((12, size, size, 3), 235, np.uint8)
    for number, cell in enumerate(cells):  # red cells, the class that is the clearest
        cell[np.hypot(y, x) < 0.19 * size] = (215, 160 - number, 150)
    cells = np.clip(cells + rng.normal(0, 2, cells.shape), 0, 255).astype(np.uint8)
    whole = classify(cells, default)
    assert set(whole.trials) <= {1, *range(3, 13)}
    parts = classify(cells, default, ClassifySettings(batch_size=5))
    np.testing.assert_array_equal(whole.trials, parts.trials)
    np.testing.assert_allclose(whole.posterior, parts.posterior, atol=1e-5)
    same = ClassifySettings(trials=3)
    assert (classify(cells, default, same).trials == 3).all()  # nothing is to be saved
