"""Models of every kind keep the fingerprints of what they were trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import toy_settings, write_discs
from typer.testing import CliRunner

from cytodiffusion.baselines import Baseline
from cytodiffusion.cli import app
from cytodiffusion.datasets.seen import overlap
from cytodiffusion.predict import load_classifier
from cytodiffusion.training.train import train


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baseline")
    data = write_discs(folder / "data", {"train": 3, "val": 2})
    return train(toy_settings(data, folder / "model", kind="resnet18", steps=2, batch_size=4))


def test_a_baseline_keeps_them(baseline: Path) -> None:
    model = load_classifier(baseline, "cpu")
    assert isinstance(model, Baseline)
    assert model.training_images is not None
    assert len(model.training_images) == 9
    training = sorted((baseline.parent / "data" / "train").rglob("*.png"))
    assert overlap(training, model).exact == training


def test_no_smear_is_made_of_a_baseline(baseline: Path, tmp_path: Path) -> None:
    outcome = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "out"), "-m", str(baseline)])
    assert outcome.exit_code == 1
    assert "makes no smear: only diffusion models make cells" in outcome.output
    assert not (tmp_path / "out").exists()
