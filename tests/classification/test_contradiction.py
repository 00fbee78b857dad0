"""A cell without a nucleus is no lymphocyte, whatever the classifier says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cytodiffusion.classification.contradiction import (
    contradiction_sentence,
    has_nucleus,
    mark_contradictions,
)
from cytodiffusion.classification.result import Classification, join
from cytodiffusion.segmentation.result import PLATELET, RED, UNKNOWN, WHITE

NAMES = ("lymphocyte", "red cell", "artefact")


def classified(predicted: list[int], names: tuple[str, ...] = NAMES) -> Classification:
    n, k = len(predicted), len(names)
    posterior = np.full((n, k), 0.1)
    posterior[np.arange(n), predicted] = 0.8
    ones = np.ones(n)
    return Classification(
        class_names=names,
        posterior=posterior,
        predicted=np.array(predicted, np.int64),
        confidence=0.8 * ones,
        entropy=ones,
        margin=0.7 * ones,
        prediction_set=posterior > 0.5,
        anomaly_score=ones,
        anomaly=ones > 2,
        trials=np.ones(n, np.int64),
        errors_by_level=np.zeros((n, 1, k), np.float32),
        levels=np.array([1]),
        anomaly_threshold=2.0,
        logits=posterior,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lymphocyte", True),
        ("Neutrophils", True),
        ("erythroblast", True),
        ("blast", True),
        ("red cell", False),
        ("RBC", False),
        ("platelet", False),
        ("artefact", False),
        ("smudge cell", False),
        ("a class of one's own", False),
    ],
)
def test_which_classes_have_a_nucleus(name: str, expected: bool) -> None:
    assert has_nucleus(name) is expected


@pytest.mark.parametrize(
    ("kind", "predicted", "contradicts"),
    [
        (RED, "lymphocyte", True),
        (PLATELET, "lymphocyte", True),
        (WHITE, "lymphocyte", False),
        (UNKNOWN, "lymphocyte", False),
        (RED, "red cell", False),
        (RED, "artefact", False),
        (WHITE, "red cell", False),  # a dense red cell is easily taken for a nucleus
    ],
)
def test_only_a_nucleus_where_none_was_seen_contradicts(
    kind: int, predicted: str, contradicts: bool
) -> None:
    result = classified([NAMES.index(predicted)])
    marked = mark_contradictions(result, np.array([1]), np.array([kind], np.uint8))
    assert marked.contradicted.tolist() == [contradicts]
    assert marked.review.tolist() == [contradicts]
    frame = marked.to_frame()
    assert frame["contradiction"].tolist() == frame["review"].tolist() == [contradicts]


def test_kinds_are_those_of_the_labels() -> None:
    kinds = np.array([RED, WHITE, RED], np.uint8)
    ids = np.array([2, 3, 9])  # 9 was drawn by hand later: nothing is known of it
    marked = mark_contradictions(classified([0, 0, 0]), ids, kinds)
    assert marked.contradicted.tolist() == [False, True, False]


def test_labels_of_other_tools_contradict_nothing() -> None:
    result = classified([0, 0])
    assert mark_contradictions(result, np.array([1, 2]), None) is result
    assert not result.contradicted.any()
    assert not result.review.any()


def test_classes_of_ones_own_contradict_nothing() -> None:
    result = classified([0, 1], ("type A", "type B"))
    marked = mark_contradictions(result, np.array([1, 2]), np.full(2, RED, np.uint8))
    assert not marked.review.any()


def test_review_is_for_unsure_cells_and_contradicted_ones() -> None:
    result = replace(classified([0, 1, 1]), accept_above=0.5)
    result.confidence[2] = 0.4
    marked = mark_contradictions(result, np.arange(1, 4), np.full(3, RED, np.uint8))
    assert marked.review.tolist() == [True, False, True]
    both = join([marked[:1], marked[1:]])
    assert both.contradicted.tolist() == [True, False, False]


def test_the_sentence_counts() -> None:
    assert contradiction_sentence({"lymphocyte": 0}) is None
    said = contradiction_sentence({"monocyte": 1, "blast": 0, "lymphocyte": 2})
    assert said is not None
    assert said.startswith("3 cells that were")
    assert "2 lymphocyte, 1 monocyte" in said
    assert "1 cell that was" in str(contradiction_sentence({"monocyte": 1}))
