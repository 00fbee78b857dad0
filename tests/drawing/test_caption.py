"""Captions under pictures: the picture stays, and no word is cut off."""

from __future__ import annotations

import numpy as np
import pytest

from cytodiffusion.drawing.caption import captioned
from cytodiffusion.drawing.gallery import PAPER


@pytest.mark.parametrize("width", [160, 384, 800])
@pytest.mark.parametrize(
    "text",
    [
        "synthetic version: basophil",
        "synthetic: changed towards immature granulocyte, still taken for immature granulocyte",
    ],
)
def test_the_text_fits_into_its_strip(width: int, text: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, width, 3), np.uint8)
    made = captioned(picture, text)
    np.testing.assert_array_equal(made[:64], picture)
    ink = (made[64:] != PAPER).any(axis=2)
    assert ink.any()
    assert not ink[[0, -1]].any()
    assert not ink[:, [0, -1]].any()


def test_strips_are_of_one_height_whatever_is_said() -> None:
    picture = np.zeros((32, 200, 3), np.uint8)
    assert captioned(picture, "synthetic").shape == captioned(picture, "synthetic " * 12).shape
