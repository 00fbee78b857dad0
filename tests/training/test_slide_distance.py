"""The distance of slides: what is learned in simulated laboratories, and its place in a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.slide_distance import weigh_distance
from cytodiffusion.metrics.scores import expected_calibration_error
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.slide_distance import SlideDistance
from cytodiffusion.model.testing import tiny_bundle, tiny_slide_correction
from cytodiffusion.training.augmentation.settings import AugmentSettings
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.slide_distance import (
    Slide,
    harsher,
    learn_fall,
    learn_tail,
    typical_scores,
)
from cytodiffusion.training.train import train

NAMES = ("common", "other", "rare")


def slide(shift: float, seed: int, n: int = 90) -> Slide:
    """Cells whose logits are as large as ever while classes are mistaken more, the farther."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = 1.5 * rng.standard_normal((n, 3)) * (1 + shift / 2)
    logits[np.arange(n), labels] += 4.0
    posterior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = 0.5 * (rng.standard_normal(n) + shift)
    result = Classification(
        class_names=NAMES,
        posterior=posterior,
        predicted=posterior.argmax(axis=1),
        confidence=posterior.max(axis=1),
        entropy=np.zeros(n),
        margin=np.zeros(n),
        prediction_set=posterior > 0.5,
        anomaly_score=scores,
        anomaly=scores > 1.0,
        trials=np.ones(n, np.int64),
        errors_by_level=np.zeros((n, 1, 3), np.float32),
        levels=np.array([1]),
        anomaly_threshold=1.0,
        logits=logits,
        anomaly_scores={"combined": scores},
    )
    return Slide(result, labels)


@pytest.fixture(scope="module")
def blank() -> SlideDistance:
    return typical_scores(slide(0.0, 99, 600).result, None)


@pytest.fixture(scope="module")
def slides() -> list[Slide]:
    return [slide(shift, seed) for seed, shift in enumerate([0.0, 1.0, 2.0, 3.0, 4.0] * 8)]


def test_confidences_fit_after_what_was_learned(blank: SlideDistance, slides: list[Slide]) -> None:
    kept = replace(learn_fall(blank, slides, NAMES, {}), tail=2.0)
    assert kept.spread == pytest.approx(0.5, rel=0.1)
    for shift in (2.0, 4.0):
        unseen = slide(shift, 1234, 900)
        weighed = weigh_distance(unseen.result, kept, 0.95)
        right = unseen.result.predicted == unseen.labels
        before = expected_calibration_error(unseen.result.confidence, right)
        after = expected_calibration_error(weighed.confidence, right)
        assert after < 0.1 < before
        rows = np.arange(len(right))
        assert weighed.prediction_set[rows, unseen.labels].mean() > 0.9


def test_what_is_taken_for_a_rare_class_is_doubted_more(
    blank: SlideDistance, slides: list[Slide]
) -> None:
    even = learn_fall(blank, slides, NAMES, {})
    kept = learn_fall(blank, slides, NAMES, {"rare": 0.05, "unheard of": 0.05})
    assert np.ptp(even.doubt) < 0.2
    assert kept.doubt[2] > max(kept.doubt[:2]) + 0.2


def test_the_tail_is_what_few_cells_of_far_slides_exceed(
    blank: SlideDistance, slides: list[Slide]
) -> None:
    kept = replace(blank, tail=learn_tail(blank, slides, 0.02))
    unseen = weigh_distance(slide(3.0, 77, 900).result, kept, 0.95)
    assert 0.01 < unseen.anomaly.mean() < 0.08
    assert learn_tail(blank, [slide(0.0, 5)], 0.02) > 0  # none is far: those that there are


def test_what_one_laboratory_of_the_training_shows_is_usual() -> None:
    home = slide(0.0, 1, 400).result
    scores = home.anomaly_score.copy()
    scores[:100] += 1.0
    home = replace(home, anomaly_score=scores)
    assert typical_scores(home, ["x"] * 100 + ["y"] * 300).usual > 0.5
    assert typical_scores(home, ["x"] * 10 + ["y"] * 390).usual < 0.1  # too few to tell


def test_harsher_varies_all_but_the_framing() -> None:
    look = AugmentSettings()
    twice = harsher(look, 2.0)
    assert twice.hue == 2 * look.hue
    assert twice.scale == look.scale
    assert twice.grey == 1.0
    assert twice.plain_share == 0.0
    assert harsher(look, 0.5).grey_share == look.grey_share
    assert harsher(look, 0.0).plain_share == 1.0
    AugmentSettings.model_validate(twice.model_dump())


def test_it_ends_beside_the_model_it_is_for(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data")
    names = ("red", "blue", "green")
    init = tiny_bundle(tmp_path / "model", names, slide_correction=tiny_slide_correction(3))
    settings = TrainSettings(
        data=data,
        output=tmp_path / "out",
        init=str(init),
        kind="slide-distance",
        pixel_size_um=PIXEL_SIZE_UM,
        laboratories=4,
        duplicates="allow",
        device="cpu",
    )
    model = load_bundle(train(settings), device="cpu")
    assert model.slide_distance is not None
    assert model.slide_correction is not None
    assert model.slide_distance.measured["slides"] == 4
    assert "Distance of a slide" in model.card
    with pytest.raises(ValueError, match="name the model that the distance of slides is for"):
        TrainSettings(data=data, output=tmp_path / "no", kind="slide-distance")
