"""In which order cells are looked at, which are shown, and how they are counted."""

from __future__ import annotations

import numpy as np
import pytest
from studies import NAMES, made_up

from cytodiffusion.review.cells import (
    DISPUTED,
    NOBODY,
    PeopleSaid,
    ReviewCells,
    columns_of,
    counted_class,
    no_cells,
)
from cytodiffusion.review.counts import count_cells
from cytodiffusion.review.ordering import BLIND_ORDERS, CellFilter, distances, order_cells

N = 40


@pytest.fixture
def cells() -> ReviewCells:
    result = made_up(np.random.default_rng(1).dirichlet(np.ones(3), N))
    return ReviewCells(
        numbers=np.arange(100, 100 + N),
        images=("a.png", "b.png"),
        pixel_sizes_um=(0.1, 0.1),
        image=np.arange(N) % 2,
        labels=np.arange(N) // 2 + 1,
        centres=np.zeros((N, 2)),
        touches_border=np.arange(N) == 7,
        class_names=tuple(NAMES),
        colors=("#000000",) * 3,
        white=np.array([True, True, False]),
        **columns_of(result, result),
    )


@pytest.fixture
def said() -> PeopleSaid:
    return PeopleSaid(N)


def test_uncertainty_has_white_cells_first_and_cut_ones_last(cells, said):
    order = order_cells(cells, said, "uncertainty")
    assert sorted(order) == list(range(N))
    assert order[-1] == 7
    white = cells.white[cells.predicted[order[:-1]]]
    assert not (np.diff(white.astype(int)) > 0).any()
    for kind in (True, False):
        assert (np.diff(cells.entropy[order[:-1]][white == kind]) <= 0).all()


def test_anomalies_and_classes(cells, said):
    odd = order_cells(cells, said, "anomaly")
    first = odd[cells.white[cells.predicted[odd]] & ~cells.touches_border[odd]]
    assert (np.diff(cells.anomaly_score[first]) <= 0).all()
    by_class = order_cells(cells, said, "class")
    assert (np.diff(cells.predicted[by_class]) >= 0).all()
    row = int(by_class[0])
    said.say([row], 2, "Ada")  # what a person says decides where it stands
    assert row in order_cells(cells, said, "class")[-np.sum(cells.predicted == 2) - 1 :]


def test_similar_cells_are_of_its_class(cells, said):
    order = order_cells(cells, said, "similar", like=5)
    assert order[0] == 5
    same = np.sum(cells.predicted == cells.predicted[5])  # the toy's embedding is by class
    assert (cells.predicted[order[:same]] == cells.predicted[5]).all()


def test_without_embeddings_probabilities_tell_what_is_similar(cells):
    from dataclasses import replace

    bare = replace(cells, embedding=None)
    assert distances(bare, 3)[3] == 0
    nearest = int(np.argsort(distances(bare, 3))[1])
    assert np.abs(bare.posterior[nearest] - bare.posterior[3]).max() < 0.5
    # cells of an image of which none was kept come last
    embedding = cells.embedding.copy()
    embedding[10] = np.nan
    assert (
        order_cells(replace(cells, embedding=embedding), PeopleSaid(N), "similar", like=3)[-1] == 10
    )


def test_disagreements_come_first_then_what_nobody_saw(cells, said):
    against = np.argsort(cells.first_confidence)[[5, 30]]
    for row in against:
        said.say([row], (cells.first[row] + 1) % 3, "Ada")
    agreed = int(np.setdiff1d(np.arange(N), against)[0])
    said.say([agreed], cells.first[agreed], "Ada")
    disputed = int(np.setdiff1d(np.arange(N), [*against, agreed])[0])
    said.say([disputed], 0, "Ada")
    said.say([disputed], 1, "Ben")
    order = order_cells(cells, said, "disagreement")
    assert set(order[:3]) == {*against, disputed}
    assert list(order).index(against[1]) < list(order).index(against[0])  # the model was surer
    assert order[-1] == agreed


def test_the_learner_asks_of_cells_that_nobody_labelled(cells, said):
    said.say([1, 2, 3], 0, "Ada")
    order = order_cells(cells, said, "learner", seed=4)
    assert sorted(order) == list(range(N))
    assert set(order[-3:]) == {1, 2, 3}
    np.testing.assert_array_equal(order, order_cells(cells, said, "learner", seed=4))


