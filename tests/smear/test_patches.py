"""Cells as movable pieces of density."""

from __future__ import annotations

import numpy as np
import pytest

from cytodiffusion.smear.patches import (
    Patch,
    filled,
    largest_piece,
    lay,
    resized,
    turn,
    waves,
    window,
)


def _disc(radius: float, side: int) -> Patch:
    line = np.arange(side) - (side - 1) / 2
    solid = np.hypot(line[:, None], line[None, :]) < radius
    return Patch(np.repeat(solid[..., None], 3, axis=2).astype(np.float32), solid)


def test_densities_add_and_are_cut_at_the_border() -> None:
    field = np.zeros((40, 50, 3), np.float32)
    patch = _disc(8, 21)
    lay(field, patch, (20, 25))
    once = field.sum()
    lay(field, patch, (20, 25))
    assert field.max() == 2.0
    assert field.sum() == pytest.approx(2 * once)
    lay(field, patch, (0, 0))
    lay(field, patch, (-100, 10))
    assert field[0, 0, 0] == 1.0


@pytest.mark.parametrize("centre", [(-20, 5), (5, 70), (60.4, 5)])
def test_no_window_outside_the_field(centre: tuple[float, float]) -> None:
    assert window((40, 50), (11, 11), centre) is None


def test_turning_keeps_size_and_stain() -> None:
    patch = _disc(15, 41)
    turned = turn(patch, np.random.default_rng(0), stretch=0.0)
    assert turned.radius == pytest.approx(patch.radius, rel=0.06)
    assert turned.density.sum() == pytest.approx(patch.density.sum(), rel=0.05)
    again = turn(patch, np.random.default_rng(0), stretch=0.0)
    np.testing.assert_array_equal(turned.density, again.density)


def test_resizing() -> None:
    patch = _disc(15, 41)
    assert resized(patch, 1) is patch
    assert resized(patch, 0.5).radius == pytest.approx(7.5, rel=0.1)


def test_masks() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:9, 2:9] = True
    mask[4:6, 4:6] = False
    mask[15, 15] = True
    assert filled(mask)[4, 4]
    assert not filled(mask)[0, 0]
    assert largest_piece(mask)[2, 2]
    assert not largest_piece(mask)[15, 15]


@pytest.mark.parametrize("sigma", [0.7, 3.0, 40.0])
def test_waves_are_standardised(sigma: float) -> None:
    field = waves((60, 90), sigma, np.random.default_rng(1))
    assert field.shape == (60, 90)
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, rel=1e-3)
