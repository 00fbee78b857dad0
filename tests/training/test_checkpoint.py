"""Checkpoints survive a kill at any moment."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from cytodiffusion.errors import InputError
from cytodiffusion.training import checkpoint
from cytodiffusion.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint

State = tuple[nn.Module, torch.optim.Optimizer, EMAModel]


def make(seed: int = 0, width: int = 3) -> State:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, width, 3), nn.Flatten(), nn.Linear(width * 4, 2))
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    return model, optimizer, EMAModel(model.parameters(), use_ema_warmup=True)


def advance(state: State, steps: int = 3) -> State:
    model, optimizer, ema = state
    generator = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        model(torch.randn(2, 2, 4, 4, generator=generator)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        ema.step(model.parameters())
    return state


def save(run: Path, state: State, step: int = 3) -> None:
    save_checkpoint(run, step, *state, {"a": 1}, [{"step": 3.0}], ["x", "y"])


def test_everything_comes_back(tmp_path: Path) -> None:
    state = advance(make())
    save(tmp_path, state)
    found = find_checkpoint(tmp_path)
    assert found == tmp_path / "checkpoint"
    other = make(seed=1)
    meta = load_checkpoint(found, *other)
    assert meta == {
        "step": 3, "ema_steps": 3, "settings": {"a": 1}, "history": [{"step": 3.0}],
        "classes": ["x", "y"],
    }  # fmt: skip
    for a, b in zip(advance(state, 2)[0].parameters(), advance(other, 2)[0].parameters(),
                    strict=True):  # fmt: skip
        assert torch.equal(a, b)
    for a, b in zip(state[2].shadow_params, other[2].shadow_params, strict=True):
        assert torch.equal(a, b)


def test_there_may_be_none(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) is None
    assert find_checkpoint(tmp_path / "nowhere") is None


class Killed(BaseException):
    """Like the signal: nothing catches it."""


@pytest.mark.parametrize("moment", range(12))
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The n-th call that touches the disk does half of its work, or none, and dies."""
    first, second = advance(make()), advance(make(1), 4)
    save(tmp_path, first, 3)
    calls = 0

    def deadly(function: Any, half: Any = None) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == moment + 1:
                if half is not None:
                    half(*args)
                raise Killed
            return function(*args, **kwargs)

        return call

    def half_file(tensors: Any, path: Path) -> None:
        Path(path).write_bytes(b"\x00" * 100)

    def half_text(path: Path, text: str, **kwargs: Any) -> None:
        with path.open("w") as stream:
            stream.write(text[: len(text) // 2])

    def half_tree(path: Path, **kwargs: Any) -> None:
        for name in ("state.safetensors", "meta.json"):
            if (Path(path) / name).exists():
                (Path(path) / name).unlink()
                return

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", deadly(shutil.rmtree, half_tree))
        patch.setattr(checkpoint, "save_file", deadly(checkpoint.save_file, half_file))
        patch.setattr(checkpoint.os, "replace", deadly(checkpoint.os.replace))
        patch.setattr(Path, "write_text", deadly(Path.write_text, half_text))
        patch.setattr(Path, "mkdir", deadly(Path.mkdir))
        with contextlib.suppress(Killed):
            save(tmp_path, second, 4)
    found = find_checkpoint(tmp_path)
    assert found is not None
    meta = load_checkpoint(found, *make(2))
    assert meta["step"] in (3, 4)
    third = advance(make(3), 5)
    save(tmp_path, third, 5)  # and the run goes on
    assert load_checkpoint(find_checkpoint(tmp_path) or tmp_path, *make(4))["step"] == 5
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint"}


def test_two_kills_in_a_row_keep_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two renames, resumed, and killed again while writing."""
    save(tmp_path, advance(make()), 3)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.new")

    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", die)
        with pytest.raises(Killed):
            save(tmp_path, advance(make(), 4), 4)
    found = find_checkpoint(tmp_path)
    assert found is not None
    assert load_checkpoint(found, *make(1))["step"] == 3


def test_a_half_written_first_checkpoint_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint.new"
    folder.mkdir()
    (folder / "state.safetensors").touch()
    (folder / "meta.json").write_text('{"step": 3')
    assert find_checkpoint(tmp_path) is None


def test_a_checkpoint_of_another_network_is_told(tmp_path: Path) -> None:
    save(tmp_path, advance(make()))
    with pytest.raises(InputError, match="other settings"):
        load_checkpoint(tmp_path / "checkpoint", *make(width=4))


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    save(tmp_path, advance(make()))
    state = tmp_path / "checkpoint" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "checkpoint", *make())


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = advance(make())
    save(tmp_path, state)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        save(tmp_path, state, 9)
    assert load_checkpoint(tmp_path / "checkpoint", *make())["step"] == 3
