"""Attributes and finer classes of one cell, in plain words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated import from_posterior

from cytodiffusion.classification.attributes import WORDS, told_attributes, told_finer
from cytodiffusion.classification.levels import at_level
from cytodiffusion.classification.result import Classification
from cytodiffusion.datasets.wbcatt import ATTRIBUTES
from cytodiffusion.traits import Trait

TRAITS = (
    Trait("odd thing", ("no", "yes")),
    Trait("nucleus_shape", ("unsegmented-band", "segmented-bilobed"), classes=("neutrophil",)),
    Trait("neutrophil", ("band", "segmented"), "neutrophil"),
)


def told() -> Classification:
    """A lymphocyte and a neutrophil."""
    result = from_posterior(np.array([[0.9, 0.1], [0.2, 0.8]]))
    shares = np.array([[0.4, 0.6, 0.3, 0.7, 0.5, 0.5], [1, 0, 0.25, 0.75, 0.17, 0.83]], np.float32)
    names = ("lymphocyte", "neutrophil")
    return replace(result, class_names=names, traits=TRAITS, trait_probabilities=shares)


@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_a_cell_has_the_attributes_that_its_class_was_seen_with(level) -> None:
    result = at_level(told(), level)
    assert [(a.name, a.value) for a in told_attributes(result, 0)] == [("odd thing", "yes")]
    shape, odd = told_attributes(result, 1)
    assert (shape.title, shape.words) == ("Shape of the nucleus", "segmented, two lobes")
    assert shape.probability == pytest.approx(0.75)
    assert shape.meaning
    assert (odd.title, odd.words, odd.meaning) == ("Odd thing", "no", "")


@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_finer_classes_have_shares_of_their_class(level) -> None:
    result = at_level(told(), level)
    assert told_finer(result, 0) == []
    (first, share), (second, rest) = told_finer(result, 1)
    assert (first, second) == ("segmented", "band")
    assert (share, rest) == pytest.approx((0.83, 0.17))


def test_a_model_without_traits_tells_nothing() -> None:
    result = from_posterior(np.array([[0.9, 0.1]]))
    assert told_attributes(result) == told_finer(result) == []


def test_every_attribute_of_wbcatt_has_words() -> None:
    assert set(WORDS) == set(ATTRIBUTES)
