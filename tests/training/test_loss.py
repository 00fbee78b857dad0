"""The hybrid loss by its definition."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from cytodiffusion.model.testing import tiny_denoiser
from cytodiffusion.training.loss import MAX_WEIGHT, HybridLoss, draw_levels

K, C, GRID, N = 3, 12, 8, 6


@pytest.fixture
def loss() -> HybridLoss:
    return HybridLoss(
        tiny_denoiser(K, C), GRID, class_loss=0.3, disc_radius=0.42, label_smoothing=0.0
    )


def batch(labels: list[int]) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    clean, epsilon = torch.randn(2, N, C, GRID, GRID, generator=generator)
    t = torch.tensor([5, 60, 200, 400, 700, 950])
    known = torch.tensor(labels)
    return clean, t, epsilon, known, known, torch.zeros(N, dtype=torch.bool)


def test_levels_are_stratified_and_in_range() -> None:
    generator = torch.Generator().manual_seed(0)
    t = draw_levels(64, generator)
    assert t.dtype == torch.int64
    assert t.min() >= 0
    assert t.max() <= 999
    strata = ((t.double() / 1000) ** (1 / 1.25) * 64 + 1e-6).floor().unique()
    assert len(strata) >= 56  # levels are rounded down to whole ones
    assert not torch.equal(t, t.sort().values)


def test_tilted_levels_are_rather_low_ones() -> None:
    for tilt, middle in ((1.0, 500), (3.0, 125)):
        t = draw_levels(400, torch.Generator().manual_seed(0), tilt)
        assert int((t < middle).sum()) == pytest.approx(200, abs=1)
        assert t.max() > 950  # the others are still seen


@torch.no_grad()
def test_it_is_the_sum_of_its_parts(loss: HybridLoss) -> None:
    clean, t, epsilon, labels, conditions, style = batch([0, 1, 2, 0, 1, 2])
    total, parts = loss(clean, t, epsilon, labels, conditions, style)
    z = loss.schedule.add_noise(clean, t, epsilon)
    every = loss.denoiser(z, t)
    square = (every - clean[:, None]).square()
    true = square[torch.arange(N), labels].mean((1, 2, 3))
    weight = (loss.schedule.snr(t) + 1).clamp(max=MAX_WEIGHT)
    torch.testing.assert_close(parts["denoising"], (weight * true).mean(), rtol=1e-4, atol=1e-5)
    errors = (square.mean(2) * loss.disc).sum((2, 3)) / loss.disc.sum()
    logits = -errors * loss.denoiser.log_sharpness(t).exp()[:, None]
    entropy = F.cross_entropy(logits, labels, reduction="none")
    expected = (loss.schedule.signal(t).flatten() * entropy).mean()
    torch.testing.assert_close(parts["classes"], expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(total, parts["denoising"] + 0.3 * parts["classes"])
    assert parts["accuracy"] == (logits.argmax(1) == labels).float().mean()


def test_crops_without_a_label_train_the_trunk_alone(loss: HybridLoss) -> None:
    total, parts = loss(*batch([-1] * N))
    total.backward()
    assert parts["classes"] == 0
    assert parts["accuracy"] == 0
    assert total.isfinite()
    grad = loss.denoiser.class_table.grad
    assert grad is None or grad.abs().max() == 0
    assert loss.denoiser.base.weight.grad.abs().max() > 0


def test_every_part_gets_a_finite_gradient(loss: HybridLoss) -> None:
    total, _ = loss(*batch([0, 1, 2, -1, 1, 2]))
    total.backward()
    for name, parameter in loss.named_parameters():
        if name == "denoiser.style":
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_the_disc_is_not_among_the_weights(loss: HybridLoss) -> None:
    assert "disc" not in loss.state_dict()
    assert all(k.startswith("denoiser.") for k in loss.state_dict())
