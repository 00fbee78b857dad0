"""What travels with a bundle besides its weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.training.calibrate import blank_calibration, trial_variance
from cytodiffusion.training.class_statistics import embedding_spread


@pytest.fixture
def calibration() -> Calibration:
    return blank_calibration(3, 4, (60, 200))


def test_parts_make_it_whole_again(calibration: Calibration) -> None:
    numbers, tensors = calibration.to_parts()
    again = Calibration.from_parts(numbers, tensors, 3)
    assert again.levels == (60, 200)
    assert torch.equal(again.within_factor, calibration.within_factor)
    again.check(3, 4)


def test_missing_and_unknown_entries_are_told(calibration: Calibration) -> None:
    numbers, tensors = calibration.to_parts()
    without = {k: v for k, v in tensors.items() if k != "class_means"}
    with pytest.raises(ValueError, match="class_means"):
        Calibration.from_parts(numbers, without, 3)
    with pytest.raises(ValueError, match="surprise"):
        Calibration.from_parts({**numbers, "surprise": 1}, tensors, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"class_means": torch.zeros(2, 4)},
        {"total_factor": torch.zeros(3, 3)},
        {"levels": ()},
        {"levels": (1000,)},
        {"prior_variance": -1.0},
        {"prior_weight": 0.0},
        {"validation": ValidationRecord(temperature=0.0)},
        {"validation": ValidationRecord(temperature=float("nan"))},
        {"validation": ValidationRecord(temperature=float("inf"))},
        {"validation": ValidationRecord(torch.zeros(0))},
        {"validation": ValidationRecord(torch.zeros(2, 2))},
        {"validation": ValidationRecord(torch.tensor([float("nan")]))},
        {"validation": ValidationRecord(classes=torch.tensor([3]))},
        {"validation": ValidationRecord(classes=torch.tensor([0, 1]))},
        {"validation": ValidationRecord(confidence=torch.ones(1, dtype=torch.float64))},
        {"validation": ValidationRecord(correct=torch.ones(1))},
        {"anomaly_threshold": float("nan")},
    ],
)
def test_what_makes_no_sense_is_refused(calibration: Calibration, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"have|has|must|there|number"):
        replace(calibration, **change).check(3, 4)


def test_far_cells_score_higher_than_near_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[4.0, 0, 0, 0], [0, 4.0, 0, 0], [-4.0, -4.0, 0, 0]])
    labels = torch.arange(3).repeat_interleave(80)
    embedding = centres[labels] + 0.3 * torch.randn(240, 4, generator=generator)
    spread = embedding_spread(embedding, labels)
    calibration = replace(blank_calibration(3, 4, (60,)), **spread)
    calibration.check(3, 4)
    torch.testing.assert_close(spread["class_means"], centres, atol=0.2, rtol=0)
    known = calibration.anomaly_score(embedding)
    strange = calibration.anomaly_score(torch.tensor([[0.0, 0, 4, 0], [2.0, 2, 0, 3]]))
    assert strange.min() > np.quantile(known, 0.99)
    assert len(calibration.anomaly_score(torch.zeros(0, 4))) == 0


def test_the_variance_of_trials_is_found_even_from_one_cell() -> None:
    class Seen:
        all_logits = np.array([[[0.0, 1.0], [0.0, 3.0]]], np.float32)

    assert trial_variance(Seen(), np.array([1])) == pytest.approx(2.0, abs=1e-4)  # type: ignore[arg-type]
