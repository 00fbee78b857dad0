"""Trainings that start from an earlier model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import toy_settings, write_discs

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle, tiny_denoiser
from cytodiffusion.training.trainer import Trainer, like_start, start_from


def test_classes_go_by_name(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "old", class_names=("a", "b", "c"))
    old = load_bundle(tmp_path / "old", device="cpu")
    new = tiny_denoiser(3, old.codec.channels, seed=5)
    before = new.class_table.detach().clone()
    start_from(new, ("c", "new", "a"), old)
    table = old.denoiser.class_table
    assert torch.equal(new.class_table[0], table[2])
    assert torch.equal(new.class_table[2], table[0])
    assert torch.equal(new.class_table[1], before[1])
    assert torch.equal(new.conv_in.weight, old.denoiser.conv_in.weight)


def test_a_run_takes_network_and_weights(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 6, "val": 2})
    first = toy_settings(data, tmp_path / "first", steps=2, batch_size=4)
    run = Trainer(first)
    run.fit()
    from cytodiffusion.training.finish import finish_bundle

    finish_bundle(run.ema_denoiser(), run.names, run.sets, first, [], lambda *_: None)
    second = toy_settings(
        data, tmp_path / "second", steps=2, batch_size=4, init=str(first.output), head_channels=40
    )
    assert like_start(second).head_channels == first.head_channels
    started = Trainer(second)
    bundle = load_bundle(first.output, device="cpu")
    for name, value in bundle.denoiser.state_dict().items():
        torch.testing.assert_close(started.model.denoiser.state_dict()[name], value)


def test_no_such_model(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 4, "val": 2})
    with pytest.raises(CytoDiffusionError):
        Trainer(toy_settings(data, tmp_path / "out", init=str(tmp_path / "nothing")))
