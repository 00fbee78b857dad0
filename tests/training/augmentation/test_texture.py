"""Texture: detail changes in pale and dark parts apart, what is coarse stays."""

from __future__ import annotations

import pytest
import torch

from cytodiffusion.training.augmentation.appearance import fringe, retexture


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grainy(n: int = 8, size: int = 48) -> torch.Tensor:
    """Dark left halves and pale right ones, with fine grain."""
    level = torch.cat([torch.full((size // 2,), 1.5), torch.full((size // 2,), 0.2)])
    grain = 0.1 * torch.randn(n, 3, size, size, generator=generator(7))
    return level.expand(n, 3, size, size) + grain


def test_even_pictures_and_means_stay():
    even = torch.full((3, 3, 32, 32), 0.7)
    assert torch.allclose(retexture(even, generator(), strength=1, share=1.0), even, atol=1e-5)
    density = grainy()
    changed = retexture(density, generator(), strength=1.0, share=1.0)
    for part in (slice(4, 18), slice(30, 44)):  # away from the border between the halves
        before, after = (d[..., part].mean(dim=(1, 2, 3)) for d in (density, changed))
        assert torch.allclose(before, after, atol=0.02)


def test_grain_of_dark_and_pale_parts_changes_independently():
    density = grainy(64)
    changed = retexture(density, generator(), strength=1.0, share=1.0)
    gains = [
        (changed[..., part].flatten(1).std(1) / density[..., part].flatten(1).std(1)).log()
        for part in (slice(4, 18), slice(30, 44))
    ]
    assert all(float(g.std()) > 0.15 for g in gains)
    assert abs(float(torch.corrcoef(torch.stack(gains))[0, 1])) < 0.4


def test_share_is_respected_and_seed_decides():
    density = grainy(100, 24)
    first = retexture(density, generator(1), strength=1.0, share=0.3)
    again = retexture(density, generator(1), strength=1.0, share=0.3)
    changed = (first != density).flatten(1).any(1)
    assert torch.equal(first, again)
    assert 15 < int(changed.sum()) < 45
    assert torch.equal(retexture(density, generator(), strength=0.0, share=1.0), density)


def centre_of_mass(picture: torch.Tensor) -> torch.Tensor:
    """Positions ``(N, 3, 2)`` of the dark spot in each colour."""
    axis = torch.arange(picture.shape[-1], dtype=torch.float32)
    weight = 1 - picture
    total = weight.sum(dim=(2, 3))
    y = (weight.sum(3) * axis).sum(2) / total
    x = (weight.sum(2) * axis).sum(2) / total
    return torch.stack([y, x], dim=2)


def spots(n: int) -> torch.Tensor:
    axis = torch.arange(96.0) - 47.5
    spot = torch.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / 18)
    return (1 - 0.9 * spot).expand(n, 3, 96, 96).clone()


def test_colours_move_apart_by_a_pixel_or_so():
    moved = centre_of_mass(fringe(spots(50), generator(), strength=1.0, share=1.0)) - 47.5
    assert float(moved.abs().max()) < 1.8
    assert float((moved[:, 0] - moved[:, 2]).norm(dim=1).mean()) > 0.6


@pytest.mark.parametrize(("strength", "share"), [(0.0, 1.0), (1.0, 0.0)])
def test_no_fringe_where_none_is_asked_for(strength, share):
    window = torch.rand(4, 3, 16, 16, generator=generator(2))
    assert torch.equal(fringe(window, generator(), strength=strength, share=share), window)
