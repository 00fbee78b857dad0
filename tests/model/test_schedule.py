"""The noise schedule is that of diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from cytodiffusion.model.schedule import LEVELS, NoiseSchedule, centred_disc


@pytest.fixture(scope="module")
def schedule() -> NoiseSchedule:
    return NoiseSchedule()


def test_noise_is_added_as_diffusers_does(schedule: NoiseSchedule) -> None:
    scheduler = DDPMScheduler(**NoiseSchedule.to_config())
    clean, epsilon = torch.randn(2, 5, 3, 4, 4)
    t = torch.tensor([0, 10, 200, 700, 999])
    torch.testing.assert_close(
        schedule.add_noise(clean, t, epsilon), scheduler.add_noise(clean, epsilon, t)
    )


def test_power_is_kept_and_signal_falls(schedule: NoiseSchedule) -> None:
    t = torch.arange(LEVELS)
    signal, noise = schedule.signal(t).flatten(), schedule.noise(t).flatten()
    torch.testing.assert_close(signal.square() + noise.square(), torch.ones(LEVELS))
    assert (signal.diff() < 0).all()
    assert schedule.snr(t).isfinite().all()
    torch.testing.assert_close(schedule.snr(t), (signal / noise).square())


def test_the_disc_is_round_soft_and_centred() -> None:
    disc = centred_disc(24, 0.42)
    assert disc.shape == (24, 24)
    torch.testing.assert_close(disc, disc.T)
    torch.testing.assert_close(disc, disc.flip(0))
    assert disc[12, 12] == 1
    assert disc[0, 0] == 0
    inner = ((disc > 0) & (disc < 1)).float().mean()
    assert 0.05 < inner < 0.4
    assert centred_disc(24, 5.0).min() == 1
