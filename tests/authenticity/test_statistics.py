"""Against values worked out by hand, or printed in the papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm

from cytodiffusion.authenticity import statistics


@given(st.integers(1, 500), st.data())
def test_exact_intervals_are_those_of_the_beta_distribution(n, data) -> None:
    k = data.draw(st.integers(0, n))
    found = statistics.share(k, n)
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    assert found["interval"] == pytest.approx([low, high], abs=1e-8)
    assert found["value"] == k / n


def test_the_published_interval_of_ten_haematologists() -> None:
    """0.523 (0.505 to 0.542) over 2,880 answers, Deltadahl et al. 2025."""
    found = statistics.share(round(0.523 * 2880), 2880)
    assert [round(v, 3) for v in found["interval"]] == pytest.approx([0.505, 0.542], abs=0.0015)


def test_dprime_and_criterion_by_hand() -> None:
    found = statistics.detection(hits=80, signals=100, alarms=30, noises=100)
    hit, alarm = 80.5 / 101, 30.5 / 101
    z = norm.ppf([hit, alarm])
    assert found["dprime"] == pytest.approx(z[0] - z[1])
    assert found["criterion"] == pytest.approx(-(z[0] + z[1]) / 2)
    low, high = found["dprime_interval"]
    spread = np.sqrt(
        hit * (1 - hit) / (100 * norm.pdf(z[0]) ** 2)
        + alarm * (1 - alarm) / (100 * norm.pdf(z[1]) ** 2)
    )
    assert high - low == pytest.approx(2 * 1.959964 * spread, rel=1e-5)


def test_a_perfect_and_an_undecided_observer_have_finite_figures() -> None:
    perfect = statistics.detection(10, 10, 0, 10)
    assert np.isfinite(perfect["dprime"])
    assert perfect["criterion"] == pytest.approx(0)
    always = statistics.detection(10, 10, 10, 10)
    assert always["dprime"] == pytest.approx(0)
    assert always["criterion"] < -1  # says synthetic whatever comes
    assert statistics.detection(0, 0, 1, 5)["dprime"] is None


@given(st.integers(0, 40), st.integers(0, 40))
def test_calling_everything_the_other_way_turns_the_sign(hits, alarms) -> None:
    one = statistics.detection(hits, 40, alarms, 40)
    other = statistics.detection(40 - hits, 40, 40 - alarms, 40)
    assert other["dprime"] == pytest.approx(-one["dprime"])
    assert other["criterion"] == pytest.approx(-one["criterion"])


def test_mcnemar_by_hand() -> None:
    # 1 of 6 discordant: 2 (C(6,0) + C(6,1)) / 2^6
    assert statistics.paired_p(1, 5) == pytest.approx(14 / 64)
    assert statistics.paired_p(3, 3) == 1
    assert statistics.paired_p(0, 0) == 1


def test_fisher_on_the_lady_tasting_tea() -> None:
    assert statistics.unpaired_p((3, 4), (1, 4)) == pytest.approx(0.485714, abs=1e-6)


def test_guessing_by_hand() -> None:
    assert statistics.chance(5, 10) == 1
    assert statistics.chance(10, 10) == pytest.approx(2 / 1024)
    assert statistics.chance(0, 0) is None


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1, 1]
    assert statistics.holm([]) == []
