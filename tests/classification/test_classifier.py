"""The classifier: repeatable, whatever the batch; bounded; and right on an easy problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toys import COLORS, PIXEL_SIZE_UM, disc

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.classification import classifier as engine
from cytodiffusion.classification.classifier import (
    Classification,
    ClassifySettings,
    classify,
    gather_evidence,
    in_batches,
)
from cytodiffusion.errors import Cancelled, InputError, OutOfMemoryError
from cytodiffusion.metrics.scores import summarise
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.testing import tiny_bundle

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tiny_bundle(tmp_path_factory.mktemp("b") / "tiny", NAMES)
    return load_bundle(folder, device="cpu")


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare in float32 wherever the tests run."""
    monkeypatch.setattr(engine, "half_precision_pays", lambda device: False)


def crops(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.integers(60, 250, (n, 8, 8, 3))
    return low.repeat(4, 1).repeat(4, 2).astype(np.uint8)


def same(a: Classification, b: Classification) -> None:
    np.testing.assert_array_equal(a.trials, b.trials)
    np.testing.assert_array_equal(a.predicted, b.predicted)
    np.testing.assert_array_equal(a.prediction_set, b.prediction_set)
    for name in ("posterior", "entropy", "margin", "anomaly_score", "errors_by_level"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_does_not_matter(model: ModelBundle, batch_size: int) -> None:
    pixels = crops(23)
    whole = classify(pixels, model, ClassifySettings(seed=3))
    same(classify(pixels, model, ClassifySettings(seed=3, batch_size=batch_size)), whole)


def test_the_order_of_the_cells_does_not_matter(model: ModelBundle) -> None:
    pixels = crops(20)
    order = np.random.default_rng(0).permutation(20)
    same(classify(pixels[order], model), classify(pixels, model)[order])


def test_small_batches_of_the_device_do_not_matter(
    model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = crops(20)
    whole = classify(pixels, model)
    monkeypatch.setitem(engine.MICRO_BATCH, "cpu", 3)
    same(classify(pixels, model), whole)


def test_trials_run_ahead_of_need_do_not_matter(
    model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = crops(20)
    whole = classify(pixels, model)
    monkeypatch.setattr(engine._Runner, "trials_at_once", lambda self, live: 4)
    same(classify(pixels, model), whole)


def test_seeds_repeat_and_differ(model: ModelBundle) -> None:
    pixels = crops(4)
    one = classify(pixels, model, ClassifySettings(seed=1))
    np.testing.assert_array_equal(
        one.posterior, classify(pixels, model, ClassifySettings(seed=1)).posterior
    )
    assert not np.allclose(
        one.logits, classify(pixels, model, ClassifySettings(seed=2)).logits, atol=1e-6
    )


def test_a_result_is_consistent(model: ModelBundle) -> None:
    result = classify(crops(30), model)
    assert len(result) == 30
    np.testing.assert_allclose(result.posterior.sum(1), 1)
    np.testing.assert_array_equal(result.predicted, result.posterior.argmax(1))
    np.testing.assert_array_equal(result.confidence, result.posterior.max(1))
    assert result.prediction_set[np.arange(30), result.predicted].all()
    assert result.errors_by_level.shape == (30, 2, 4)
    assert (result.errors_by_level[:, 0] > 0).all()
    assert result.levels.tolist() == [60, 200]
    np.testing.assert_array_equal(result.anomaly, result.anomaly_score > result.anomaly_threshold)
    frame = result.to_frame()
    assert len(frame) == 30
    assert list(frame.columns)[-4:] == ["p_a", "p_b", "p_c", "p_d"]
    half = result[result.predicted == 0]
    assert len(half) == (result.predicted == 0).sum()


def test_no_cells_make_an_empty_result(model: ModelBundle) -> None:
    result = classify(crops(0), model)
    assert len(result) == 0
    assert result.posterior.shape == (0, 4)
    assert list(result.to_frame().columns)[:2] == ["predicted", "confidence"]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 32, 32), np.uint8),
        np.zeros((2, 32, 31, 3), np.uint8),
        np.zeros((2, 3, 32, 32), np.uint8),
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
    ],
)
def test_wrong_crops_are_told(model: ModelBundle, wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\(N, 32, 32, 3\) and type uint8"):
        classify(wrong, model)


@pytest.mark.parametrize(
    "wrong", [np.zeros(4), np.zeros((3, 3)), np.zeros((1, 2, 3)), np.full(3, np.nan)]
)
def test_a_wrong_background_is_told(model: ModelBundle, wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="background"):
        classify(crops(2), model, background=wrong)


def test_one_background_is_that_of_every_cell(model: ModelBundle) -> None:
    colour = np.array([230.0, 220.0, 240.0])
    same(
        classify(crops(3), model, background=colour),
        classify(crops(3), model, background=np.tile(colour, (3, 1))),
    )


@pytest.mark.parametrize(
    "values",
    [{"trials": 0}, {"min_trials": 0}, {"alpha": 0.0}, {"batch_size": 0}, {"coverage": 1.0},
     {"seed": -1}],
)  # fmt: skip
def test_absurd_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ClassifySettings(**values)


def test_budget_and_minimum_are_kept(model: ModelBundle) -> None:
    pixels = crops(40)
    result = classify(pixels, model, ClassifySettings(trials=9, min_trials=4))
    assert result.trials.min() >= 4
    assert result.trials.max() <= 9
    assert len(np.unique(result.trials)) > 1  # some end early, some do not
    one = classify(pixels, model, ClassifySettings(trials=1, min_trials=1))
    assert (one.trials == 1).all()
    assert np.isnan(one.errors_by_level[:, 1]).all()
    short = classify(pixels, model, ClassifySettings(trials=2, min_trials=3))
    assert (short.trials == 2).all()
    full = gather_evidence(pixels, model, ClassifySettings(trials=5), stop_early=False)
    assert (full.trials == 5).all()
    assert np.isfinite(full.all_logits).all()


def test_trials_after_the_end_change_nothing(model: ModelBundle) -> None:
    pixels = crops(30)
    short = classify(pixels, model, ClassifySettings(trials=6))
    long = classify(pixels, model, ClassifySettings(trials=12))
    ended = short.trials < 6
    assert ended.any()
    np.testing.assert_allclose(short.logits[ended], long.logits[ended], rtol=1e-4)


@pytest.fixture
def quick_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "free_memory", lambda: None)


