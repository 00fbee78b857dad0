"""Which cells a person is asked about next."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cytodiffusion.errors import InputError
from cytodiffusion.teaching import STRATEGIES, choose


@pytest.fixture
def cells() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four groups of 50 cells, apart in the embedding; those of the third are doubtful."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 50)
    embedding = np.eye(6)[group] * 8 + rng.normal(size=(200, 6)) * 0.3
    posterior = np.full((200, 3), 0.02)
    posterior[np.arange(200), group % 3] = 0.96
    doubtful = rng.dirichlet(np.ones(3) * 5, 50)
    posterior[group == 2] = doubtful
    return posterior, embedding.astype(np.float32), group


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_orders_all_cells_that_nobody_labelled(cells, strategy: str) -> None:
    posterior, embedding, _ = cells
    labelled = np.zeros(200, bool)
    labelled[::7] = True

    found = choose(posterior, embedding, labelled, strategy, seed=1)

    assert sorted(found) == np.flatnonzero(~labelled).tolist()
    few = choose(posterior, embedding, labelled, strategy, 5, seed=1)
    assert len(few) == 5
    assert not labelled[few].any()
    assert np.array_equal(few, choose(posterior, embedding, labelled, strategy, 5, seed=1))


@pytest.mark.parametrize("strategy", ["margin", "least-confident", "entropy", "set-size", "hybrid"])
def test_doubtful_cells_come_first(cells, strategy: str) -> None:
    posterior, embedding, group = cells
    labelled = np.zeros(200, bool)
    labelled[[0, 50, 100, 150]] = True

    found = choose(posterior, embedding, labelled, strategy, 10)

    assert (group[found] == 2).mean() >= 0.9


def test_margin_is_the_lead_over_the_second_class() -> None:
    posterior = np.array([[0.5, 0.3, 0.2], [0.45, 0.44, 0.11], [0.4, 0.3, 0.3]])

    assert choose(posterior, None, np.zeros(3, bool), "margin").tolist() == [1, 2, 0]
    assert choose(posterior, None, np.zeros(3, bool), "least-confident").tolist() == [2, 1, 0]


@pytest.mark.parametrize("strategy", ["k-centre", "clusters", "hybrid"])
def test_first_cells_are_of_all_groups(cells, strategy: str) -> None:
    posterior, embedding, group = cells
    even = np.full_like(posterior, 1 / 3)

    found = choose(even, embedding, np.zeros(200, bool), strategy, 4)

    assert set(group[found]) == {0, 1, 2, 3}


def test_k_centre_goes_where_no_label_is(cells) -> None:
    posterior, embedding, group = cells
    labelled = np.isin(group, (0, 1, 3))

    assert group[choose(posterior, embedding, labelled, "k-centre", 1)].tolist() == [2]


def test_without_an_embedding_the_margin_decides(cells) -> None:
    posterior, _, _ = cells
    none = np.zeros(200, bool)
    wanted = choose(posterior, None, none, "margin", 9)

    for embedding in (None, np.full((200, 4), np.nan)):
        assert np.array_equal(choose(posterior, embedding, none, "k-centre", 9), wanted)


def test_nothing_is_left_to_choose() -> None:
    posterior = np.full((3, 2), 0.5)

    assert not len(choose(posterior, None, np.ones(3, bool), "margin", 5))
    assert not len(choose(posterior[:0], None, np.ones(0, bool), "hybrid"))


def test_wrong_input_is_one_sentence(cells) -> None:
    posterior, embedding, _ = cells
    with pytest.raises(InputError, match="no strategy 'best'"):
        choose(posterior, embedding, np.zeros(200, bool), "best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="as many embeddings"):
        choose(posterior, embedding[:5], np.zeros(200, bool))
    with pytest.raises(InputError, match="one flag a cell"):
        choose(posterior, embedding, np.zeros(3, bool))


def test_many_cells_take_no_time() -> None:
    rng = np.random.default_rng(0)
    posterior = rng.dirichlet(np.ones(10), 20_000)
    embedding = rng.normal(size=(20_000, 64)).astype(np.float32)
    labelled = np.arange(20_000) < 100

    for strategy in STRATEGIES:
        started = time.thread_time()
        choose(posterior, embedding, labelled, strategy, 30)
        assert time.thread_time() - started < 5, strategy
