"""Surroundings: they fade or change places, and the cell stays."""

from __future__ import annotations

import torch

from cytodiffusion.training.augmentation.outlines import exchange, leave_alone


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def middle(n: int, size: int = 8) -> torch.Tensor:
    masks = torch.zeros(n, 1, size, size)
    masks[:, :, 2:6, 2:6] = 1
    return masks


def test_surroundings_fade_and_the_cell_stays():
    unit = torch.full((3, 3, 8, 8), 0.4)
    masks = middle(3)
    faded = leave_alone(unit, masks, generator(), largest=0.5)
    assert torch.allclose(faded[:, :, 2:6, 2:6], unit[:, :, 2:6, 2:6])
    assert (faded[:, :, 0] > 0.6).all()
    assert (faded <= 0.92 + 1e-6).all()


def test_cells_move_among_others_and_stay_as_they_are():
    levels = torch.linspace(0.2, 0.8, 6)
    unit = levels[:, None, None, None].expand(6, 3, 8, 8).clone()
    moved = exchange(unit, middle(6), generator(), share=1.0)
    assert torch.allclose(moved[:, :, 2:6, 2:6], unit[:, :, 2:6, 2:6], atol=1e-5)
    around = moved[:, 0, 0, 0]
    assert (around - levels).abs().min() > 0.05  # nobody kept its own
    assert torch.allclose(around.sort().values, levels, atol=1e-5)


def test_where_the_other_cell_was_is_empty_slide():
    unit = torch.full((2, 3, 8, 8), 0.3)
    masks = middle(2)
    masks[0] = 0  # a cell that covers nothing shows what is left of the other's picture
    moved = exchange(unit, masks, generator(), share=1.0)
    assert torch.allclose(moved[0, :, 2:6, 2:6], torch.tensor(0.92), atol=1e-5)
    assert torch.allclose(moved[0, :, 0], torch.tensor(0.3), atol=1e-5)


def test_nothing_moves_where_nothing_should():
    unit = torch.rand(5, 3, 8, 8, generator=generator(3)) * 0.8 + 0.1
    assert torch.allclose(exchange(unit, middle(5), generator(), share=0.0), unit, atol=1e-5)
    moved = exchange(unit.repeat(40, 1, 1, 1), middle(200), generator(1), share=0.3) - unit.repeat(
        40, 1, 1, 1
    )
    changed = moved.abs().flatten(1).amax(1) > 1e-4
    assert 30 < int(changed.sum()) < 90
