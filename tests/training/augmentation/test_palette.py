"""Random palettes: what they change, and what they must not."""

from __future__ import annotations

import pytest
import torch

from cytodiffusion.training.augmentation.appearance import overexpose, repaint


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def densities(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=generator(9)) * 2


def test_empty_slide_stays_empty():
    density = densities()
    density[:, :, :8] = 0
    painted = repaint(density, generator(), strength=1.0, tone=1.0, share=1.0)
    assert (painted[:, :, :8] == 0).all()
    assert (painted[:, :, 8:] != density[:, :, 8:]).any()


def test_equal_colours_stay_equal_and_cells_differ():
    density = densities(1)[:, :, :1, :1].expand(6, 3, 16, 16).clone()
    painted = repaint(density, generator(), strength=0.5, tone=0.3, share=1.0)
    for crop in painted:
        assert torch.allclose(crop, crop[:, :1, :1].expand_as(crop), atol=1e-5)
    assert painted[:, 0, 0, 0].std() > 0.05


def test_pale_and_dark_change_independently():
    n = 400
    density = torch.cat([torch.full((n, 3, 1, 8), 0.1), torch.full((n, 3, 1, 8), 2.0)], dim=2)
    painted = repaint(density, generator(), strength=0.5, tone=0.0, share=1.0)
    pale = (painted[:, 0, 0, 0] / 0.1).log()
    dark = (painted[:, 0, 1, 0] / 2.0).log()
    correlation = torch.corrcoef(torch.stack([pale, dark]))[0, 1]
    assert abs(float(correlation)) < 0.3
    assert float(pale.std()) > 0.15


@pytest.mark.parametrize("channel", range(3))
def test_nodes_are_sampled_along_the_right_axis(channel):
    """A map that depends on one density alone reacts to that one alone."""
    density = torch.full((1, 3, 1, 2), 0.2)
    density[0, channel, 0, 1] = 1.5
    painted = repaint(density, generator(3), strength=0.0, tone=0.8, share=1.0)
    other = (channel + 1) % 3
    # the gain of the other density depends on where in colour space the pixel is, not on it alone
    assert painted[0, other, 0, 0] != painted[0, other, 0, 1]


def test_share_is_respected_and_seed_decides():
    density = densities(200)
    first = repaint(density, generator(1), strength=0.5, tone=0.3, share=0.25)
    again = repaint(density, generator(1), strength=0.5, tone=0.3, share=0.25)
    changed = (first != density).flatten(1).any(1)
    assert torch.equal(first, again)
    assert 25 < int(changed.sum()) < 75
    assert torch.equal(repaint(density, generator(1), strength=1, tone=1, share=0.0), density)


def test_overexposure_clips_at_the_empty_slide():
    unit = torch.linspace(0, 0.92, 64).reshape(1, 1, 8, 8).expand(2, 3, 8, 8)
    clipped = overexpose(unit, generator(), largest=0.5)
    assert float(clipped.max()) < 0.92 + 1e-6
    assert (clipped >= unit - 1e-6).all()
    assert (clipped == 0.92).sum() > 6
