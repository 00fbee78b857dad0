"""From evidence to posterior, sets, anomalies and what to review, by either kind of bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cytodiffusion.classification.classifier import Evidence, classify
from cytodiffusion.classification.conformal import conformal_sets
from cytodiffusion.classification.decision import accept_above, decide, promised_rate
from cytodiffusion.classification.result import join
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.loading import default_bundle_path
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.model.validation_record import ValidationRecord

NAMES = ("a", "b", "c")


@pytest.fixture
def old(tmp_path: Path) -> ModelBundle:
    """A bundle as they were before errors and classes of validation cells were kept."""
    return load_bundle(tiny_bundle(tmp_path / "tiny", NAMES), device="cpu")


@pytest.fixture
def model(old: ModelBundle) -> ModelBundle:
    confidence = torch.linspace(0.34, 1, 600, dtype=torch.float64)
    old.calibration = replace(
        old.calibration,
        validation=ValidationRecord(
            scores=torch.linspace(0, 0.9, 90),
            classes=torch.arange(90) // 30,
            confidence=confidence,
            correct=confidence > 0.55,
            temperature=2.0,
        ),
    )
    return old


def evidence(n: int = 40, trials: int = 3) -> Evidence:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (n, trials, 3))
    return Evidence(
        logits=logits.mean(axis=1),
        trials=np.full(n, trials),
        errors_by_level=np.zeros((n, 2, 3), np.float32),
        embedding=rng.normal(size=(n, 16)).astype(np.float32),
        all_logits=logits.astype(np.float32),
    )


def crops(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def test_posterior_and_sets_follow_the_calibration(model: ModelBundle) -> None:
    found, validation = evidence(), model.validation
    result = decide(found, model, ClassifySettings(coverage=0.8, by_class=False))
    posterior = softmax(found.logits / 2.0)
    np.testing.assert_array_equal(result.posterior, posterior)
    scores = validation.scores.double().numpy()
    np.testing.assert_array_equal(result.prediction_set, conformal_sets(posterior, scores, 0.8))
    by_class = decide(found, model, ClassifySettings(coverage=0.8, by_class=True)).prediction_set
    classes = validation.classes.numpy()
    np.testing.assert_array_equal(by_class, conformal_sets(posterior, scores, 0.8, classes))
    assert (by_class != result.prediction_set).any()


def test_sets_are_by_class_where_validation_cells_suffice(model: ModelBundle) -> None:
    found, fewest = evidence(), int(np.bincount(model.validation.classes.numpy()).min())
    ample = 1 - 2.01 / fewest
    for coverage, by_class in ((ample - 0.1, True), (1 - 0.5 / fewest, False)):
        default = decide(found, model, ClassifySettings(coverage=coverage)).prediction_set
        asked = decide(found, model, ClassifySettings(coverage=coverage, by_class=by_class))
        np.testing.assert_array_equal(default, asked.prediction_set)
    missing = model.validation.classes.where(model.validation.classes != 0, torch.tensor(1))
    validation = replace(model.validation, classes=missing)
    model = replace(model, calibration=replace(model.calibration, validation=validation))
    default = decide(found, model, ClassifySettings(coverage=ample - 0.1)).prediction_set
    together = decide(found, model, ClassifySettings(coverage=ample - 0.1, by_class=False))
    np.testing.assert_array_equal(default, together.prediction_set)


def test_cells_below_the_threshold_are_for_review(model: ModelBundle) -> None:
    found = evidence()
    result = decide(found, model, ClassifySettings(error_rate=0.05))
    assert result.accept_above is not None
    assert 0.5 < result.accept_above < 0.6
    np.testing.assert_array_equal(result.review, result.confidence <= result.accept_above)
    assert 0 < result.review.sum() < len(result)
    np.testing.assert_array_equal(result.to_frame()["review"], result.review)
    lenient = decide(found, model, ClassifySettings(error_rate=0.4))
    assert lenient.review.sum() < result.review.sum()


def test_nothing_is_for_review_with_no_error_rate(model: ModelBundle) -> None:
    result = decide(evidence(), model, ClassifySettings(error_rate=None))
    assert result.accept_above is None
    assert not result.review.any()
    assert promised_rate(model, ClassifySettings(error_rate=None)) is None


def test_an_error_rate_is_asked_for_by_default(model: ModelBundle) -> None:
    found = evidence()
    usual = decide(found, model, ClassifySettings())
    assert usual.accept_above is not None
    assert (
        usual.accept_above == decide(found, model, ClassifySettings(error_rate=0.02)).accept_above
    )
    assert promised_rate(model, ClassifySettings()) == 0.02


def test_the_default_is_not_insisted_on(old: ModelBundle) -> None:
    result = classify(crops(2), old)
    assert result.accept_above is None
    assert promised_rate(old, ClassifySettings()) is None
    changed = ClassifySettings().model_copy(update={"batch_size": 7})
    assert promised_rate(old, changed) is None
    with pytest.raises(InputError, match="cannot promise"):
        promised_rate(old, ClassifySettings(error_rate=0.02))


def named(model: ModelBundle, *names: str) -> ModelBundle:
    classes = tuple(replace(c, name=n) for c, n in zip(model.classes, names, strict=True))
    return replace(model, classes=classes)


def diluted(true: bool = True) -> ValidationRecord:
    """5,000 red cells that are all right, and 1,000 white ones of which some unsure are wrong."""
    sure = np.concatenate([np.linspace(0.5, 1, 1000), np.linspace(0.6, 1, 5000)])
    classes = np.concatenate([np.arange(1000) % 2, np.full(5000, 2)])
    number = np.arange(6000)
    right = (number >= 500) | (number % 10 > 0)
    called = np.where(right, classes, 1 - classes % 2)
    own = np.where(right, 1 - sure, 1 - sure / 3)
    order = np.argsort(own, kind="stable")
    kept = {"true": torch.from_numpy(classes), "called": torch.from_numpy(called)} if true else {}
    return ValidationRecord(
        scores=torch.from_numpy(own[order]).float(),
        classes=torch.from_numpy(classes[order]),
        confidence=torch.from_numpy(sure),
        correct=torch.from_numpy(right),
        **kept,
    )


@pytest.mark.parametrize("true", [True, False])
def test_white_cells_keep_the_promise_by_themselves(old: ModelBundle, true: bool) -> None:
    kept, settings = diluted(true), ClassifySettings(error_rate=0.02)
    confidence, right = kept.confidence.numpy(), kept.correct.numpy()
    alike = accept_above(kept, settings, named(old, "a", "b", "c"))
    apart = accept_above(kept, settings, named(old, "neutrophil", "monocyte", "red cell"))
    assert alike is not None
    assert apart is not None
    white = np.arange(6000) < 1000
    assert (~right[white & (confidence > alike)]).mean() > 0.04  # what red cells had hidden
    assert apart > alike
    assert (~right[white & (confidence > apart)]).mean() < 0.02


def test_what_white_cells_do_not_allow_is_refused(old: ModelBundle) -> None:
    kept = diluted()
    few = (np.arange(6000) < 100) | (np.arange(6000) >= 1000)
    part = {name: getattr(kept, name)[few] for name in ("confidence", "true", "called")}
    kept = replace(kept, correct=torch.ones(int(few.sum()), dtype=torch.bool), **part)
    model = named(old, "neutrophil", "monocyte", "red cell")
    with pytest.raises(InputError, match=r"0\.02 among white cells: .* 149 white .* on 100\."):
        accept_above(kept, ClassifySettings(error_rate=0.02), model)
    assert accept_above(kept, ClassifySettings(), model) is None


def test_classes_of_the_right_cells_are_found_by_their_scores() -> None:
    wanted = np.array([True, False, False])
    known, older = diluted().among(wanted), diluted(False).among(wanted)
    assert known is not None
    assert older is not None
    right = diluted().correct.numpy()
    np.testing.assert_array_equal(known[right], older[right])
    assert older[~right].all()
    margins = replace(diluted(False), confidence=diluted().confidence / 2)
    assert margins.among(wanted) is None
    assert ValidationRecord().among(wanted) is None


def test_parts_and_joins_keep_the_scores(model: ModelBundle) -> None:
    result = decide(evidence(), model, ClassifySettings(error_rate=0.05))
    again = join([result[:15], result[15:]])
    assert again.accept_above == result.accept_above
    assert set(again.anomaly_scores) == set(result.anomaly_scores) > {"zeta"}
    for name, score in result.anomaly_scores.items():
        np.testing.assert_array_equal(again.anomaly_scores[name], score)
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())


def test_scores_come_from_the_first_trials_only(model: ModelBundle) -> None:
    found = evidence(trials=6)
    few = replace(found, all_logits=found.all_logits[:, :2])
    settings = ClassifySettings(min_trials=2)
    many = decide(found, model, settings).anomaly_scores
    for name, score in decide(few, model, settings).anomaly_scores.items():
        np.testing.assert_array_equal(score, many[name])


def test_an_old_bundle_says_what_it_cannot_promise(old: ModelBundle) -> None:
    assert len(classify(crops(2), old)) == 2
    with pytest.raises(InputError, match="tiny was calibrated without a coverage of every class"):
        classify(crops(2), old, ClassifySettings(by_class=True))
    with pytest.raises(InputError, match=r"tiny cannot promise an error rate of 0\.02"):
        classify(crops(2), old, ClassifySettings(error_rate=0.02))


@pytest.mark.parametrize("change", [{"by_class": True}, {"error_rate": 0.02}])
def test_it_is_said_before_the_work(
    old: ModelBundle, change: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the trials have begun")

    monkeypatch.setattr("cytodiffusion.classification.classifier.gather_evidence", work)
    with pytest.raises(InputError):
        classify(crops(2), old, ClassifySettings(**change))


def test_the_threshold_is_asked_of_validation_cells_only(model: ModelBundle) -> None:
    asked = accept_above(model.validation, ClassifySettings(error_rate=0.05), model)
    assert asked == decide(evidence(3), model, ClassifySettings(error_rate=0.05)).accept_above


def test_the_bundled_model_loads_and_says_so_where_it_lacks_a_record() -> None:
    bundle = load_bundle(default_bundle_path(), device="cpu")
    validation = bundle.validation
    if len(validation.classes):
        assert accept_above(validation, ClassifySettings(error_rate=0.05), bundle) is not None
        return
    with pytest.raises(InputError, match="train or calibrate it again"):
        accept_above(validation, ClassifySettings(error_rate=0.05), bundle)
