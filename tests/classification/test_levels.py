"""Coarse and fine classes of one result, and attributes as columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import classification

from cytodiffusion.classification.levels import (
    at_level,
    attribute_columns,
    finer_posterior,
    has_finer,
    tree_of,
)
from cytodiffusion.classification.result import Classification
from cytodiffusion.model.traits import Trait, trait_probabilities

NAMES = ("lymphocyte", "neutrophil", "red cell")
FINER = Trait(
    "neutrophil", ("band", "segmented"), "neutrophil", ("neutrophil",), scores=(0.1, 0.4, 0.6)
)
SHAPE = Trait("nucleus", ("round", "lobed"), classes=("lymphocyte", "neutrophil"))


def some_result(n: int, seed: int) -> Classification:
    """A random classifier's answers of three classes."""
    return replace(classification(n, 3, seed), class_names=NAMES)


def told(seed: int = 0, n: int = 40) -> Classification:
    """A result with one attribute and the finer classes of one class."""
    rng = np.random.default_rng(seed)
    result = some_result(n, seed)
    logits = rng.normal(0, 3, (n, 4)).astype(np.float32)
    return replace(
        result,
        traits=(SHAPE, FINER),
        trait_probabilities=trait_probabilities(logits, (SHAPE, FINER)),
    )


def test_the_tree_keeps_the_order_of_the_classes() -> None:
    tree = tree_of(NAMES, (SHAPE, FINER))
    assert tree.names == ("lymphocyte", "band", "segmented", "red cell")
    assert tree.parents.tolist() == [0, 1, 1, 2]
    assert tree.columns.tolist() == [-1, 2, 3, -1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_probabilities_add_up_along_the_tree(seed: int) -> None:
    result = told(seed)
    fine = finer_posterior(result)
    assert np.allclose(fine.sum(axis=1), 1)
    assert np.allclose(fine[:, 1] + fine[:, 2], result.posterior[:, 1])
    assert np.allclose(fine[:, [0, 3]], result.posterior[:, [0, 2]])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_both_levels_agree_on_the_class(seed: int) -> None:
    result = told(seed)
    fine = at_level(result, "fine")
    parents = tree_of(NAMES, result.traits).parents
    assert np.array_equal(parents[fine.predicted], result.predicted)
    assert np.array_equal(at_level(result, "coarse").predicted, result.predicted)
    inside = np.stack([fine.prediction_set[:, parents == k].any(axis=1) for k in range(3)], 1)
    assert not (inside & ~result.prediction_set).any()


def test_a_finer_class_that_is_out_of_the_question_is_in_no_set() -> None:
    result = told()
    sure = np.tile(np.array([0.5, 0.5, 1e-6, 1 - 1e-6], np.float32), (len(result), 1))
    everything = np.ones_like(result.prediction_set)
    result = replace(result, trait_probabilities=sure, prediction_set=everything)
    kept = (*np.linspace(0, 0.9, 100),)
    result = replace(result, traits=(SHAPE, replace(FINER, scores=kept)))
    sets = at_level(result, "fine", 0.9).prediction_set
    assert sets[:, 2].all()
    assert not sets[:, 1].any()


def test_a_model_without_finer_classes_has_one_level() -> None:
    result = some_result(5, 0)
    assert not has_finer(result.traits)
    assert at_level(result, "fine") is result


def test_attributes_are_told_of_the_classes_that_have_them() -> None:
    result = told()
    columns = attribute_columns(result)
    assert list(columns) == ["attr_nucleus"]
    red = result.predicted == 2
    assert set(columns["attr_nucleus"][red]) <= {""}
    assert set(columns["attr_nucleus"][~red]) == {"round", "lobed"}
    assert not attribute_columns(some_result(3, 0))


@pytest.mark.parametrize(
    "content",
    [
        {"name": "a", "values": ["x"]},
        {"name": "a", "values": ["x", "x"]},
        {"name": "a", "values": ["x", "y"], "temperature": 0},
        {"name": "a", "values": ["x", "y"], "scores": [float("nan")]},
        {"name": "a", "values": ["x", "y"], "colors": ["#000000"]},
    ],
)
def test_a_trait_that_makes_no_sense(content: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="trait"):
        Trait.from_dict(content)


def test_a_trait_is_written_and_read_again() -> None:
    trait = replace(FINER, temperature=1.5, colors=("#000000", "#ffffff"))
    assert Trait.from_dict(trait.to_dict()) == trait
