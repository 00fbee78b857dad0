"""The critic that a generator's networks are taught against."""

from __future__ import annotations

import torch

from cytodiffusion.training.adversarial import Critic


def test_a_critic_learns_to_tell_grain_from_smoothness() -> None:
    torch.manual_seed(0)
    critic = Critic(1, 12.0, 30.0)
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
