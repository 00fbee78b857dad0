"""Cells of a slide together: corrected by what they have in common, and only then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.conformal import conformal_sets
from cytodiffusion.classification.result import Classification, join
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_correction import LEAST_CELLS, adjust
from cytodiffusion.errors import InputError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.testing import (
    DEFAULT_NAMES,
    tiny_bundle,
    tiny_slide_correction,
    tiny_slide_distance,
)

NAMES = ("red", "blue", "green")
QUICK = ClassifySettings(trials=2, min_trials=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("b") / "tiny"
    return load_bundle(
        tiny_bundle(folder, NAMES, slide_correction=tiny_slide_correction(3)), device="cpu"
    )


@pytest.fixture(scope="module")
def alone(model: ModelBundle) -> Classification:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), np.uint8)
    return classify(pixels, model, QUICK)


def test_classes_and_doubts_are_corrected_and_the_rest_is_kept(
    model: ModelBundle, alone: Classification
) -> None:
    result = adjust(alone, model, QUICK)
    assert result.adjusted
    assert not alone.adjusted
    assert not np.allclose(result.posterior, alone.posterior)
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1)
    np.testing.assert_array_equal(result.predicted, result.posterior.argmax(axis=1))
    np.testing.assert_array_equal(result.confidence, result.posterior.max(axis=1))
    for name in ("logits", "trials", "anomaly", "anomaly_score", "errors_by_level"):
        np.testing.assert_array_equal(getattr(result, name), getattr(alone, name))


def test_the_posterior_is_that_of_the_formula(model: ModelBundle, alone: Classification) -> None:
    correction = model.slide_correction
    assert correction is not None
    assert alone.embedding is not None
    corrected = correction.corrected(alone.logits, alone.embedding, 1.0)
    result = adjust(alone, model, QUICK)
    np.testing.assert_allclose(result.posterior, softmax(corrected / 1.5))
    kept = correction.validation
    scores, classes = kept.scores.numpy(), kept.classes.numpy()
    sets = conformal_sets(result.posterior, scores, 0.8, classes)
    wanted = QUICK.model_copy(update={"coverage": 0.8, "by_class": True})
    np.testing.assert_array_equal(adjust(alone, model, wanted).prediction_set, sets)


def test_correcting_twice_is_correcting_once(model: ModelBundle, alone: Classification) -> None:
    once = adjust(alone, model, QUICK)
    np.testing.assert_array_equal(adjust(once, model, QUICK).posterior, once.posterior)


def test_the_order_of_the_cells_does_not_matter(model: ModelBundle, alone: Classification) -> None:
    order = np.random.default_rng(1).permutation(len(alone))
    one, other = adjust(alone, model, QUICK), adjust(alone[order], model, QUICK)
    np.testing.assert_allclose(one.posterior[order], other.posterior, rtol=1e-4, atol=1e-6)


def test_other_companions_change_a_cell(model: ModelBundle, alone: Classification) -> None:
    few = adjust(alone[: LEAST_CELLS + 1], model, QUICK)
    all_of_them = adjust(alone, model, QUICK)
    assert not np.allclose(few.posterior[0], all_of_them.posterior[0])


def test_each_cell_is_looked_at_alone_where_that_is_asked_for(
    model: ModelBundle, alone: Classification
) -> None:
    assert adjust(alone, model, QUICK.model_copy(update={"alone": True})) is alone


def test_of_few_cells_nothing_is_said(model: ModelBundle, alone: Classification) -> None:
    few = alone[: LEAST_CELLS - 1]
    assert adjust(few, model, QUICK) is few
    assert adjust(alone[:LEAST_CELLS], model, QUICK).adjusted


def test_a_model_without_a_correction_changes_nothing(
    model: ModelBundle, alone: Classification
) -> None:
    assert adjust(alone, replace(model, slide_correction=None), QUICK) is alone


def test_batches_joined_are_the_whole(model: ModelBundle, alone: Classification) -> None:
    again = join([alone[:7], alone[7:]])
    whole = adjust(alone, model, QUICK)
    np.testing.assert_array_equal(adjust(again, model, QUICK).posterior, whole.posterior)


def test_promises_are_those_of_corrected_cells(model: ModelBundle, alone: Classification) -> None:
    wanted = QUICK.model_copy(update={"error_rate": 0.3})
    with pytest.raises(InputError, match="error rate"):  # the calibration kept nothing for it
        classify(np.zeros((1, 32, 32, 3), np.uint8), model, wanted)
    assert adjust(alone, model, wanted).accept_above is not None


def test_a_correction_survives_its_files(model: ModelBundle, tmp_path: Path) -> None:
    made = tiny_slide_correction(3)
    loaded = model.slide_correction
    assert loaded is not None
    assert loaded.validation.temperature == made.validation.temperature
    for name, weight in made.network.state_dict().items():
        np.testing.assert_array_equal(weight, loaded.network.state_dict()[name])
    np.testing.assert_array_equal(made.validation.correct, loaded.validation.correct)


def test_a_far_slide_leaves_classes_to_look_and_expectation_alone(tmp_path: Path) -> None:
    far = tiny_slide_distance(len(DEFAULT_NAMES))
    bundle = tiny_bundle(tmp_path / "far", DEFAULT_NAMES, slide_distance=far)
    distant = load_bundle(bundle, device="cpu")
    near = replace(distant, slide_distance=None)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 32, 32, 3), np.uint8)
    settings = QUICK.model_copy(update={"prior": "normal-blood"})
    cells = classify(pixels, near, settings)
    lowered = adjust(cells, distant, settings)
    assert lowered.slide_distance is not None
    assert lowered.slide_distance > 0.5
    assert lowered.confidence.mean() < cells.confidence.mean()
    np.testing.assert_array_equal(lowered.predicted, cells.predicted)
