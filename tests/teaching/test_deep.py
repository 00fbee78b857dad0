"""The whole network trained further on the cells of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from studies import NAMES
from teachable import add_classified, annotate

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.study import Study
from cytodiffusion.teaching import TeachSettings, teach


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images of one cell of each original class."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        for number in range(3):
            pixels = np.full((48, 48, 3), 235, np.uint8)
            pixels[14:34, 14:34] = rng.integers(60, 160, (20, 20, 3))
            path = tmp_path / "rehearsal" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Picture.fromarray(pixels).save(path, dpi=(60_000, 60_000))
    return tmp_path / "rehearsal"


@pytest.fixture
def start(tmp_path: Path, model: ModelBundle) -> ModelBundle:
    """The model with a network of the kind that is trained."""
    network = UNetDenoiser(
        num_classes=len(NAMES),
        in_channels=model.codec.channels,
        widths=(8, 16),
        blocks=(1, 1),
        head_channels=8,
    )
    folder = save_bundle(tmp_path / "start", replace(model, denoiser=network))
    return load_bundle(folder, device="cpu")


def test_a_deep_version_knows_the_new_class_itself(
    tmp_path: Path, images: Path, start: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = ["blast"] * 14 + ["monocyte"] * 6
    monkeypatch.chdir(tmp_path)  # a folder may be named from where one is
    settings = TeachSettings(deep=True, steps=2, rehearsal=images, device="cpu")
    with Study.create(tmp_path / "study") as study:
        cells = add_classified(study, tmp_path / "images" / "a.png", start, truth)
        annotate(study, cells, truth)

        def stop(share: float, message: str) -> None:
            if share > 0.16:
                raise Cancelled("Cancelled.")

        with pytest.raises(Cancelled):
            teach(study, Path("deep"), start, settings, progress=stop)
        assert not (tmp_path / "deep").exists()

        done = teach(study, Path("deep"), start, settings)

    made = load_bundle(done.folder, device="cpu")
    assert set(made.class_names) == {*NAMES, "blast"}
    assert made.denoiser.num_classes == 4
    assert made.head is None
    assert made.training["teaching"]["kind"] == "deep"
    assert done.after.n == sum(done.labelled.tried.values()) > 0
    assert done.record["learnt"]["blast"] == done.labelled.learnt["blast"]
    assert {p.name for p in tmp_path.iterdir()} == {"deep", "images", "rehearsal", "start", "study"}


def test_without_anything_to_rehearse_it_is_refused(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has no generator to draw cells of its classes"):
        teach(study, tmp_path / "deep", model, TeachSettings(deep=True))
    few = tmp_path / "few" / "monocyte"
    few.mkdir(parents=True)
    with pytest.raises(InputError):
        teach(study, tmp_path / "deep", model, TeachSettings(deep=True, rehearsal=few.parent))
