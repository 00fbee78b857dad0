from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from cytodiffusion.errors import InputError
from napari_cytodiffusion.layers.placement import (
    NOTE,
    colormap_of,
    is_cells,
    is_image,
    pixel_size_of,
    placement,
)
from napari_cytodiffusion.layers.results import percent
from napari_cytodiffusion.workers import duration


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ((0.1, 0.1), ("um", "um"), 0.1),
        ((100, 100), ("nm", "nm"), 0.1),
        ((1e-4, 1e-4), ("mm", "mm"), 0.1),
        ((1, 1), ("pixel", "pixel"), None),
        ((0.1, 0.1), ("pixel", "pixel"), None),
    ],
)
def test_pixel_size_from_units(scale, units, expected):
    layer = Image(np.zeros((4, 4)), scale=scale, units=units)
    size = pixel_size_of(layer)
    assert size is None if expected is None else size == pytest.approx(expected)


def test_pixel_size_that_was_noted_counts_where_units_say_nothing():
    layer = Labels(np.zeros((4, 4), int), metadata={NOTE: {"pixel_size_um": 0.2}})
    assert pixel_size_of(layer) == pytest.approx(0.2)


def test_pixels_that_are_not_square_are_an_error():
    with pytest.raises(InputError, match="not square"):
        pixel_size_of(Image(np.zeros((4, 4)), scale=(0.1, 0.2), units=("um", "um")))


def test_placement_copies_every_transform():
    source = Image(
        np.zeros((4, 5, 3), np.uint8),
        rgb=True,
        scale=(0.1, 0.1),
        translate=(3, 4),
        rotate=30,
        shear=[0.2],
        units=("um", "um"),
        axis_labels=("y", "x"),
        affine=[[1, 0.1, 5], [0, 1, 6], [0, 0, 1]],
    )
    copy = Labels(np.zeros((4, 5), int), **placement(source))
    for point in ((0, 0), (3, 4), (1, 2)):
        np.testing.assert_allclose(copy.data_to_world(point), source.data_to_world(point))
    assert copy.units == source.units
    assert copy.axis_labels == source.axis_labels


def test_what_is_an_image_and_what_are_cells():
    assert is_image(Image(np.zeros((4, 4, 3), np.uint8), rgb=True))
    assert is_image(Image(np.zeros((4, 4))))
    assert not is_image(Image(np.zeros((3, 4, 4))))
    assert not is_image(Labels(np.zeros((4, 4), int)))
    assert is_cells(Labels(np.zeros((4, 4), int)))
    assert not is_cells(Labels(np.zeros((4, 4), int), metadata={NOTE: {"role": "class"}}))
    assert not is_cells(Labels(np.zeros((2, 4, 4), int)))


def test_colormap_gives_each_value_its_row():
    colors = np.array([[0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 0, 0.5]])
    layer = Labels(np.array([[0, 1, 2, 9]], np.uint8), colormap=colormap_of(colors))
    np.testing.assert_allclose(layer.get_color(1), colors[1])
    np.testing.assert_allclose(layer.get_color(2), colors[2])
    assert layer.get_color(9)[3] == 0


def test_words():
    assert percent(0.999) == ">99 %"
    assert percent(0.5) == "50 %"
    assert [duration(s) for s in (0.2, 42, 200, 8000)] == ["1 s", "40 s", "3 min", "2.2 h"]
