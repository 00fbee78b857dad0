"""What a bundle knows about typical cells: written, read back, checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cytodiffusion.errors import BundleError
from cytodiffusion.model import load_bundle
from cytodiffusion.model.bundle_files import CHECKSUMS
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.class_statistics import (
    COMBINED,
    PREFIX,
    SCORES,
    ClassStatistics,
)
from cytodiffusion.model.files import file_checksum
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.training.calibrate import blank_calibration

K, LEVELS, D = 3, 2, 4


@pytest.fixture
def typical() -> ClassStatistics:
    generator = torch.Generator().manual_seed(0)
    return ClassStatistics(
        lead_means=torch.randn(K, K, generator=generator),
        lead_factors=torch.eye(K).repeat(K, 1, 1),
        shape_means=torch.randn(K, K, generator=generator),
        shape_factors=torch.eye(K).repeat(K, 1, 1),
        level_means=torch.zeros(LEVELS, K),
        level_spreads=torch.ones(LEVELS, K),
        neighbours=torch.randn(7, D, generator=generator).half(),
        neighbour_classes=torch.arange(7) % K,
        centres=torch.zeros(2, len(COMBINED)),
        scales=torch.ones(2, len(COMBINED)),
        thresholds=torch.arange(2.0 * len(SCORES)).reshape(2, -1),
    )


def test_tensors_make_it_whole_again(typical: ClassStatistics) -> None:
    tensors = typical.to_tensors()
    assert all(name.startswith(PREFIX) for name in tensors)
    again = ClassStatistics.from_tensors({**tensors, "another": torch.zeros(1)})
    assert again is not None
    again.check(K, LEVELS, D)
    for name, value in again.to_tensors().items():
        assert torch.equal(value, tensors[name]), name
    assert ClassStatistics.from_tensors({"another": torch.zeros(1)}) is None


def test_a_calibration_carries_it(typical: ClassStatistics) -> None:
    calibration = replace(blank_calibration(K, D, (60, 200)), class_statistics=typical)
    calibration.check(K, D)
    again = Calibration.from_parts(*calibration.to_parts(), K)
    again.check(K, D)
    assert again.class_statistics is not None
    assert torch.equal(again.class_statistics.neighbours, typical.neighbours)


def test_budgets_beyond_the_last_are_judged_by_it(typical: ClassStatistics) -> None:
    assert typical.threshold(SCORES[1], 1) == 1.0
    assert typical.threshold(SCORES[1], 2) == typical.threshold(SCORES[1], 12) == 1.0 + len(SCORES)


@pytest.mark.parametrize("name", ["thresholds", "surprise"])
def test_missing_and_unknown_entries_are_told(typical: ClassStatistics, name: str) -> None:
    tensors = typical.to_tensors()
    if tensors.pop(PREFIX + name, None) is None:
        tensors[PREFIX + name] = torch.zeros(1)
    with pytest.raises(ValueError, match=f"typical.{name}"):
        ClassStatistics.from_tensors(tensors)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lead_means": torch.zeros(2, 2)}, "has shape"),
        ({"shape_factors": torch.zeros(K, K)}, "has shape"),
        ({"neighbours": torch.zeros(7, 5)}, "has shape"),
        ({"centres": torch.zeros(3, len(COMBINED))}, "has shape"),
        ({"level_means": torch.full((LEVELS, K), float("nan"))}, "not numbers"),
        ({"neighbour_classes": torch.full((7,), K)}, "classes that are not there"),
        ({"neighbour_classes": torch.full((7,), -1)}, "classes that are not there"),
        ({"scales": torch.zeros(2, len(COMBINED))}, "must be positive"),
        ({"level_spreads": torch.zeros(LEVELS, K)}, "must be positive"),
        (
            {"neighbours": torch.zeros(0, D), "neighbour_classes": torch.zeros(0).long()},
            "must not be empty",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    typical: ClassStatistics, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        replace(typical, **change).check(K, LEVELS, D)


def test_a_bundle_with_a_part_of_it_is_refused(tmp_path: Path, typical: ClassStatistics) -> None:
    import json

    from safetensors.torch import load_file, save_file

    folder = tiny_bundle(tmp_path / "tiny", ("a", "b", "c"))
    file = folder / "calibration.safetensors"
    save_file({**load_file(file), PREFIX + "scales": typical.scales}, file)
    sums = json.loads((folder / CHECKSUMS).read_text())
    sums[file.name] = file_checksum(file)
    (folder / CHECKSUMS).write_text(json.dumps(sums))
    with pytest.raises(BundleError, match=r"calibration of the bundle .* does not fit: .*typical"):
        load_bundle(folder, device="cpu")
