"""Training of a generator: it learns, can be resumed, and ends beside the model it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import COLORS, PIXEL_SIZE_UM, write_discs

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.generation.synthesis import sample_cells
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.testing import tiny_bundle, tiny_generator
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.train import train


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs") / "data")


def settings(data: Path, folder: Path, **changes: Any) -> TrainSettings:
    if not (folder / "model").exists():
        tiny_bundle(folder / "model", ("red", "blue", "green"))
    options: dict[str, Any] = {
        "data": data,
        "output": folder / "generator",
        "init": str(folder / "model"),
        "kind": "generator",
        "pixel_size_um": PIXEL_SIZE_UM,
        "input_size": 64,
        "base_widths": (16, 32),
        "base_blocks": (1, 1),
        "detail_widths": (8, 8),
        "detail_blocks": (1, 1),
        "steps": 6,
        "detail_steps": 4,
        "warmup": 2,
        "batch_size": 8,
        "checkpoint_every": 3,
        "validate_every": 3,
        "duplicates": "allow",
        "device": "cpu",
        "mixed_precision": "no",
    }
    return TrainSettings(**options | changes)


def test_it_learns_the_colours_of_the_classes(discs: Path, tmp_path: Path) -> None:
    wanted = settings(discs, tmp_path, steps=300, learning_rate=4e-3, batch_size=16, ema_decay=0.9)
    model = load_bundle(train(wanted), device="cpu")
    names = ("red", "blue", "green")
    assert model.class_names == names
    cells = sample_cells(model, np.repeat([0, 1, 2], 4), steps=24).astype(float)
    middle = cells[:, 26:38, 26:38].mean(axis=(1, 2))
    colours = np.array([COLORS[name] for name in names], float)
    nearest = np.abs(middle[:, None] - colours).sum(axis=2).argmin(axis=1)
    assert (nearest == np.repeat([0, 1, 2], 4)).mean() >= 0.75
    assert "synthetic" in model.card
    assert model.training["generator"]["steps"] == 300


def test_a_stopped_run_ends_as_an_unbroken_one(discs: Path, tmp_path: Path) -> None:
    whole = load_bundle(train(settings(discs, tmp_path / "whole")), device="cpu")

    def stop(share: float, message: str) -> None:
        if "base" in message:  # after six steps; three are in the checkpoint
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        train(settings(discs, tmp_path / "stopped"), stop)
    resumed = settings(discs, tmp_path / "stopped", resume=True)
    again = load_bundle(train(resumed), device="cpu")
    assert whole.generator is not None
    assert again.generator is not None
    for one, other in zip(whole.generator.parameters(), again.generator.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=2e-3)  # kept in few bits


def test_it_draws_for_a_model_that_knows_the_classes(discs: Path, tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "model", ("red", "blue", "violet"))
    with pytest.raises(InputError, match="green, violet"):
        train(settings(discs, tmp_path))


def test_the_coarse_network_alone_is_trained_further(discs: Path, tmp_path: Path) -> None:
    first = train(settings(discs, tmp_path / "first"))
    again = settings(
        discs, tmp_path / "second", init=str(first), further=True, steps=4, detail_steps=0
    )
    before = load_bundle(first, device="cpu").generator
    made = load_bundle(train(again), device="cpu")
    assert before is not None
    assert made.generator is not None
    for stage in ("base", "detail"):
        one, other = (
            torch.cat([p.flatten() for p in g.get_submodule(stage).parameters()])
            for g in (before, made.generator)
        )
        assert torch.equal(one, other) == (stage == "detail")
        assert (one - other).abs().mean() < 0.01  # it goes on from there
    assert made.generator.config.detail_scale == before.config.detail_scale
    assert "Trained on the" in made.card
    assert "Trained further on the" in made.card


def test_a_detail_that_was_taught_against_a_critic_is_not_trained_plainly(
    discs: Path, tmp_path: Path
) -> None:
    generator = tiny_generator(3)
    generator.register_to_config(drawn_in=4)
    start = tiny_bundle(tmp_path / "start", ("red", "blue", "green"), generator=generator)
    with pytest.raises(InputError, match="taught against a critic"):
        train(settings(discs, tmp_path, init=str(start), further=True))
    made = train(settings(discs, tmp_path, init=str(start), further=True, detail_steps=0))
    taught = load_bundle(made, device="cpu").generator
    assert taught is not None
    assert taught.drawn_in == 4


def test_only_a_generator_that_is_there_can_be_trained_further(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no generator that could be trained further"):
        train(settings(discs, tmp_path, further=True))
    with pytest.raises(ValueError, match="only a generator"):
        settings(discs, tmp_path, kind="diffusion", further=True)
    with pytest.raises(ValueError, match="needs steps"):
        settings(discs, tmp_path, detail_steps=0)


def test_a_generator_needs_its_model(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="init"):
        settings(discs, tmp_path, init=None)


def test_the_window_must_halve(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        settings(discs, tmp_path, input_size=72)
