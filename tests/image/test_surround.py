"""A frame, an eyepiece or a stopped-down edge is told from the field."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_fields import Field, red_field
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cytodiffusion.image.surround import inside, surround


@pytest.fixture(scope="module")
def field() -> NDArray[np.uint8]:
    drawn = red_field()
    drawn.white_cell(20, 100)  # a nucleus at the border
    return drawn.image()


def test_a_plain_field_has_none(field: NDArray[np.uint8]) -> None:
    assert not surround(field).any()
    part = inside(field)
    assert part.rgb is field
    assert part.filled is None


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
    part = inside(rgb)
    assert part.filled is not None
    kept = ~part.filled
    np.testing.assert_array_equal(part.rgb[kept], rgb[part.window][kept])
    assert part.rgb[part.filled].max(axis=1).min() > 62
    assert abs(float(part.rgb.mean()) - float(part.rgb[kept].mean())) < 6


def test_a_frame_is_cut_off(field: NDArray[np.uint8]) -> None:
    part = inside(np.pad(field, ((7, 0), (20, 9), (0, 0))))
    assert part.filled is None
    rows, columns = part.window
    assert (rows.stop, columns.stop) == (7 + field.shape[0], 20 + field.shape[1])
    assert (rows.start, columns.start) == (7, 20)


def test_the_soft_rim_of_a_frame_goes_with_it(field: NDArray[np.uint8]) -> None:
    framed = cv2.GaussianBlur(np.pad(field, ((9, 9), (9, 9), (0, 0))), (0, 0), 1.2)
    part = inside(framed)
    edges = (part.rgb[0], part.rgb[-1], part.rgb[:, 0], part.rgb[:, -1])
    assert all(float(edge.mean()) > 0.85 * float(field.mean()) for edge in edges)


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
