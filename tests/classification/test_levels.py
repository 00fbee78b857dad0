"""Coarse and fine classes of one result, and attributes as columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import classification

from cytodiffusion.classification.levels import (
    at_level,
    attribute_columns,
    classes_at,
    finer_posterior,
    has_finer,
    level_note,
    tree_of,
)
from cytodiffusion.classification.result import Classification, join
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import TRAITS, tiny_bundle
from cytodiffusion.taxonomy import white_classes
from cytodiffusion.traits import Trait, trait_probabilities

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


def test_no_class_fits_on_both_levels_or_on_none() -> None:
    result = told()
    even = np.full((len(result), 4), 0.5, np.float32)
    kept = (*np.linspace(0, 0.2, 100),)  # validation cells were all sure: an even cell is odd
    result = replace(result, trait_probabilities=even, traits=(SHAPE, replace(FINER, scores=kept)))
    result.prediction_set[:5] = False
    fine = at_level(result, "fine")
    assert np.array_equal(fine.no_class_fits, result.no_class_fits)
    assert np.array_equal(fine.prediction_set[:, 1], result.prediction_set[:, 1])
    assert np.array_equal(fine.prediction_set[:, 2], result.prediction_set[:, 1])


def test_the_way_back_is_the_coarse_result_itself() -> None:
    result = told()
    fine = at_level(result, "fine")
    assert fine.coarse is result
    assert at_level(fine, "coarse") is result
    assert at_level(fine, "fine").class_names == fine.class_names


def test_cells_for_review_are_those_of_the_coarse_level() -> None:
    result = replace(told(), accept_above=0.6)
    assert 0 < result.review.sum() < len(result)
    assert np.array_equal(at_level(result, "fine").review, result.review)


def test_parts_and_their_joins_keep_both_levels() -> None:
    fine = at_level(told(), "fine")
    parts = join([fine[:7], fine[7:]])
    assert parts.coarse is not None
    assert fine.coarse is not None
    assert np.array_equal(parts.coarse.posterior, fine.coarse.posterior)
    assert np.array_equal(fine[3:5].coarse.predicted, fine.coarse.predicted[3:5])


def test_a_table_tells_the_other_level_and_the_attributes() -> None:
    result = told()
    coarse, fine = result.to_frame(), at_level(result, "fine").to_frame()
    assert [c for c in coarse if c not in fine and not c.startswith("p_")] == [
        *("finer", "finer_confidence")
    ]
    assert [c for c in fine if c not in coarse and not c.startswith("p_")] == ["coarse"]
    assert fine["coarse"].equals(coarse["predicted"])
    assert coarse["attr_nucleus"].equals(fine["attr_nucleus"])
    some = coarse["predicted"] == "neutrophil"
    assert coarse["finer"][some].equals(fine["predicted"][some])
    assert np.allclose(coarse["finer_confidence"][some], fine["confidence"][some])
    assert set(coarse["finer"][~some]) == {""}
    assert coarse["finer_confidence"][~some].isna().all()
    assert list(some_result(3, 0).to_frame()) == [
        c for c in coarse if c not in ("finer", "finer_confidence", "attr_nucleus")
    ]


def test_a_class_of_a_level_has_colour_and_group(tmp_path: Path) -> None:
    model = load_bundle(tiny_bundle(tmp_path / "tiny", traits=TRAITS), device="cpu")
    classes = classes_at(model, "fine")
    names = [c.name for c in classes]
    assert names == list(tree_of(model.class_names, model.traits).names)
    found = {c.name: c for c in classes}
    assert found["band neutrophil"].color == "#0e93e8"
    assert found["monocyte"] == model.classes[names.index("monocyte")]
    assert classes_at(model, "coarse") == model.classes
    assert level_note(model, "fine") is None


def test_finer_classes_nobody_knows_are_white_where_their_class_is(tmp_path: Path) -> None:
    odd = [
        Trait(parent, (f"one {parent}", f"other {parent}"), parent, (parent,))
        for parent in ("neutrophil", "erythroblast")
    ]
    model = load_bundle(tiny_bundle(tmp_path / "tiny", traits=odd), device="cpu")
    classes = classes_at(model, "fine")
    white = white_classes([c.name for c in classes], [c.group for c in classes])
    found = {c.name: bool(w) for c, w in zip(classes, white, strict=True)}
    assert found["one neutrophil"]
    assert found["other neutrophil"]
    assert found["lymphocyte"]
    assert not found["one erythroblast"]
    assert not found["other erythroblast"]
    shades = {c.color for c in classes if c.name.endswith(" neutrophil")}
    assert len(shades) == 2


def test_the_fine_level_of_a_model_without_one_is_told(tmp_path: Path) -> None:
    model = load_bundle(tiny_bundle(tmp_path / "tiny"), device="cpu")
    assert "no finer classes" in str(level_note(model, "fine"))
    assert level_note(model, "coarse") is None
    assert classes_at(model, "fine") == model.classes


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
