from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_engine import CLASSES, COLORS, result_of

from cytodiffusion.cells.crops import Crops
from cytodiffusion.pipeline import CellBatch
from napari_cytodiffusion.layers.results import ORDERS, Results


def big_batch(n: int) -> CellBatch:
    rng = np.random.default_rng(0)
    ids = np.arange(1, n + 1)
    pixels = np.zeros((n, 1, 1, 3), np.uint8)
    crops = Crops(pixels, ids, rng.random((n, 2)), np.ones(n), np.zeros(n, bool), 0.1)
    posterior = rng.dirichlet(np.ones(len(CLASSES)), n)
    return CellBatch(crops, result_of(posterior, rng.random(n)), n, n)


@pytest.fixture(scope="module")
def many():
    results = Results(CLASSES, COLORS)
    results.add(big_batch(100_000))
    return results


@pytest.mark.parametrize("order", ORDERS)
def test_a_hundred_thousand_cells_can_be_walked_through(many, order):
    walk = many.ordered(order)
    assert len(walk) == len(set(walk)) == 100_000
    records = [many.record(label) for label in walk[:50]]
    if order == "uncertainty":
        keys = [-r.entropy for r in records]
    elif order == "anomaly":
        keys = [-r.anomaly_score for r in records]
    elif order == "label":
        keys = [r.label for r in records]
    else:
        keys = [(r.predicted, r.confidence) for r in records]
    assert keys == sorted(keys)


def test_counts_and_memory(many):
    assert many.counts.sum() == len(many) == 100_000
    # the pixels of the crops are not kept
    assert many.batches[0].crops.pixels.strides == (0, 0, 0, 0)


def test_a_whole_slide_becomes_one_batch():
    whole = big_batch(90)
    results = Results(CLASSES, COLORS, coarse=Results(CLASSES, COLORS))
    for start in range(0, 90, 8):
        part = slice(start, min(90, start + 8))
        results.add(CellBatch(whole.crops[part], whole.result[part], part.stop, 90))
    counts, walk = results.counts.copy(), results.ordered("uncertainty")
    records = {label: results.record(label) for label in (1, 9, 90)}
    results.compact()
    assert len(results.batches) == len(results.coarse.batches) == 1
    assert len(results) == results.total == 90
    assert results.batches[0].done == 90
    np.testing.assert_array_equal(results.counts, counts)
    assert results.ordered("uncertainty") == walk
    for label, before in records.items():
        assert results.record(label).label == label
        np.testing.assert_array_equal(results.record(label).posterior, before.posterior)
    assert results.n_unlike(results) == 0


def test_an_order_is_worked_out_once_and_follows_new_cells():
    results = Results(CLASSES, COLORS)
    results.add(big_batch(10))
    assert results.ordered("label") is results.ordered("label")
    second = big_batch(5)
    results.add(replace(second, crops=replace(second.crops, ids=np.arange(101, 106))))
    assert results.ordered("label") == [*range(1, 11), *range(101, 106)]


def test_a_batch_takes_the_place_of_an_earlier_one():
    first, second = big_batch(30), big_batch(30)
    second = replace(second, crops=replace(second.crops, ids=np.arange(101, 131)))
    results = Results(CLASSES, COLORS)
    results.add(first)
    results.add(second)
    before = results.counts.copy()
    k = len(CLASSES)
    one_class = replace(second.result, predicted=np.full(30, k - 1), anomaly=np.zeros(30, bool))
    results.add(replace(second, result=one_class, done=60, revises=1))
    assert len(results) == results.counts.sum() == 60
    own = np.bincount(first.result.predicted, minlength=k)
    np.testing.assert_array_equal(results.counts, own + 30 * (np.arange(k) == k - 1))
    assert results.counts[k - 1] > before[k - 1]
    assert results.n_anomalies == first.result.anomaly.sum()
    assert results.record(101).predicted == k - 1
    assert results.record(1).predicted == first.result.predicted[0]
    assert len(results.batches) == 2


def test_unknown_cells(many):
    assert many.record(0) is None
    assert many.describe(100_001) is None
    assert 5 in many
    assert 0 not in many
    assert Results(CLASSES, COLORS).ordered("anomaly") == []


def test_one_class_only(many):
    walk = many.ordered("uncertainty", 2)
    assert {many.record(label).predicted for label in walk} == {2}
    assert len(walk) == many.counts[2]


def test_description_names_class_and_confidence(many):
    text = many.describe(1)
    record = many.record(1)
    assert CLASSES[record.predicted] in text
    assert "%" in text
    assert "cell 1" in text


def test_without_some_cells_nothing_of_them_is_left_and_the_whole_stays():
    batch = big_batch(40)
    nucleus = np.arange(40) % 3 == 0
    results = Results(CLASSES, COLORS)
    results.add(replace(batch, result=replace(batch.result, contradiction=nucleus)))
    whole = [results.counts.copy(), results.contradictions.copy(), results.n_anomalies]
    gone = {1, 4, 7, 99}
    fewer = results.without(gone)
    assert len(fewer) == fewer.total == fewer.counts.sum() == 37
    assert fewer.contradictions.sum() == nucleus.sum() - 3
    assert 4 not in fewer
    assert fewer.record(5).label == 5
    assert len(results) == 40
    for before, after in zip(
        whole, [results.counts, results.contradictions, results.n_anomalies], strict=True
    ):
        np.testing.assert_array_equal(before, after)
    everything = results.without(range(1, 41))
    assert len(everything) == 0
    assert everything.ordered("class") == []