def test_blind_orders_tell_nothing_of_the_model(cells, said):
    from dataclasses import replace

    other = replace(
        cells,
        predicted=(cells.predicted + 1) % 3,
        entropy=-cells.entropy,
        anomaly_score=-cells.anomaly_score,
        first=(cells.first + 1) % 3,
        posterior=cells.posterior[:, ::-1],
    )
    for by in BLIND_ORDERS:
        np.testing.assert_array_equal(
            order_cells(cells, said, by, like=2, seed=3),
            order_cells(other, said, by, like=2, seed=3),
        )
    assert not np.array_equal(order_cells(cells, said, "chance", seed=3), np.arange(N))


def test_filters(cells, said):
    assert CellFilter().shown(cells, said).all()
    assert (CellFilter(image=1).shown(cells, said) == (cells.image == 1)).all()
    row = int(np.flatnonzero(cells.predicted == 0)[0])
    said.say([row], 1, "Ada")
    of_class = CellFilter(class_index=1).shown(cells, said)
    assert of_class[row]
    assert of_class.sum() == np.sum(cells.predicted == 1) + 1
    # without the model's word only people tell a class
    assert CellFilter(class_index=1, blind=True).shown(cells, said).sum() == 1
    assert np.flatnonzero(CellFilter(labelled=True).shown(cells, said)).tolist() == [row]
    assert CellFilter(labelled=False).shown(cells, said).sum() == N - 1
    assert CellFilter(observer="Ben").shown(cells, said).sum() == 0
    assert CellFilter(observer="Ben", labelled=False).shown(cells, said).all()
    assert np.flatnonzero(CellFilter(observer="Ada").shown(cells, said)).tolist() == [row]


def test_counts_and_agreement(cells, said):
    empty = count_cells(cells, said)
    assert (empty.labelled, empty.to_do, empty.agreement) == (0, N, None)
    assert empty.classes.tolist() == np.bincount(cells.predicted, minlength=3).tolist()
    for row in range(4):
        said.say([row], cells.first[row], "Ada")
    said.say([4], (cells.first[4] + 1) % 3, "Ada")
    said.say([3], (cells.first[3] + 1) % 3, "Ben")
    counts = count_cells(cells, said)
    assert (counts.labelled, counts.confirmed, counts.corrected, counts.disputed) == (5, 3, 1, 1)
    assert counts.given.sum() == 4
    share, (low, high) = counts.agreement
    assert share == 0.75
    assert 0.2 < low < share < high < 1


def test_what_people_say_is_taken_back(said):
    said.say([2], 1, "Ada")
    said.say([2], 0, "Ben")
    assert said.human[2] == DISPUTED
    assert said.observers == ["Ada", "Ben"]
    said.say([2], NOBODY, "Ben")
    assert said.human[2] == 1
    assert said.observers == ["Ada"]


def test_no_cells_at_all():
    none, nobody = no_cells(), PeopleSaid(0)
    for by in ("uncertainty", "class", "similar", "disagreement", "learner", "chance"):
        assert len(order_cells(none, nobody, by)) == 0
    assert count_cells(none, nobody).cells == 0
    assert len(counted_class(none, nobody)) == 0


def test_fifty_thousand_cells_are_ordered_in_no_time():
    import time

    n = 50_000
    result = made_up(np.random.default_rng(1).dirichlet(np.ones(3), n))
    many = ReviewCells(
        numbers=np.arange(n),
        images=("a",),
        pixel_sizes_um=(0.1,),
        image=np.zeros(n, np.int64),
        labels=np.arange(n),
        centres=np.zeros((n, 2)),
        touches_border=np.zeros(n, bool),
        class_names=tuple(NAMES),
        colors=("#000000",) * 3,
        white=np.ones(3, bool),
        **columns_of(result, result),
    )
    said = PeopleSaid(n)
    start = time.process_time()
    for by in ("uncertainty", "anomaly", "class", "similar", "disagreement", "place", "chance"):
        order_cells(many, said, by, like=0)
    count_cells(many, said)
    assert time.process_time() - start < 1.5
