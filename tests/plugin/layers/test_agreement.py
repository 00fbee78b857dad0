"""Whether an image and the labels of its cells agree."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_cytodiffusion.layers.agreement import disagreements, is_foreign
from napari_cytodiffusion.layers.placement import NOTE, is_image, may_be_cells

UM = {"scale": (0.1, 0.1), "units": ("um", "um")}


def image(shape=(80, 100), **place):
    return Image(np.zeros((*shape, 3), np.uint8), name="smear", rgb=True, **place)


def cells(shape=(80, 100), **place):
    return Labels(np.zeros(shape, int), name="theirs", **place)


@pytest.mark.parametrize(
    "place",
    [
        {},
        UM,
        {**UM, "translate": (5, 7), "rotate": 30},
        {"scale": (100, 100), "units": ("nm",) * 2},
    ],
)
def test_layers_that_lie_on_each_other_agree(place):
    assert disagreements(image(**place), cells(**place)) == []
    other_units = cells(scale=(100, 100), units=("nm", "nm"))
    assert disagreements(image(**UM), other_units) == []


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({}, {"shape": (40, 50)}, ["'theirs' has 50 x 40 pixels and 'smear' 100 x 80"]),
        (UM, {"scale": (0.2, 0.2), "units": ("um", "um")}, ["0.1 \u00b5m", "0.2 \u00b5m", "hand"]),
        (UM, {}, ["'smear' is 0.1 \u00b5m a pixel", "'theirs' 1 without a unit"]),
        ({}, UM, ["'smear' is 1 without a unit", "'theirs' 0.1 \u00b5m a pixel"]),
        ({"scale": (3, 3)}, {}, ["'smear' is 3 without", "'theirs' 1 without"]),
        (UM, {**UM, "translate": (0, 2)}, ["'theirs' is moved or turned"]),
        (UM, {**UM, "rotate": 5}, ["moved or turned"]),
        (UM, {**UM, "affine": [[1, 0, 3], [0, 1, 0], [0, 0, 1]]}, ["moved or turned"]),
        ({"scale": (0.1, 0.2), "units": ("um", "um")}, UM, ["'smear' are not square"]),
    ],
)
def test_what_disagrees_is_named(first, second, words):
    (said,) = disagreements(image(**first), cells(**second))
    for word in words:
        assert word in said


def test_a_typed_pixel_size_is_held_against_that_of_the_cells():
    found = cells(**UM)
    found.metadata[NOTE] = {"pixel_size_um": 0.1}
    assert disagreements(image(**UM), found, 0.101) == []
    (said,) = disagreements(image(**UM), found, 0.2)
    assert "found at 0.1 \u00b5m a pixel, but the pixel size is 0.2" in said


def test_labels_of_others_are_looked_at_and_ours_are_not():
    assert is_foreign(cells())
    ours = cells()
    for note in ({"pixel_size_um": 0.1}, {"method": "watershed"}, {"understood": True}):
        ours.metadata[NOTE] = note
        assert not is_foreign(ours)


def discs():
    labels = np.zeros((80, 100), np.uint8)
    y, x = np.mgrid[:80, :100]
    for number in range(6):
        cy, cx = 20 + 40 * (number // 3), 16 + 33 * (number % 3)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 100] = number + 1
    return labels


@pytest.mark.parametrize("kind", ["labels", "mask", "fractions", "true and false"])
def test_labels_that_opened_as_a_picture_are_cells_and_no_image(kind):
    made = {
        "labels": discs(),
        "mask": np.uint8(255) * (discs() > 0),
        "fractions": discs() / 255,
        "true and false": discs() > 0,
    }[kind]
    layer = Image(made)
    assert may_be_cells(layer)
    assert not is_image(layer)


def test_photographs_in_grey_are_images_and_no_cells():
    rng = np.random.default_rng(0)
    grey = (rng.normal(120, 20, (80, 100)) * (discs() > 0)).clip(0, 255).astype(np.uint8)
    for pixels in (grey, grey.astype(float) / 255, np.zeros((80, 100)), np.full((8, 8), 7)):
        layer = Image(pixels)
        assert is_image(layer)
        assert not may_be_cells(layer)
