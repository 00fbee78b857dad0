"""The published network: its formulas by hand, its architecture at small widths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

from cytodiffusion.model import Denoiser
from cytodiffusion.model.stable_diffusion import (
    DISC_RADIUS,
    POLYNOMIAL,
    SIZE,
    TOKENS,
    StableDiffusionCodec,
    StableDiffusionDenoiser,
    StableDiffusionSchedule,
    full_size_unet,
    full_size_vae,
    hard_disc,
    mixed_conditions,
    published_weight,
)
from cytodiffusion.model.testing import tiny_stable_diffusion, tiny_vae

NAMES = ("basophil", "eosinophil", "lymphocyte")
K = len(NAMES)


# --- formulas ----------------------------------------------------------------------------------


def test_the_polynomial_by_hand() -> None:
    assert POLYNOMIAL == (0.92706, 9.83654, -4.68406, 6.01854, -9.33979)
    found = published_weight(torch.tensor([0, 500, 1000]))
    # x = 1: the sum of the coefficients; x = 1/2: halved four times; x = 0: the first of them
    expected = [1 / 2.75829, 1 / 4.842895625, 1 / 0.92706]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    sharpness = tiny_stable_diffusion().log_sharpness(torch.tensor([500]))
    assert float(sharpness.exp()) == pytest.approx(0.206488)


def test_the_disc_of_radius_20_in_45_latents() -> None:
    disc = hard_disc(SIZE // 8, DISC_RADIUS)
    assert disc.shape == (45, 45)
    assert disc.sum() == 1257  # points of the integer lattice within 20 of the origin (Gauss)
    assert set(disc.unique().tolist()) == {0, 1}
    assert (disc[22, 2], disc[22, 1], disc[22, 42], disc[22, 43], disc[0, 0]) == (1, 0, 1, 0, 0)
    assert torch.equal(disc, disc.T)
    assert torch.equal(disc, disc.flip(0))


def test_the_noise_levels_are_those_of_stable_diffusion() -> None:
    schedule = StableDiffusionSchedule({"beta_start": 0.00085, "num_train_timesteps": 1000})
    beta = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    left = np.cumprod(1 - beta)
    t = torch.tensor([0, 500, 999])
    assert schedule.signal(t).flatten().tolist() == pytest.approx(np.sqrt(left[t]), rel=1e-4)
    assert schedule.snr(t).tolist() == pytest.approx(left[t] / (1 - left[t]), rel=1e-3)
    assert left[999] == pytest.approx(0.00466, abs=1e-5)  # never quite pure noise


# --- the architecture --------------------------------------------------------------------------


def test_full_size_is_stable_diffusion_1_5() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**full_size_unet())
        vae = AutoencoderKL(**full_size_vae())
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    names = dict(unet.named_parameters())
    shape = names["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"].shape
    assert shape == (320, 768)


def narrow() -> StableDiffusionDenoiser:
    """Every block of Stable Diffusion 1.5, a hundredth as wide."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = {"block_out_channels": (4, 8, 8, 8), "norm_num_groups": 4, "attention_head_dim": 2}
        unet = UNet2DConditionModel(**full_size_unet() | small)
    return StableDiffusionDenoiser(unet, 8).eval()


