"""Cells shrink and spread among surroundings that stay, and outlines bend smoothly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cytodiffusion.model.codec import WHITE, to_density
from cytodiffusion.training.augmentation.outlines import bend, spread_cells

SIDE = 48


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``n`` round cells of 8 px radius, and a neighbour along the left border."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    cell = ((y - 23.5).square() + (x - 23.5).square()).sqrt() <= 8
    unit = torch.full((n, 3, SIDE, SIDE), WHITE)
    unit[..., cell] = 0.4
    unit[..., :6] = 0.7
    return unit, cell.float().expand(n, 1, SIDE, SIDE).clone()


def area(unit: torch.Tensor) -> torch.Tensor:
    """Pixels darker than the slide, away from the neighbour."""
    return (unit[:, 0, :, 8:] < 0.85).flatten(1).sum(1).float()


def test_shrunken_cells_leave_empty_slide_and_are_no_paler():
    unit, masks = scene(60)
    shrunk, outlines = spread_cells(unit, masks, generator(), shrunken=0.5, spread=0.0)
    assert (area(shrunk) <= area(unit) + 30).all()
    assert area(shrunk).min() < 0.55 * area(unit)[0]
    assert (shrunk[:, :, 22:26, 22:26] <= 0.4 + 1e-4).all()
    torch.testing.assert_close(shrunk[..., :6], unit[..., :6])
    torch.testing.assert_close(outlines.sum((1, 2, 3)), area(shrunk), rtol=0.25, atol=20)
    small = shrunk[area(shrunk).argmin()]
    torch.testing.assert_close(small[:, 23, 33:], torch.full_like(small[:, 23, 33:], WHITE))


def test_spread_cells_are_paler_and_cover_what_was_beside_them():
    unit, masks = scene(60)
    unit[..., 35:] = 0.5  # a second neighbour, 3 px from the cell
    wide, outlines = spread_cells(unit, masks, generator(), shrunken=0.0, spread=0.6)
    assert (wide[:, :, 22:26, 22:26] >= 0.4 - 1e-4).all()
    assert outlines.sum((1, 2, 3)).max() > 2 * masks[0].sum()
    widest = outlines.sum((1, 2, 3)).argmax()
    assert outlines[widest, 0, 23, 36] > 0.9
    assert not torch.allclose(wide[widest, :, 23, 36], unit[widest, :, 23, 36], atol=0.02)


@given(st.integers(0, 1000))
def test_dye_is_neither_made_nor_lost_beyond_what_is_said(seed: int):
    unit, masks = scene(4)
    changed, outlines = spread_cells(unit, masks, generator(seed), shrunken=0.4, spread=0.3)
    inside = to_density(changed)[:, 0] * (outlines[:, 0] > 0.99)
    deepest = inside.flatten(1).amax(1)
    factor = (outlines.sum((1, 2, 3)) / masks[0].sum()).sqrt()
    own = to_density(unit)[0, 0, 23, 23]
    least = own * torch.minimum(torch.ones(()), factor.pow(-1.5))
    most = own * torch.maximum(torch.ones(()), factor.pow(-1.5))
    assert (deepest > 0.85 * least).all()
    assert (deepest < 1.15 * most).all()


def test_a_crop_that_is_all_cell_stays():
    unit, _ = scene(5)
    everything = torch.ones(5, 1, SIDE, SIDE)
    same, masks = spread_cells(unit, everything, generator(), shrunken=0.5, spread=0.5)
    torch.testing.assert_close(same, unit, atol=1e-4, rtol=0)
    torch.testing.assert_close(masks, everything)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_of_the_crops_is_bent(share: float):
    field = bend(300, 40, generator(), strength=0.1, share=share)
    assert field.shape == (300, 40, 40, 2)
    bent = field.abs().flatten(1).amax(1) > 0
    assert abs(float(bent.float().mean()) - share) < 0.1
    assert field.std() < 0.1


def test_bending_is_smooth():
    field = bend(50, 96, generator(), strength=0.1, share=1.0)
    steps = (field[:, 1:] - field[:, :-1]).abs().amax()
    assert steps < 0.04  # of half windows a pixel, where 2 / 96 is the distance of neighbours
