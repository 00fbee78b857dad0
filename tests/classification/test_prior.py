"""A prior over classes: what it moves, what it leaves alone, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cytodiffusion.classification.classifier import Evidence
from cytodiffusion.classification.decision import check_promises, decide
from cytodiffusion.classification.prior import (
    FLOOR,
    NORMAL_BLOOD,
    prior_of,
    prior_record,
    prior_sentence,
    settled,
    with_prior,
)
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.settings import make_settings

NAMES = ("lymphocyte", "neutrophil", "immature granulocyte", "erythroblast", "red cell", "platelet")
BLOOD = ClassifySettings(prior="normal-blood")
NUCLEATED, OTHERS = slice(0, 4), slice(4, 6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    bundle = load_bundle(tiny_bundle(tmp_path_factory.mktemp("m") / "tiny", NAMES), device="cpu")
    confidence = torch.linspace(0.2, 1, 600, dtype=torch.float64)
    bundle.calibration = replace(
        bundle.calibration,
        validation=ValidationRecord(
            scores=torch.linspace(0, 0.6, 300),
            classes=torch.arange(300) % len(NAMES),
            confidence=confidence,
            correct=confidence > 0.3,
        ),
    )
    return bundle


@pytest.fixture(scope="module")
def posterior() -> np.ndarray:
    return softmax(np.random.default_rng(0).normal(0, 3, (200, len(NAMES))))


def evidence(logits: np.ndarray) -> Evidence:
    n, k = logits.shape
    return Evidence(
        logits=logits,
        trials=np.ones(n, np.int64),
        errors_by_level=np.zeros((n, 1, k), np.float32),
        embedding=np.zeros((n, 16), np.float32),
        all_logits=logits[:, None].astype(np.float32),
    )


def test_normal_blood_moves_nucleated_cells_by_its_shares(posterior: np.ndarray) -> None:
    prior = prior_of(BLOOD, NAMES)
    assert prior is not None
    assert prior.acting.tolist() == [True, True, True, True, False, False]
    assert prior.shares.sum() == pytest.approx(1)
    moved = prior.applied(posterior)
    np.testing.assert_allclose(moved.sum(axis=1), 1)
    np.testing.assert_array_equal(moved[:, OTHERS], posterior[:, OTHERS])
    np.testing.assert_allclose(moved[:, NUCLEATED].sum(axis=1), posterior[:, NUCLEATED].sum(axis=1))
    odds = np.log(moved[:, 1] / moved[:, 2]) - np.log(posterior[:, 1] / posterior[:, 2])
    expected = np.log(NORMAL_BLOOD["neutrophil"] / NORMAL_BLOOD["immature granulocyte"])
    np.testing.assert_allclose(odds, expected)
    erythroblast = np.log(moved[:, 0] / moved[:, 3]) - np.log(posterior[:, 0] / posterior[:, 3])
    np.testing.assert_allclose(erythroblast, np.log(NORMAL_BLOOD["lymphocyte"] / FLOOR))


def test_the_differential_of_normal_blood_adds_up() -> None:
    coarse = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil")
    assert sum(NORMAL_BLOOD[name] for name in coarse) == pytest.approx(1)
    fine = NORMAL_BLOOD["segmented neutrophil"] + NORMAL_BLOOD["band neutrophil"]
    assert fine == pytest.approx(NORMAL_BLOOD["neutrophil"])
    assert FLOOR < NORMAL_BLOOD["immature granulocyte"] < 0.01


def test_finer_classes_get_what_the_coarse_one_gets(posterior: np.ndarray) -> None:
    fine = prior_of(BLOOD, ("lymphocyte", "band neutrophil", "segmented neutrophil"))
    coarse = prior_of(BLOOD, ("lymphocyte", "neutrophil"))
    assert fine is not None
    assert coarse is not None
    assert fine.shares[1:].sum() == pytest.approx(coarse.shares[1])


def test_classes_that_nobody_knows_are_left_alone(posterior: np.ndarray) -> None:
    assert prior_of(BLOOD, ("green", "red", "blue")) is None
    prior = prior_of(BLOOD, ("my cell", "neutrophil", "blast", "smudge cell"))
    assert prior is not None
    assert prior.acting.tolist() == [False, True, True, False]


def test_what_no_class_can_be_stays(model: ModelBundle) -> None:
    prior = prior_of(BLOOD, NAMES)
    assert prior is not None
    only_red = np.array([[0.0, 0, 0, 0, 1, 0]])
    np.testing.assert_array_equal(prior.applied(only_red), only_red)
    assert prior.applied(np.zeros((0, 6))).shape == (0, 6)


def test_own_shares_leave_the_rest_to_the_others() -> None:
    settings = ClassifySettings(prior_shares={"Lymphocytes": 0.7, "erythroblast": 0.1})
    assert settings.prior == "own"
    prior = prior_of(settings, NAMES)
    assert prior is not None
    assert prior.acting.tolist() == [True, True, True, True, False, False]
    np.testing.assert_allclose(prior.shares, [0.7, 0.1, 0.1, 0.1, 0, 0])
    all_of_it = prior_of(ClassifySettings(prior_shares="lymphocyte=1"), NAMES)
    assert all_of_it is not None
    assert 0.99 < all_of_it.shares[0] < 1
    assert all_of_it.shares[1] == pytest.approx(FLOOR, rel=0.01)  # rare, not impossible


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prior": "own"}, "needs shares"),
        ({"prior": "even", "prior_shares": {"a": 0.5}}, "shares are for the prior own"),
        ({"prior_shares": {"a": 0.5, "b": 0.6}}, "add up to 1.1"),
        ({"prior_shares": {"a": -1}}, "prior shares"),
        ({"prior_shares": "lymphocyte"}, "write it as"),
        ({"prior": "sick"}, "prior"),
    ],
)
def test_wrong_priors_are_told_in_a_sentence(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_settings(ClassifySettings, values)


@pytest.mark.parametrize(("name", "said"), [("blast", "no class"), ("platelet", "nucleated")])
def test_own_shares_of_what_is_no_nucleated_class_are_refused_before_the_work(
    model: ModelBundle, name: str, said: str
) -> None:
    settings = ClassifySettings(prior_shares={name: 0.5}, error_rate=None)
    with pytest.raises(InputError, match=said):
        check_promises(model.validation, settings, model)


def test_fields_are_of_normal_blood_and_chosen_cells_are_not() -> None:
    usual = ClassifySettings()
    assert settled(usual, field=True).prior == "normal-blood"
    assert settled(usual, field=False).prior == "even"
    assert settled(ClassifySettings(prior="even"), field=True).prior == "even"
    assert settled(BLOOD, field=False).prior == "normal-blood"


def test_without_a_prior_nothing_changes(model: ModelBundle, posterior: np.ndarray) -> None:
    assert with_prior(posterior, model, ClassifySettings()) is posterior
    result = decide(evidence(np.log(posterior)), model, ClassifySettings())
    np.testing.assert_array_equal(result.posterior, softmax(result.logits))
    assert not result.decided_by_prior.any()


def test_what_the_prior_decides_is_for_review_and_sets_only_grow(
    model: ModelBundle, posterior: np.ndarray
) -> None:
    found = evidence(np.log(posterior))
    plain = decide(found, model, ClassifySettings(prior="even"))
    moved = decide(found, model, BLOOD)
    np.testing.assert_allclose(moved.posterior, with_prior(plain.posterior, model, BLOOD))
    by_prior = moved.predicted != plain.predicted
    assert 5 < by_prior.sum() < 150
    np.testing.assert_array_equal(moved.by_prior, by_prior)
    assert moved.review[by_prior].all()
    assert moved.accept_above == plain.accept_above
    assert (moved.prediction_set >= plain.prediction_set).all()
    some = plain.prediction_set.any(axis=1)
    rows = np.flatnonzero(by_prior & some)
    assert moved.prediction_set[rows, moved.predicted[rows]].all()
    np.testing.assert_array_equal(moved.no_class_fits, plain.no_class_fits)
    np.testing.assert_array_equal(moved.logits, plain.logits)
    np.testing.assert_array_equal(moved.anomaly, plain.anomaly)
    table = moved.to_frame()
    assert table["by_prior"].tolist() == by_prior.tolist()
    unasked = decide(found, model, ClassifySettings(prior="normal-blood", error_rate=None))
    assert not unasked.review.any()


def test_the_correction_of_the_slide_comes_first(
    tmp_path: Path, model: ModelBundle, posterior: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cytodiffusion.classification import slide_correction

    shift = np.array([0.0, 0, 3, 0, 0, 0])

    class Correction:
        validation = model.validation

        def corrected(self, logits: np.ndarray, *_: object) -> np.ndarray:
            return np.asarray(logits + shift)

    corrected = replace(model, slide_correction=Correction())
    found = decide(evidence(np.log(posterior)), model, BLOOD)
    result = slide_correction.adjust(found, corrected, BLOOD)
    assert result.adjusted
    wanted = with_prior(softmax(np.log(posterior) + shift), model, BLOOD)
    np.testing.assert_allclose(result.posterior, wanted)


def test_results_say_what_was_expected(model: ModelBundle) -> None:
    assert prior_record(model, ClassifySettings(prior="even")) == {"name": "even"}
    record = prior_record(model, BLOOD)
    assert record["name"] == "normal-blood"
    assert set(record["shares"]) == set(NAMES[NUCLEATED])
    assert sum(record["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert prior_sentence(ClassifySettings(prior="even"), 3) is None
    assert "normal blood; one cell has its class" in str(prior_sentence(BLOOD, 1))
    assert "no cell has" in str(prior_sentence(BLOOD, 0))
    own = ClassifySettings(prior_shares={"lymphocyte": 0.9})
    assert "as you said; 1,200 cells have" in str(prior_sentence(own, 1200))
