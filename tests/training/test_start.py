"""Trainings that start from an earlier model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import toy_settings, write_discs

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.model import load_bundle
from cytodiffusion.model.codec import PixelCodec
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


def test_a_finer_input_starts_as_the_coarser_one(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "old", class_names=("a", "b"))
    old = load_bundle(tmp_path / "old", device="cpu")
    fine = PixelCodec(2 * old.input_size, 2 * old.codec.patch)
    new = tiny_denoiser(2, fine.channels, seed=5)
    start_from(new, ("a", "b"), old)
    coarse = torch.rand(3, 3, old.input_size, old.input_size) * 2 - 1
    t = torch.tensor([10, 60, 200])
    expected = old.codec.decode(old.denoiser(old.codec.encode(coarse), t)[:, 1])
    seen = fine.encode(coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))
    found = fine.decode(new(seen, t)[:, 1])
    torch.testing.assert_close(found[..., ::2, ::2], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[..., 1::2, 1::2], expected, atol=1e-5, rtol=1e-4)


def test_another_grid_cannot_start_from_it(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 4, "val": 2})
    tiny_bundle(tmp_path / "old", class_names=("blue", "green", "red"))
    grid = load_bundle(tmp_path / "old", device="cpu").codec.grid
    settings = toy_settings(
        data, tmp_path / "out", init=str(tmp_path / "old"), input_size=8 * grid + 16, patch=8
    )
    with pytest.raises(CytoDiffusionError, match="keeps its grid"):
        Trainer(settings)


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 4, "val": 2})
    tiny_bundle(tmp_path / "old", class_names=("blue", "green", "red"))  # of narrower levels
    with pytest.raises(CytoDiffusionError, match="cannot start from tiny"):
        Trainer(toy_settings(data, tmp_path / "out", init=str(tmp_path / "old")))


def test_the_finished_network_may_keep_a_share_of_its_start(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 4, "val": 2})
    asked = toy_settings(data, tmp_path / "old", steps=1, batch_size=4)
    first = Trainer(asked)
    from cytodiffusion.training.finish import finish_bundle

    finish_bundle(first.final_denoiser(), first.names, first.sets, asked, [], lambda *_: None)
    further = {"init": str(asked.output), "learning_rate": 0.01, "steps": 2, "start_share": 0.25}
    run = Trainer(toy_settings(data, tmp_path / "new", batch_size=4, **further))
    run.fit()
    averaged, final = run.ema_denoiser().state_dict(), run.final_denoiser().state_dict()
    assert any(not torch.equal(final[name], averaged[name]) for name in final)
    start = load_bundle(asked.output, device="cpu").denoiser.state_dict()
    for name, value in final.items():
        expected = 0.75 * averaged[name] + 0.25 * start[name].to(averaged[name])
        torch.testing.assert_close(value, expected)
