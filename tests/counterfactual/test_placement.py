"""Heatmaps lie exactly where their crop was cut, also at the border of the image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.counterfactual.placement import Placement
from cytodiffusion.errors import InputError

SHAPE = (120, 150)


def ramps() -> NDArray[np.uint8]:
    """An image whose red is its row and whose green is its column."""
    image = np.zeros((*SHAPE, 3), np.uint8)
    image[..., 0] = np.arange(SHAPE[0])[:, None]
    image[..., 1] = np.arange(SHAPE[1])
    return image


@pytest.mark.parametrize("pixel_size", [0.25, 0.31, 0.8])
@pytest.mark.parametrize("centre", [(60.0, 70.0), (55.3, 81.7)])
def test_what_was_cut_comes_back_to_its_place(
    centre: tuple[float, float], pixel_size: float
) -> None:
    crop = centre_crop(ramps(), pixel_size, 32, 20.0, centre=centre)
    placement = Placement.of_cell(centre, pixel_size, 20.0, 32)
    for channel, axis in ((0, 0), (1, 1)):
        values, offset = placement.to_image(crop[..., channel].astype(float), SHAPE)
        expected = offset[axis] + np.arange(values.shape[axis])
        found = values.mean(axis=1 - axis)
        inner = slice(2, -2)  # the outermost have no neighbours to interpolate with
        np.testing.assert_allclose(found[inner], expected[inner], atol=1.0)
        assert abs(np.mean(found[inner] - expected[inner])) < 0.3
    side = 20 / pixel_size
    assert abs(values.shape[0] - side) <= 1
    assert abs(offset[0] + values.shape[0] / 2 - (centre[0] + 0.5)) <= 1


@pytest.mark.parametrize("centre", [(3.0, 4.0), (118.0, 149.0), (60.0, 0.0)])
def test_at_the_border_only_pixels_of_the_image_are_kept(centre: tuple[float, float]) -> None:
    placement = Placement.of_cell(centre, 0.25, 20.0, 32)  # 80 pixels wide
    mark = np.zeros((32, 32))
    mark[15:17, 15:17] = 1
    values, (y, x) = placement.to_image(mark, SHAPE)
    assert 0 <= y < y + values.shape[0] <= SHAPE[0]
    assert 0 <= x < x + values.shape[1] <= SHAPE[1]
    canvas = np.zeros(SHAPE)
    canvas[y : y + values.shape[0], x : x + values.shape[1]] = values
    peak = np.unravel_index(canvas.argmax(), SHAPE)
    assert np.hypot(*(np.array(peak) - centre)) < 3


def test_labels_come_into_the_crop() -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[50:70, 60:90] = 7
    placement = Placement.of_cell((59.5, 74.5), 0.25, 20.0, 40)
    inside = placement.from_image(labels == 7, False)
    assert inside.dtype == bool
    rows, columns = np.nonzero(inside)
    assert (rows.min(), rows.max() + 1) == (15, 25)  # two pixels of the image to one of the crop
    assert (columns.min(), columns.max() + 1) == (12, 28) or abs(columns.mean() - 19.5) < 0.6
    corner = Placement.of_cell((0, 0), 0.25, 20.0, 40).from_image(np.ones(SHAPE, np.int32), -1)
    assert (corner[0] == -1).all()
    assert corner[30, 30] == 1


def test_bad_placements_are_said() -> None:
    placement = Placement.of_cell((60, 70), 0.25, 20.0, 32)
    with pytest.raises(InputError, match="32 x 32"):
        placement.to_image(np.zeros((16, 16)), SHAPE)
    with pytest.raises(InputError, match="outside the image"):
        Placement.of_cell((500, 70), 0.25, 20.0, 32).to_image(np.zeros((32, 32)), SHAPE)


@pytest.mark.parametrize("pixel_size_um", [0.08, 0.1, 0.31])
def test_what_was_not_changed_is_the_image_to_the_pixel(pixel_size_um: float) -> None:
    """At the image's own resolution, whether it is finer or coarser than the crop."""
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (300, 320, 3), np.uint8)
    placement = Placement.of_cell((140.0, 150.0), pixel_size_um, 20.0, 64)
    original = rng.integers(60, 180, (64, 64, 3), np.uint8)
    made = original.copy()
    made[24:40, 28:44] += 40
    keep = np.zeros((300, 320), bool)
    keep[:, :146] = True
    painted, (top, left) = placement.paint(rgb, original, made, keep)
    here = rgb[top : top + painted.shape[0], left : left + painted.shape[1]]
    changed = np.zeros((300, 320), bool)
    changed[top : top + painted.shape[0], left : left + painted.shape[1]] = (painted != here).any(2)
    middle = 150 + round(2.0 / pixel_size_um)
    assert changed[140, middle]
    assert not changed[keep].any()
    reach = 8 * 20 / 64 / pixel_size_um + 3 * max(1, 20 / 64 / pixel_size_um)
    rows, columns = np.nonzero(changed)
    assert np.abs(rows - 140).max() <= reach
    assert columns.max() - 150 <= reach + 4 * 20 / 64 / pixel_size_um
