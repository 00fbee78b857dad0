"""Figures of a classifier, of shift, sets and hierarchies: against scikit-learn and by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from simulated import classification, from_posterior, scored
from sklearn.metrics import confusion_matrix, f1_score, precision_score

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.evaluation.figures import (
    difference,
    figures,
    hierarchy_figures,
    review_figures,
    set_figures,
    shift_figures,
)
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.taxonomy import Taxonomy


def answers(n: int = 200, seed: int = 0):
    names = np.array(list("abcd"))[np.random.default_rng(seed + 1).integers(0, 4, n)]
    return scored(classification(n, 4, seed), names.tolist())


def test_figures_are_those_of_scikit_learn() -> None:
    cells = answers()
    truth, predicted = cells.labels, cells.result.predicted
    found = figures(cells, resamples=50)
    assert found["n"] == 200
    assert found["confusion"]["counts"] == confusion_matrix(truth, predicted).tolist()
    for k, name in enumerate("abcd"):
        row = found["per_class"][name]
        assert row["n"] == (truth == k).sum()
        assert row["precision"] == pytest.approx(
            precision_score(truth, predicted, labels=[k], average="macro")
        )
        assert row["f1"] == pytest.approx(f1_score(truth, predicted, labels=[k], average="macro"))
        low, high = row["intervals"]["recall"]
        assert low <= row["recall"] <= high
        assert row["coverage"] == pytest.approx(cells.result.prediction_set[truth == k, k].mean())
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "coverage", "set_size"):
        low, high = found["intervals"][name]
        assert low <= found[name] <= high


def test_classes_that_do_not_occur_have_no_row() -> None:
    cells = scored(classification(20), ["a", "b"] * 10)
    assert list(figures(cells, resamples=20)["per_class"]) == ["a", "b"]


def test_sets_at_several_levels() -> None:
    cells = answers()
    record = ValidationRecord(torch.linspace(0, 0.99, 100))
    model = SimpleNamespace(name="stub", head=None, validation=record)
    rows = set_figures(model, cells, ClassifySettings(coverage=0.95), (0.5, 0.9))
    assert [row["asked"] for row in rows] == [0.5, 0.9, 0.95]
    # half of the validation scores are up to 0.5: classes with p above it enter
    half = 1 - cells.result.posterior <= 0.5
    assert rows[0]["size"] == pytest.approx(half.sum(axis=1).mean(), abs=0.03)
    assert rows[0]["coverage"] == pytest.approx(half[np.arange(200), cells.labels].mean(), abs=0.03)
    assert rows[0]["singletons"] == pytest.approx((half.sum(axis=1) == 1).mean(), abs=0.03)
    assert rows[0]["empty"] == pytest.approx((half.sum(axis=1) == 0).mean(), abs=0.03)
    assert rows[0]["coverage"] <= rows[1]["coverage"]
    # the level of the run is measured on the sets of the run
    asked = cells.result.prediction_set
    assert rows[2]["size"] == pytest.approx(asked.sum(axis=1).mean())
    assert rows[2]["per_class"]["c"]["size"] == pytest.approx(
        asked[cells.labels == 2].sum(axis=1).mean()
    )


def test_cells_are_decided_in_the_order_of_their_certainty() -> None:
    # the first is wrong: it has the largest probability, and the least gap
    posterior = np.array([[0.55, 0.44, 0.01, 0], [0.5, 0.3, 0.1, 0.1], [0.4, 0.2, 0.2, 0.2]])
    cells = scored(from_posterior(posterior), ["b", "a", "a"])
    first = figures(cells, resamples=20)
    by_gap = figures(
        replace(cells, result=replace(cells.result, certainty_name="margin")), resamples=20
    )
    assert first["risk_coverage"]["risk"] == pytest.approx([1, 1 / 2, 1 / 3])
    assert by_gap["risk_coverage"]["risk"] == pytest.approx([0, 0, 1 / 3])
    assert by_gap["aurc"] == pytest.approx(1 / 9)
    assert [row["share"] for row in first["decided"]] == [0] * 4
    assert [row["share"] for row in by_gap["decided"]] == pytest.approx([2 / 3] * 4)
    # accuracy is held against the probability
    assert (first["ece"], first["reliability"]) == (by_gap["ece"], by_gap["reliability"])


def test_cells_for_review() -> None:
    cells = answers()
    hits = cells.result.predicted == cells.labels
    assert review_figures(cells.result, hits) is None
    found = review_figures(replace(cells.result, accept_above=0.8), hits)
    sure = cells.result.confidence > 0.8
    assert found["share"] == pytest.approx(1 - sure.mean())
    assert found["error"] == pytest.approx(1 - hits[sure].mean())


def test_shared_classes_only() -> None:
    posterior = np.array([[0.1, 0.5, 0.4, 0], [0.3, 0.3, 0.1, 0.3], [0.2, 0.1, 0.1, 0.6]])
    posterior[1] = [0.2, 0.1, 0.15, 0.55]
    cells = scored(from_posterior(posterior), ["c", "a", "a"])
    found = shift_figures(cells, resamples=20)
    # all open: b, d, d; with a and c alone: c, a, a
    assert found["accuracy"] == 0
    assert found["balanced_accuracy"] == 0
    assert found["shared_accuracy"] == 1
    assert found["shared_balanced_accuracy"] == 1


def test_balanced_accuracy_under_shift_is_over_the_classes_that_occur() -> None:
    posterior = np.eye(4)[[0, 0, 1, 3]] * 0.9 + 0.025
    cells = scored(from_posterior(posterior), ["a", "a", "a", "b"])
    found = shift_figures(cells, resamples=20)
    assert found["accuracy"] == 0.5
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 0) / 2)


def test_tolerant_scores_accept_neighbours() -> None:
    taxonomy = Taxonomy.from_dict(
        {
            "name": "four",
            "classes": [
                {"name": n, "color": "#000000", "group": g}
                for n, g in zip("abcd", ("x", "x", "y", "y"), strict=True)
            ],
            "neighbours": [["a", "b"]],
        }
    )
    posterior = np.eye(4)[[0, 1, 2, 0, 3]] * 0.9 + 0.025
    cells = scored(from_posterior(posterior), ["a", "a", "a", "b", "c"])
    found = hierarchy_figures(cells, taxonomy)
    assert found["strict"] == {
        "accuracy": pytest.approx(1 / 5),
        "balanced_accuracy": pytest.approx((1 / 3 + 0 + 0) / 3),
    }
    assert found["tolerant"] == {
        "accuracy": pytest.approx(3 / 5),
        "balanced_accuracy": pytest.approx((2 / 3 + 1 + 0) / 3),
    }
    assert found["neighbours"] == [["a", "b"]]
    assert found["groups"]["accuracy"] == pytest.approx(4 / 5)
    a = found["per_class"]["a"]
    assert (a["precision_strict"], a["precision_tolerant"]) == (0.5, 1.0)


def test_difference_on_the_same_cells_is_paired() -> None:
    one, other = answers(), answers(seed=0)
    same = difference(one, other, resamples=30)
    assert same == {
        key: {"difference": 0, "interval": [0, 0]} for key in ("accuracy", "balanced_accuracy")
    }
    worse = scored(classification(200, 4, 7), [r.label for r in one.records])
    found = difference(one, worse, resamples=200)
    truth = one.labels
    expected = (one.result.predicted == truth).mean() - (worse.result.predicted == truth).mean()
    assert found["accuracy"]["difference"] == pytest.approx(expected)
    low, high = found["accuracy"]["interval"]
    assert low < expected < high
    assert difference(one, one[np.arange(10)]) is None
