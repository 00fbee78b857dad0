"""Teaching the detail of a generator against a critic."""

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
from cytodiffusion.training import adversarial_detail
from cytodiffusion.training.adversarial_detail import AdversarialLoss, Critic
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.train import train


@pytest.fixture(autouse=True)
def few_sketches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversarial_detail, "SKETCHES", 6)
    monkeypatch.setattr(adversarial_detail, "SKETCHED_AT_ONCE", 6)
    monkeypatch.setattr(adversarial_detail, "SKETCH_STEPS", 2)
    monkeypatch.setattr(adversarial_detail, "CRITIC_FIRST", 0)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs") / "data")


@pytest.fixture(scope="module")
def drawing(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model with a generator, of a few steps."""
    folder = tmp_path_factory.mktemp("drawing")
    tiny_bundle(folder / "model", ("red", "blue", "green"))
    wanted = settings(
        discs,
        folder / "generator",
        folder / "model",
        kind="generator",
        input_size=128,
        base_widths=(8, 8),
        base_blocks=(1, 1),
        detail_widths=(8, 8),
        detail_blocks=(1, 1),
        steps=2,
        detail_steps=2,
    )
    return train(wanted)


def settings(data: Path, output: Path, init: Path, **changes: Any) -> TrainSettings:
    options: dict[str, Any] = {
        "data": data,
        "output": output,
        "init": str(init),
        "kind": "generator-detail",
        "pixel_size_um": PIXEL_SIZE_UM,
        "steps": 4,
        "warmup": 2,
        "batch_size": 4,
        "drawn_in": 4,
        "checkpoint_every": 2,
        "validate_every": 2,
        "duplicates": "allow",
        "device": "cpu",
        "mixed_precision": "no",
    }
    return TrainSettings(**options | changes)


def test_only_the_detail_is_taught_and_drawn_in_as_many_steps(
    discs: Path, drawing: Path, tmp_path: Path
) -> None:
    before = load_bundle(drawing, device="cpu")
    after = load_bundle(train(settings(discs, tmp_path / "taught", drawing)), device="cpu")
    assert before.generator is not None
    assert after.generator is not None
    assert after.generator.drawn_in == 4
    pairs = {
        name: [m.generator.get_submodule(name).state_dict() for m in (before, after)]  # type: ignore[union-attr]
        for name in ("base", "detail")
    }
    equal = {
        name: all(torch.equal(one[key], other[key]) for key in one)
        for name, (one, other) in pairs.items()
    }
    assert equal == {"base": True, "detail": False}
    assert "against a critic for 4 steps" in after.card
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


def test_the_network_hears_the_critic_and_the_critic_only_of_both() -> None:
    torch.manual_seed(0)
    generator = Generator(
        num_classes=2,
        base_widths=(8, 8),
        base_blocks=(1, 1),
        detail_widths=(8, 8),
        detail_blocks=(1, 1),
        drawn_in=4,
    )
    loss = AdversarialLoss(generator, weight=1.0)
    torch.nn.init.normal_(loss.network.conv_out.weight, std=0.1)
    n, part = 3, adversarial_detail.PART
    loss.critic.eval()  # its normalisation stays as it is
    detail = torch.randn(n, 48, part, part)
    coarse, classes = torch.rand(n, 3, part, part), torch.tensor([0, 1, 1])
    real = torch.rand(n, 3, 4 * part, 4 * part)

    def gradients(listened: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        loss.zero_grad()
        torch.manual_seed(1)
        batch = (detail, torch.tensor([5, 500, 900]), detail.flip(0), classes, coarse)
        more = (coarse, detail, detail.flip(0), classes, torch.tensor(1), real, classes)
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


def test_a_critic_learns_to_tell_grain_from_smoothness() -> None:
    torch.manual_seed(0)
    critic = Critic(1)
    optimiser = torch.optim.AdamW(critic.parameters(), lr=2e-3)
    classes = torch.zeros(8, dtype=torch.int64)
    smooth = torch.full((8, 3, 32, 32), 0.2)
    for _ in range(40):
        grain = smooth + 0.05 * torch.randn(smooth.shape)
        of_smooth, of_grain = critic(smooth, classes), critic(grain, classes)
        loss = sum(
            torch.relu(1 - a).mean() + torch.relu(1 + b).mean()
            for a, b in zip(of_smooth, of_grain, strict=True)
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimiser.step()
    lead = sum((a.mean() - b.mean()).item() for a, b in zip(of_smooth, of_grain, strict=True))
    assert lead > 1