@torch.no_grad()
def test_the_condition_is_a_one_hot_vector_for_77_tokens() -> None:
    denoiser = narrow()
    given: list[torch.Tensor] = []

    def look(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        given.append(kwargs["encoder_hidden_states"])

    denoiser.unet.register_forward_pre_hook(look, with_kwargs=True)
    z = torch.randn(2, 4, 45, 45, generator=torch.Generator().manual_seed(0))
    clean = denoiser.predict_class(z, torch.tensor([100, 900]), torch.tensor([5, -1]))
    assert clean.shape == (2, 4, 45, 45)  # though 45 cannot be halved three times
    assert clean.isfinite().all()
    tokens = torch.cat(given)
    assert tokens.shape == (2, TOKENS, 768) == (2, 77, 768)
    assert tokens[0, :, 5].eq(1).all()
    assert tokens[0].sum() == 77
    assert tokens[1].eq(0).all()  # the null class


def test_crops_of_360_px_become_45_latents() -> None:
    codec = StableDiffusionCodec(tiny_vae(), SIZE)
    assert (codec.grid, codec.channels, codec.size) == (45, 4, 360)
    assert codec.scale == 0.18215
    pixels = torch.rand(1, 3, 360, 360, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = codec.encode(pixels)
    assert latents.shape == (1, 4, 45, 45)
    with torch.no_grad():
        mean = codec.vae.encode(pixels).latent_dist.mean
    torch.testing.assert_close(latents, 0.18215 * mean)  # the mean: no noise of the VAE's own
    assert codec.decode(latents).shape == (1, 3, 360, 360)
    assert codec.to_config() == {"kind": "stable-diffusion", "size": 360}
    assert not any(p.requires_grad for p in codec.vae.parameters())
    for wrong in (0, 100):
        with pytest.raises(ValueError, match="multiple of 8"):
            StableDiffusionCodec(tiny_vae(), wrong)


def test_classes_must_fit_the_condition() -> None:
    unet = tiny_stable_diffusion().unet  # 24 wide
    assert StableDiffusionDenoiser(unet, 24).num_classes == 24
    for wrong in (0, 25):
        with pytest.raises(ValueError, match="width 24"):
            StableDiffusionDenoiser(unet, wrong)


# --- what is asked of a network ----------------------------------------------------------------


@torch.no_grad()
def test_errors_are_those_of_the_noise_in_the_disc() -> None:
    """The long way, with diffusers alone."""
    denoiser, scheduler = (
        tiny_stable_diffusion(K),
        DDPMScheduler(**StableDiffusionSchedule().to_config()),
    )
    assert isinstance(denoiser, Denoiser)
    generator = torch.Generator().manual_seed(0)
    clean, epsilon = torch.randn(2, 4, 4, 5, 5, generator=generator)
    t = torch.tensor([1, 200, 700, 999])
    z = scheduler.add_noise(clean, epsilon, t)
    disc = hard_disc(5, DISC_RADIUS)
    errors, embedding = denoiser.class_errors(z, t, clean, disc)
    plain, _ = denoiser.class_errors(z, t, clean)
    every = denoiser(z, t)
    for c in range(K):
        tokens = torch.eye(24)[c].expand(4, 77, -1)
        noise = denoiser.unet(z, t, encoder_hidden_states=tokens).sample
        square = (noise - epsilon).square()
        inside = (square * disc).sum((1, 2, 3)) / (4 * disc.sum())
        torch.testing.assert_close(errors[:, c], inside, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(plain[:, c], square.mean((1, 2, 3)), rtol=1e-3, atol=1e-4)
        left = scheduler.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        x = (z - (1 - left).sqrt() * noise) / left.sqrt()
        torch.testing.assert_close(every[:, c], x, rtol=1e-3, atol=1e-3)
        one = denoiser.predict_class(z, t, torch.full((4,), c))
        torch.testing.assert_close(one, x, rtol=1e-3, atol=1e-3)
    assert embedding.shape == (4, denoiser.embedding_width)
    assert errors.std(dim=1).min() > 0


@torch.no_grad()
def test_only_the_pairs_that_are_asked_for_are_passed() -> None:
    denoiser = tiny_stable_diffusion(K)
    rows = 0

    def count(module: Any, args: tuple[torch.Tensor, ...], kwargs: Any) -> None:
        nonlocal rows
        rows += len(args[0])

    denoiser.unet.register_forward_pre_hook(count, with_kwargs=True)
    clean, z = torch.randn(2, 4, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([10, 300, 600, 900])
    every, _ = denoiser.class_errors(z, t, clean)
    assert rows == 4 * K
    cells, classes = torch.tensor([3, 0, 0]), torch.tensor([1, 2, 0])
    some, embedding = denoiser.pair_errors(z, t, clean, None, cells, classes)
    assert rows == 4 * K + 3
    torch.testing.assert_close(some, every[cells, classes], rtol=1e-4, atol=1e-5)
    assert embedding.shape == (3, 16)


def test_conditions_are_mixed_as_the_pixels_are() -> None:
    denoiser = tiny_stable_diffusion(K)
    labels = torch.tensor([[0, 2], [1, -1], [-1, -1]])
    mixed = mixed_conditions(denoiser, labels, torch.tensor([0.7, 0.4, 0.5]))
    assert mixed.shape == (3, 24)
    assert mixed[0, :3].tolist() == pytest.approx([0.7, 0, 0.3])
    assert mixed[1, :3].tolist() == pytest.approx([0, 0.4, 0])
    assert mixed[2].eq(0).all()