class Full:
    """Stands for a device that holds `room` crops."""

    def __init__(self, network: UNetDenoiser, room: int, error: type[Exception]):
        self.network, self.room, self.error = network, room, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def class_errors(self, z: torch.Tensor, *rest: Any) -> Any:
        if len(z) > self.room:
            raise self.error("MPS backend out of memory")
        return self.network.class_errors(z, *rest)


@pytest.mark.usefixtures("quick_collection")
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_full_memory_halves_the_batch(
    model: ModelBundle, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    pixels = crops(20)
    whole = classify(pixels, model)
    monkeypatch.setattr(model, "denoiser", Full(model.denoiser, 5, error))
    same(classify(pixels, model), whole)


@pytest.mark.usefixtures("quick_collection")
def test_no_room_for_one_cell_is_told(model: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "denoiser", Full(model.denoiser, 0, torch.OutOfMemoryError))
    with pytest.raises(OutOfMemoryError, match="one cell"):
        classify(crops(3), model)


def test_other_errors_are_not_taken_for_full_memory(
    model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("sizes differ")

    monkeypatch.setattr(model.denoiser, "class_errors", fail)
    with pytest.raises(RuntimeError, match="sizes differ"):
        classify(crops(3), model)


def test_progress_rises_to_one_and_cancels(model: ModelBundle) -> None:
    seen: list[float] = []
    settings = ClassifySettings(batch_size=8)
    classify(crops(20), model, settings, progress=lambda f, m: seen.append(f))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(seen) > 6

    def cancel(share: float, message: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        classify(crops(3), model, progress=cancel)


def test_batches_begin_small() -> None:
    assert list(in_batches(0, 3, 5)) == []
    parts = list(in_batches(14, 3, 5))
    assert [(p.start, p.stop) for p in parts] == [(0, 3), (3, 8), (8, 13), (13, 14)]


def test_an_easy_problem_is_learned(disc_model: Path) -> None:
    model = load_bundle(disc_model, device="cpu")
    rng = np.random.default_rng(99)
    pixels, labels = [], []
    for _ in range(30):
        for number, colour in enumerate(COLORS.values()):
            image = disc(colour, rng)
            pixels.append(centre_crop(image, PIXEL_SIZE_UM, model.input_size, model.window_um))
            labels.append(number)
    result = classify(np.stack(pixels), model)
    figures = summarise(result, np.array(labels))
    assert figures["balanced_accuracy"] > 0.9
    assert figures["coverage"] > 0.85
    assert figures["anomaly_rate"] < 0.2
    assert result.trials.mean() < 12
