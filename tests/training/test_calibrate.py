"""Everything a calibration promises is measured on validation cells, and holds on fresh ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import PIXEL_SIZE_UM

from cytodiffusion.classification.classifier import Evidence, classify
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.class_statistics import SCORES
from cytodiffusion.training import calibrate as module
from cytodiffusion.training.augmentation.outlines import Outlines
from cytodiffusion.training.augmentation.settings import AugmentSettings
from cytodiffusion.training.calibrate import (
    KEPT_LEVELS,
    Views,
    best_levels,
    blank_calibration,
    calibrate,
    plain_views,
    some_of_each,
    validation_record,
    varied_views,
)
from cytodiffusion.training.class_statistics import NEIGHBOURS
from cytodiffusion.training.data import CellSet, class_names, find_records, load_cells


@pytest.fixture(scope="module")
def model(disc_model: Path) -> ModelBundle:
    return load_bundle(disc_model, device="cpu")


@pytest.fixture(scope="module")
def sets(disc_model: Path, model: ModelBundle) -> dict[str, CellSet]:
    records = find_records(disc_model.parent / "data")
    names = class_names(records)
    return {
        split: load_cells(
            [r for r in records if r.split == split],
            names,
            size=model.input_size,
            window_um=model.window_um,
            pixel_size_um=PIXEL_SIZE_UM,
        )[0]
        for split in ("train", "val", "test")
    }


def evidence(logits: np.ndarray) -> Evidence:
    n, k = logits.shape
    return Evidence(
        logits,
        np.ones(n, np.int64),
        np.zeros((n, 1, k), np.float32),
        np.zeros((n, 4), np.float32),
        logits[:, None].astype(np.float32),
    )


def test_validation_cells_leave_a_record(model: ModelBundle, sets: dict[str, CellSet]) -> None:
    calibration = model.calibration
    kept = calibration.validation
    assert np.bincount(kept.classes.numpy()).tolist() == [24, 24, 24]
    assert len(kept.confidence) == len(kept.correct) == 72
    assert kept.correct.float().mean() > 0.9
    assert set(kept.measured) == {
        "asked",
        "measured",
        "size",
        "by_class_measured",
        "by_class_size",
        "alarms_in_varied_stains",
    }
    assert kept.measured["alarms_in_varied_stains"] > calibration.false_alarms
    assert calibration.class_statistics is not None
    # 40 training cells a class are fewer than may be kept
    assert np.bincount(calibration.class_statistics.neighbour_classes.numpy()).tolist() == [
        40,
        40,
        40,
    ]
    assert NEIGHBOURS > 40
    assert calibration.class_statistics.thresholds.shape == (3, len(SCORES))


def test_it_is_the_same_again(model: ModelBundle, sets: dict[str, CellSet]) -> None:
    def once() -> tuple[dict[str, object], dict[str, torch.Tensor]]:
        blank = blank_calibration(3, model.calibration.embedding_mean.numel(), (60,))
        fresh = replace(model, calibration=blank)
        few = {s: replace(sets[s], **thinned(sets[s])) for s in ("train", "val")}
        return calibrate(
            fresh,
            few["train"],
            few["val"],
            ClassifySettings(trials=4),
            0.05,
            AugmentSettings(),
            lambda *_: None,
        ).to_parts()

    (numbers, tensors), (numbers_again, tensors_again) = once(), once()
    assert numbers == numbers_again
    for name, value in tensors.items():
        torch.testing.assert_close(tensors_again[name], value, msg=name)


def thinned(cells: CellSet) -> dict[str, torch.Tensor]:
    """Every other cell; the first ones would be of one class."""
    names = ("pixels", "labels", "backgrounds")
    return {name: getattr(cells, name)[::2] for name in names}


def test_promises_hold_on_fresh_cells(model: ModelBundle, sets: dict[str, CellSet]) -> None:
    cells = sets["test"]
    settings = ClassifySettings(coverage=0.9, by_class=True, error_rate=0.1)
    result = classify(
        cells.windows(model.input_size), model, settings, background=cells.backgrounds.numpy()
    )
    labels = cells.labels.numpy()
    covered = result.prediction_set[np.arange(len(labels)), labels]
    assert covered.mean() > 0.8
    accepted = ~result.review
    assert accepted.mean() > 0.5
    assert (result.predicted != labels)[accepted].mean() <= 0.1
    with pytest.raises(InputError, match=r"discs cannot promise .* needs at least 2,995"):
        classify(cells.windows(model.input_size), model, ClassifySettings(error_rate=0.001))


def test_scores_classes_and_answers_belong_to_the_same_cells() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    logits = rng.normal(0, 2, (200, 3))
    found = validation_record(logits, labels, 0.9)
    posterior = softmax(logits / found.temperature)
    strange = 1 - posterior[np.arange(200), labels]
    scores, classes = found.scores.numpy(), found.classes.numpy()
    assert (np.diff(scores) >= 0).all()
    for c in range(3):
        np.testing.assert_allclose(scores[classes == c], np.sort(strange[labels == c]), rtol=1e-6)
    np.testing.assert_array_equal(found.confidence.numpy(), posterior.max(axis=1))
    np.testing.assert_array_equal(found.correct.numpy(), logits.argmax(1) == labels)
    found.check(3)


def test_the_most_telling_levels_come_first(
    model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    signal = np.array([0.1, 0.2, 3.0, 0.1, 2.0, 0.1, 1.0, 0.0, 0.5, 0.0])
    logits = rng.normal(size=(90, 10, 3))
    logits[np.arange(90), :, labels] += signal

    def made_up(*_: object, **__: object) -> Evidence:
        return replace(evidence(logits.mean(axis=1)), all_logits=logits.astype(np.float32))

    monkeypatch.setattr(module, "gather_evidence", made_up)
    views = Views(np.zeros((90, 1, 1, 3), np.uint8), np.zeros((90, 3), np.float32), labels)
    chosen = best_levels(replace(model), views, ClassifySettings(), lambda *_: None)
    assert len(chosen) == KEPT_LEVELS
    assert chosen == tuple(module.CANDIDATE_LEVELS[i] for i in (2, 4, 6, 8))


def test_views_leave_out_cells_without_a_label(sets: dict[str, CellSet]) -> None:
    val = sets["val"]
    some = replace(val, labels=torch.where(torch.arange(len(val.labels)) < 5, -1, val.labels))
    assert len(plain_views(some, 32).labels) == len(val.labels) - 5
    varied = varied_views(some, 32, 0, AugmentSettings())
    assert (varied.labels >= 0).all()
    assert varied.windows.shape == (len(val.labels) - 5, 32, 32, 3)
    both = plain_views(some, 32) + varied
    assert len(both.windows) == len(both.backgrounds) == len(both.labels) == 2 * len(varied.labels)


def test_views_vary_surroundings_where_outlines_are_known(sets: dict[str, CellSet]) -> None:
    val = sets["val"]
    some = replace(val, labels=torch.where(torch.arange(len(val.labels)) < 5, -1, val.labels))
    outlines = Outlines(some.pixels, 20 / 32)
    faded = AugmentSettings(plain_share=0, alone_share=1.0, surroundings=0.0, dried_share=0.0)
    without = varied_views(some, 32, 0, faded)
    alone = varied_views(some, 32, 0, faded, outlines)
    assert set(outlines._found) == set(range(5, len(val.labels)))
    assert (alone.windows.astype(int) - without.windows).max() > 20  # what was beside has paled
    assert np.array_equal(alone.labels, without.labels)


def test_some_of_each_class() -> None:
    labels = torch.tensor([0] * 9 + [1] * 3 + [-1] * 4)
    cells = CellSet(
        torch.arange(16, dtype=torch.uint8)[:, None, None, None].expand(16, 3, 8, 8),
        labels,
        torch.zeros(16, 3),
        [str(i) for i in range(16)],
    )
    some = some_of_each(cells, 5, seed=1)
    assert np.bincount(some.labels).tolist() == [5, 3]
    assert [str(int(p[0, 0, 0])) for p in some.pixels] == some.paths
    assert some_of_each(cells, 5, seed=1).paths == some.paths
    assert some_of_each(cells, 5, seed=2).paths != some.paths
