"""Cells are accepted so that at most the asked share of them is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from cytodiffusion.classification.selective import (
    RISK,
    accept,
    cells_needed,
    find_acceptance,
    lowest_error_rate,
    upper_bound,
)
from cytodiffusion.errors import InputError


def draw(n: int, seed: int, hardness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and answers that are right so often."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(6, hardness, n)
    return confidence, rng.random(n) < confidence


@given(wrong=st.integers(0, 40), right=st.integers(1, 2000), risk=st.floats(0.001, 0.5))
def test_the_bound_is_that_of_clopper_and_pearson(wrong: int, right: int, risk: float) -> None:
    # so many errors or fewer are as improbable as the risk when the rate is the bound
    bound = upper_bound(wrong, wrong + right, risk)
    assert binom.cdf(wrong, wrong + right, bound) == pytest.approx(risk, rel=1e-6)
    assert bound > wrong / (wrong + right)


def test_when_all_are_wrong_nothing_is_ruled_out() -> None:
    assert upper_bound(0, 0) == 1.0
    assert upper_bound(3, 3) == 1.0


@given(rate=st.floats(0.002, 0.5), wrong=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_no_fewer_cells_would_do(rate: float, wrong: int) -> None:
    needed = cells_needed(rate, wrong)
    assert upper_bound(wrong, needed) <= rate + 1e-12
    assert upper_bound(wrong, needed - 1) > rate


def test_the_promise_holds_over_draws_of_validation_cells() -> None:
    # known confidences: the true error rate above a threshold is the mean of 1 - confidence there
    population = np.sort(np.random.default_rng(1).beta(6, 1, 400_000))
    errors_above = np.cumsum((1 - population)[::-1])[::-1]

    def true_rate(above: float) -> float:
        first = np.searchsorted(population, above, side="right")
        return float(errors_above[first] / (len(population) - first))

    broken = found = 0
    for seed in range(300):
        acceptance = find_acceptance(*draw(800, seed), 0.1)
        if acceptance is not None:
            found += 1
            broken += true_rate(acceptance.above) > 0.1
    assert found > 280
    assert broken <= binom.ppf(0.999, found, RISK)
    assert broken > 0  # a promise that is never near to break accepts too few


@given(seed=st.integers(0, 500), low=st.floats(0.02, 0.2), more=st.floats(0.05, 0.5))
@settings(max_examples=30, deadline=None)
def test_what_it_says_is_so(seed: int, low: float, more: float) -> None:
    confidence, correct = draw(600, seed)
    for rate in (low, low + more):
        found = find_acceptance(confidence, correct, rate)
        if found is None:
            continue
        above = confidence > found.above
        assert found.accepted == above.sum() > 0
        assert found.wrong == (~correct[above]).sum()
        assert found.share == above.mean()
        assert upper_bound(found.wrong, found.accepted) <= rate


def test_a_sound_classifier_keeps_all_its_cells() -> None:
    confidence = np.random.default_rng(0).random(500)
    found = find_acceptance(confidence, np.ones(500, bool), 0.05)
    assert found is not None
    assert found.share == 1.0
    assert found.above == 0.0


def test_cells_of_one_confidence_are_never_split() -> None:
    # half the cells have confidence 1, one in fifty of them wrong: all or none are accepted
    confidence = np.concatenate([np.ones(500), np.linspace(0.4, 0.6, 500)])
    correct = np.concatenate([np.arange(500) % 50 > 0, np.zeros(500, bool)])
    found = find_acceptance(confidence, correct, 0.05)
    assert found is not None
    assert found.accepted == 500
    assert found.wrong == 10
    assert find_acceptance(confidence, correct, 0.02) is None


def test_why_there_is_no_threshold() -> None:
    with pytest.raises(InputError, match="without a record of its errors"):
        accept(np.zeros(0), np.zeros(0, bool), 0.02, model="old")
    with pytest.raises(InputError, match=r"at least 149 validation cells .* on 100"):
        accept(np.full(100, 0.9), np.ones(100, bool), 0.02, model="small")
    confidence = np.linspace(0.1, 1, 500)
    with pytest.raises(InputError, match=r"surest validation cells are wrong; the least") as told:
        accept(confidence, np.arange(500) % 10 > 0, 0.02, model="poor")
    least = float(str(told.value).split("about ")[1].rstrip("."))
    assert accept(confidence, np.arange(500) % 10 > 0, least, model="poor").wrong > 0
    with pytest.raises(InputError, match="it can promise none"):
        accept(confidence, np.zeros(500, bool), 0.5, model="hopeless")


def test_the_lowest_rate_is_the_lowest() -> None:
    confidence, correct = draw(500, 3)
    least = lowest_error_rate(confidence, correct)
    assert least is not None
    assert find_acceptance(confidence, correct, least) is not None
    assert find_acceptance(confidence, correct, 0.9 * least) is None
    assert lowest_error_rate(np.ones(5), np.zeros(5, bool)) is None
