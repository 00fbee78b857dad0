"""Teaching the coarse picture of a generator against a critic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.generation.synthesis import sample_cells
from cytodiffusion.model.generator import Generator
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.training import adversarial
from cytodiffusion.training.adversarial_coarse import LATEST, STEPS, CoarseLoss
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.train import train

SMALL = {
    "base_widths": (8, 8),
    "base_blocks": (1, 1),
    "detail_widths": (8, 8),
    "detail_blocks": (1, 1),
}


@pytest.fixture(autouse=True)
def few_sketches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversarial, "SKETCHES", 6)
    monkeypatch.setattr(adversarial, "SKETCHED_AT_ONCE", 6)
    monkeypatch.setattr(adversarial, "SKETCH_STEPS", 2)
    monkeypatch.setattr(adversarial, "CRITIC_FIRST", 0)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs") / "data")


@pytest.fixture(scope="module")
def drawing(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model with a generator, of a few steps."""
    folder = tmp_path_factory.mktemp("drawing")
    tiny_bundle(folder / "model", ("red", "blue", "green"))
    few = {"kind": "generator", "input_size": 128, "steps": 2, "detail_steps": 2}
    return train(settings(discs, folder / "generator", folder / "model", **few, **SMALL))


def settings(data: Path, output: Path, init: Path, **changes: Any) -> TrainSettings:
    options: dict[str, Any] = {
        "data": data,
        "output": output,
        "init": str(init),
        "kind": "generator-coarse",
        "pixel_size_um": PIXEL_SIZE_UM,
        "steps": 4,
        "warmup": 2,
        "batch_size": 4,
        "checkpoint_every": 2,
        "validate_every": 2,
        "duplicates": "allow",
        "device": "cpu",
        "mixed_precision": "no",
    }
    return TrainSettings(**options | changes)


def test_only_the_coarse_network_is_taught(discs: Path, drawing: Path, tmp_path: Path) -> None:
    before = load_bundle(drawing, device="cpu")
    after = load_bundle(train(settings(discs, tmp_path / "taught", drawing)), device="cpu")
    assert before.generator is not None
    assert after.generator is not None
    pairs = {
        name: [m.generator.get_submodule(name).state_dict() for m in (before, after)]  # type: ignore[union-attr]
        for name in ("base", "detail")
    }
    equal = {
        name: all(torch.equal(one[key], other[key]) for key in one)
        for name, (one, other) in pairs.items()
    }
    assert equal == {"base": False, "detail": True}
    assert after.generator.drawn_in == before.generator.drawn_in
    assert "coarse picture was taught further against a critic for 4 steps" in after.card
    one = sample_cells(after, np.array([0, 1]), steps=8, seed=3)
    assert np.array_equal(one, sample_cells(after, np.array([0, 1]), steps=8, seed=3))


def test_a_stopped_run_ends_as_an_unbroken_one(discs: Path, drawing: Path, tmp_path: Path) -> None:
    whole = load_bundle(train(settings(discs, tmp_path / "whole", drawing)), device="cpu")

    def stop(share: float, message: str) -> None:
        if "step 4" in message:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        train(settings(discs, tmp_path / "stopped", drawing), stop)
    resumed = settings(discs, tmp_path / "stopped", drawing, resume=True)
    again = load_bundle(train(resumed), device="cpu")
    assert whole.generator is not None
    assert again.generator is not None
    for one, other in zip(whole.generator.parameters(), again.generator.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_model_without_a_generator_is_refused(discs: Path, tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "model", ("red", "blue", "green"))
    with pytest.raises(InputError, match="has no generator"):
        train(settings(discs, tmp_path / "taught", tmp_path / "model"))


def test_a_run_without_a_start_is_refused(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="whose generator is to be taught"):
        TrainSettings(data=discs, output=tmp_path / "taught", kind="generator-coarse")


def test_the_network_hears_the_critic_and_the_critic_only_of_both() -> None:
    torch.manual_seed(0)
    loss = CoarseLoss(Generator(num_classes=2, **SMALL), weight=1.0)
    torch.nn.init.normal_(loss.network.conv_out.weight, std=0.1)
    loss.critic.eval()  # its normalisation stays as it is
    clean, classes = torch.randn(3, 12, 16, 16), torch.tensor([0, 1, 1])

    def gradients(listened: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        loss.zero_grad()
        batch = (clean, torch.tensor([5, 500, 900]), clean.flip(0), classes, clean[:, :0])
        more = (clean, clean.flip(0), classes, torch.tensor(LATEST), 0.1 * clean, classes)
        value, _ = loss(*batch, *more, torch.tensor(listened))
        value.backward()
        return tuple(  # type: ignore[return-value]
            [p.grad.clone() for p in module.parameters() if p.grad is not None]
            for module in (loss.network, loss.critic)
        )

    deaf, hearing = gradients(0.0), gradients(1.0)
    assert any(not torch.allclose(a, b) for a, b in zip(deaf[0], hearing[0], strict=True))
    for a, b in zip(deaf[1], hearing[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_drawing_that_begins_late_stays_near_what_it_began_with() -> None:
    torch.manual_seed(0)
    loss = CoarseLoss(Generator(num_classes=2, **SMALL), weight=1.0)  # predicts no velocity at all
    clean, noise = 0.5 * torch.randn(2, 12, 16, 16).clamp(-1, 1), torch.randn(2, 12, 16, 16)
    classes = torch.tensor([0, 1])
    with torch.no_grad():
        drawn = [
            loss.draw(clean[:, :0], clean, noise, classes, first)
            for first in (STEPS - 1, STEPS // 2, 0)
        ]
    far = [float((d - clean).abs().mean()) for d in drawn]
    assert far == sorted(far)
