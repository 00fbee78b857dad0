"""One way to load and ask either kind of classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cytodiffusion.baselines import Baseline, build_network, save_baseline
from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import BundleError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.bundle import CellClass
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.pipeline import classify_labels
from cytodiffusion.predict import load_classifier, predict


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = Baseline(
        name="rival",
        version="0",
        kind="vit",
        classes=(CellClass("a", "#112233"), CellClass("b", "#445566")),
        input_size=32,
        window_um=20.0,
        network=build_network("vit", 2, 32).eval(),
        validation=ValidationRecord(torch.linspace(0, 0.9, 40)),
        anomaly_threshold=0.9,
        false_alarms=0.02,
        device=torch.device("cpu"),
    )
    return save_baseline(tmp_path_factory.mktemp("models") / "rival", model)


@pytest.fixture
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_both_kinds_are_loaded_and_asked(rival: Path, crops: np.ndarray, tmp_path: Path) -> None:
    baseline = load_classifier(rival, "cpu")
    assert isinstance(baseline, Baseline)
    assert predict(baseline, crops).trials.tolist() == [1, 1, 1]
    bundle = load_classifier(tiny_bundle(tmp_path / "tiny"), "cpu")
    assert isinstance(bundle, ModelBundle)
    settings = ClassifySettings(seed=4)
    np.testing.assert_array_equal(
        predict(bundle, crops, settings).posterior, classify(crops, bundle, settings).posterior
    )


def test_what_is_neither_is_told(tmp_path: Path, rival: Path) -> None:
    with pytest.raises(BundleError, match="lacks"):
        load_classifier(tmp_path, "cpu")
    with pytest.raises(BundleError):
        load_bundle(rival, device="cpu")


def test_a_field_is_classified_by_a_baseline(rival: Path) -> None:
    image = np.full((80, 80, 3), 230, np.uint8)
    labels = np.zeros((80, 80), np.int32)
    labels[20:50, 20:50] = 1
    image[labels > 0] = (120, 60, 150)
    results = classify_labels(image, labels, load_classifier(rival, "cpu"), pixel_size_um=0.25)
    assert results.frame["predicted"].isin(["a", "b"]).all()
    assert results.record["model"]["kind"] == "vit"
