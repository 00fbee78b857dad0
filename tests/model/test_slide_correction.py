"""The files of a slide correction, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cytodiffusion.errors import BundleError
from cytodiffusion.model.bundle_files import CHECKSUMS
from cytodiffusion.model.files import file_checksum
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.slide_correction import CONFIG, WEIGHTS
from cytodiffusion.model.testing import tiny_bundle, tiny_slide_correction

NAMES = ("red", "blue", "green")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "tiny", NAMES, slide_correction=tiny_slide_correction(3))


def change(folder: Path, config: dict[str, Any] | None = None, **tensors: Any) -> None:
    """Write other entries, None for none, with checksums that fit."""
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(content | (config or {})))
    found = load_file(folder / WEIGHTS) | tensors
    save_file({k: v for k, v in found.items() if v is not None}, folder / WEIGHTS)
    sums = json.loads((folder / CHECKSUMS).read_text())
    sums |= {name: file_checksum(folder / name) for name in (CONFIG, WEIGHTS)}
    (folder / CHECKSUMS).write_text(json.dumps(sums))


def test_a_bundle_without_one_has_none(tmp_path: Path) -> None:
    assert load_bundle(tiny_bundle(tmp_path / "plain"), device="cpu").slide_correction is None


def test_nothing_is_corrected_before_something_is_learned() -> None:
    from cytodiffusion.model.slide_correction import SlideCorrectionNetwork

    network = SlideCorrectionNetwork(3, 16, features=4).eval()
    found = network(torch.randn(2, 5, 16), torch.randn(2, 5, 3), torch.full((2, 5), 0.2))
    assert (found == 0).all()


def test_cells_without_weight_do_not_count() -> None:
    network = tiny_slide_correction(3).network
    chance = torch.Generator().manual_seed(1)
    embedding = torch.randn(1, 8, 16, generator=chance)
    logits = torch.randn(1, 8, 3, generator=chance)
    weights = torch.tensor([[0.25] * 4 + [0.0] * 4])
    with torch.no_grad():
        found = network(embedding, logits, weights)[:, :4]
        alone = network(embedding[:, :4], logits[:, :4], weights[:, :4])
    torch.testing.assert_close(found, alone)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_an_altered_file_is_named(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(BundleError, match=f"{name}.*checksum".replace(".", r"\.", 1)):
        load_bundle(folder, device="cpu")


@pytest.mark.parametrize(
    ("config", "tensors", "said"),
    [
        ({"temperature": 0}, {}, "temperature must be positive"),
        ({"temperature": float("nan")}, {}, "temperature must be positive"),
        ({"temperature": 1e-320}, {}, "of a usual size"),
        ({"network": {"layers": 3}}, {}, "describes no slide correction"),
        ({"measured": None}, {}, "describes no slide correction"),
        ({}, {"record.conformal_scores": None}, "missing"),
        ({}, {"record.conformal_scores": torch.zeros(3)}, "not one class a score"),
        ({}, {"record.conformal_scores": torch.full((50,), torch.nan)}, "not numbers"),
        ({}, {"record.conformal_classes": torch.full((50,), 3)}, "classes that are not there"),
        ({}, {"record.conformal_classes": torch.zeros(50)}, "of another kind"),
        ({}, {"record.conformal_scores": torch.zeros(50, 2)}, "of another kind"),
        ({}, {"record.validation_correct": torch.zeros(50)}, "of another kind"),
        ({}, {"mean": None}, "do not fit"),
        ({}, {"mean": torch.full((16,), torch.inf)}, "not numbers"),
    ],
)
def test_what_does_not_fit_is_refused(
    folder: Path, config: dict[str, Any], tensors: dict[str, Any], said: str
) -> None:
    change(folder, config, **tensors)
    with pytest.raises(BundleError, match=said):
        load_bundle(folder, device="cpu")


def test_an_ensemble_of_none_is_refused(folder: Path) -> None:
    network = json.loads((folder / CONFIG).read_text())["network"]
    weights = {k: None for k in load_file(folder / WEIGHTS) if k.startswith("ensemble.")}
    change(folder, {"network": network | {"members": 0}}, **weights)
    with pytest.raises(BundleError, match="it has no networks"):
        load_bundle(folder, device="cpu")


def test_one_of_the_two_files_is_not_enough(folder: Path) -> None:
    sums = json.loads((folder / CHECKSUMS).read_text())
    del sums[CONFIG]
    (folder / CHECKSUMS).write_text(json.dumps(sums))
    with pytest.raises(BundleError, match="lacks laboratory.json".replace(".", r"\.")):
        load_bundle(folder, device="cpu")


def test_corrections_that_are_no_numbers_are_told(folder: Path) -> None:
    change(folder, components=torch.full((16, 4), 1e38))
    correction = load_bundle(folder, device="cpu").slide_correction
    assert correction is not None
    with pytest.raises(BundleError, match="no numbers"):
        correction.corrected(np.zeros((20, 3)), np.full((20, 16), 1e30), 1.0)


def test_cells_of_a_steady_class_stay_as_they_are(folder: Path) -> None:
    change(folder, {"steady": [1]})
    correction = load_bundle(folder, device="cpu").slide_correction
    assert correction is not None
    assert correction.uncorrected == (1,)
    chance = np.random.default_rng(0)
    logits, embedding = chance.normal(size=(30, 3)), chance.normal(size=(30, 16))
    found = correction.corrected(logits, embedding, 2.0)
    stays = logits.argmax(axis=1) == 1
    np.testing.assert_allclose(found[stays], logits[stays] / 2)
    assert (np.abs(found - logits / 2).max(axis=1)[~stays] > 1e-3).all()
    change(folder, {"steady": [3]})
    with pytest.raises(BundleError, match="never corrected is unknown"):
        load_bundle(folder, device="cpu")


def test_one_for_other_classes_is_refused(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "tiny", NAMES, slide_correction=tiny_slide_correction(4))
    with pytest.raises(BundleError, match=r"4 classes .* not 3 and"):
        load_bundle(folder, device="cpu")


def test_a_generator_added_later_leaves_it(folder: Path) -> None:
    from cytodiffusion.model.testing import tiny_generator
    from cytodiffusion.training.generator import attach_generator
    from cytodiffusion.training.settings import TrainSettings

    model = load_bundle(folder, device="cpu")
    settings = TrainSettings(
        data=folder, output=folder.with_name("both"), kind="generator", init=str(folder)
    )
    attach_generator(model, tiny_generator(3), settings, {"train": []}, {})  # type: ignore[dict-item]
    assert load_bundle(settings.output, device="cpu").slide_correction is not None
