"""A frame, an eyepiece or a stopped-down edge is told from the field."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_fields import Field, red_field
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cytodiffusion.image.surround import surround, without_surround


@pytest.fixture(scope="module")
def field() -> NDArray[np.uint8]:
    drawn = red_field()
    drawn.white_cell(20, 100)  # a nucleus at the border
    return drawn.image()


def test_a_plain_field_has_none(field: NDArray[np.uint8]) -> None:
    assert not surround(field).any()
    same, filled = without_surround(field)
    assert same is field
    assert filled is None


_FIELD = red_field().image()


@settings(max_examples=40, deadline=None)
@given(
    widths=st.tuples(*[st.integers(0, 90)] * 4).filter(any),
    shade=st.one_of(st.integers(0, 185), st.just(255)),  # others are as the empty slide
)
def test_frames_of_any_width_and_shade(widths: tuple[int, int, int, int], shade: int) -> None:
    rgb = _FIELD.copy()
    top, bottom, left, right = widths
    framed = np.ones(rgb.shape[:2], bool)
    framed[top : rgb.shape[0] - bottom, left : rgb.shape[1] - right] = False
    rgb[framed] = shade
    found = surround(rgb)
    assert found[framed].all()
    assert found.mean() < framed.mean() + 0.06


@pytest.mark.parametrize("radius", [150, 220, 290])
@pytest.mark.parametrize("shade", [0, 45])
@pytest.mark.parametrize("off", [0, 40])
def test_an_eyepiece(field: NDArray[np.uint8], radius: int, shade: int, off: int) -> None:
    rows, columns = np.ogrid[: field.shape[0], : field.shape[1]]
    dark = (rows - 200 - off) ** 2 + (columns - 260) ** 2 > radius**2
    rgb = np.where(dark[..., None], np.uint8(shade), field)
    found = surround(rgb)
    assert found[dark].mean() > 0.999
    assert found[~dark].mean() < 0.08
    filled, where = without_surround(rgb)
    assert where is not None
    assert np.abs(filled[where].astype(int) - [215, 215, 205]).max() < 12
    np.testing.assert_array_equal(filled[~where], rgb[~where])


def test_nothing_but_dark_stays_as_it_is() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    assert not surround(black).any()
    assert not surround(np.full((60, 80, 3), 255, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 100), (8, 8)])
def test_tiny_pictures(shape: tuple[int, int]) -> None:
    assert surround(np.zeros((*shape, 3), np.uint8)).shape == shape


def test_a_dark_cell_at_the_border_is_no_frame() -> None:
    drawn = Field((200, 200))
    for y in (0, 60, 199):
        drawn.white_cell(y, 100)
    drawn.absorbed *= 1.2
    assert not surround(drawn.image()).any()
