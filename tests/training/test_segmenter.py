"""Training of the smear network: it learns, resumes, and ends beside the model it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.model.loading import load_bundle, load_segmenter_of
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.training.fields import photographed_fields
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.train import train


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs") / "data", {"train": 3, "val": 1})


def settings(data: Path, folder: Path, **changes: Any) -> TrainSettings:
    if not (folder / "model").exists():
        tiny_bundle(folder / "model", ("red", "blue", "green"))
    options: dict[str, Any] = {
        "data": data,
        "output": folder / "segmenter",
        "init": str(folder / "model"),
        "kind": "segmenter",
        "pixel_size_um": PIXEL_SIZE_UM,
        "input_size": 64,
        "widths": (8, 16),
        "blocks": (1, 1),
        "fields": 12,
        "steps": 4,
        "warmup": 2,
        "batch_size": 2,
        "checkpoint_every": 2,
        "validate_every": 2,
        "device": "cpu",
        "mixed_precision": "no",
    }
    return TrainSettings(**options | changes)


def test_it_learns_and_becomes_a_part_of_the_model(discs: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    wanted = settings(
        discs, tmp_path, steps=30, learning_rate=5e-3, ema_decay=0.9, input_size=160, fields=24
    )
    folder = train(wanted, lambda share, text: seen.append(text))
    model = load_bundle(folder, device="cpu")
    assert model.segmenter is not None
    assert model.segmenter.measured is not None
    assert model.segmenter.measured["IoU of cells"] > 0.3  # all pixels called cells have less
    assert "## Smear network" in model.card
    assert model.training["segmenter"]["fields"] == 24
    assert any("drawing fields" in text for text in seen)
    assert load_segmenter_of(folder).threshold == model.segmenter.threshold


def test_a_stopped_run_ends_as_an_unbroken_one(discs: Path, tmp_path: Path) -> None:
    whole = load_segmenter_of(train(settings(discs, tmp_path / "whole")))

    def stop(share: float, message: str) -> None:
        if "step 4" in message:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        train(settings(discs, tmp_path / "stopped"), stop)
    again = load_segmenter_of(train(settings(discs, tmp_path / "stopped", resume=True)))
    for one, other in zip(whole.network.parameters(), again.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def photographs(folder: Path, **changes: Any) -> Path:
    """A photograph with one white cell, half of which nobody knows."""
    folder.mkdir()
    rgb = np.full((120, 160, 3), 220, np.uint8)
    cv2.circle(rgb, (70, 60), 30, (120, 60, 140), -1)
    labels = np.zeros((120, 160), np.uint16)
    cv2.circle(labels, (70, 60), 30, 1, -1)
    labels[:, 100:] = 65535
    cv2.imwrite(str(folder / "a.png"), rgb)
    tifffile.imwrite(folder / "a.tif", labels)
    (folder / "kinds.csv").write_text("label,kind\n1,white cell\n")
    row = {"image": "a.png", "labels": "a.tif", "kinds": "kinds.csv", "pixel_size_um": 0.36}
    row |= changes
    lines = [",".join(row), ",".join(str(value) for value in row.values())]
    (folder / "fields.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_photographs_with_unknown_parts_are_read_at_the_network_s_scale(tmp_path: Path) -> None:
    [field], [] = photographed_fields(photographs(tmp_path / "fields"), 2)
    assert field.rgb.shape == (240, 320, 3)
    assert set(np.unique(field.cells)) == {0, 1, 255}
    assert (field.cells[:, 202:] == 255).all()
    assert set(np.unique(field.kinds)) == {0, 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": "missing.tif"}, "cannot be read"),
        ({"labels": "kinds.csv"}, "cannot be read"),
        ({"image": "missing.png"}, "missing.png"),
        ({"pixel_size_um": "wide"}, "pixel_size_um"),
        ({"kinds": "no such kind"}, "kind"),
    ],
)
def test_a_bad_table_of_photographs_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        photographed_fields(photographs(tmp_path / "fields", **changes), 2)


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "fields")
    (folder / "fields.csv").write_text("image,labels\na.png,a.tif\n")
    with pytest.raises(InputError, match="kinds"):
        photographed_fields(folder, 2)
    with pytest.raises(InputError, match="cannot be read"):
        photographed_fields(tmp_path, 2)


def test_photographs_are_trained_on(discs: Path, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "fields")
    made = train(settings(discs, tmp_path, photographs=folder, photograph_share=1.0))
    assert "1 photographed" in load_bundle(made, device="cpu").card


def test_a_model_to_add_it_to_is_needed(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="init"):
        settings(discs, tmp_path, init=None)
