from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytodiffusion.errors import InputError
from cytodiffusion.image.stain import background_map, estimate_background, optical_density


def smear(colour: tuple[int, int, int], covered: float, side: int = 200) -> np.ndarray:
    """Discs that absorb half the light on a plain background, up to the share covered."""
    image = np.full((side, side, 3), colour, np.float32)
    rng = np.random.default_rng(0)
    mask = np.zeros((side, side), np.uint8)
    while mask.mean() < covered:
        x, y = rng.integers(0, side, 2).tolist()
        cv2.circle(mask, (x, y), 18, 1, -1)
    image[mask > 0] *= (0.75, 0.5, 0.6)
    image += rng.normal(0, 1.5, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", [(255, 255, 255), (250, 235, 170), (120, 150, 150)])
@pytest.mark.parametrize("covered", [0.0, 0.3, 0.7])
def test_background_of_a_plain_slide(colour: tuple[int, int, int], covered: float) -> None:
    found = estimate_background(smear(colour, covered))
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array(colour, np.float32), abs=4)


def test_a_glare_spot_is_not_the_background() -> None:
    image = smear((150, 150, 150), 0.3).astype(np.float32)
    rows, columns = np.ogrid[:200, :200]
    image += 100 * np.exp(-((rows - 80) ** 2 + (columns - 80) ** 2) / 15**2)[..., None]
    found = estimate_background(np.clip(image, 0, 255).astype(np.uint8))
    assert found == pytest.approx(np.full(3, 150, np.float32), abs=8)


@pytest.mark.parametrize("radius", [40, 60])
def test_a_glare_that_is_large_and_flat_betrays_itself_by_its_colour(radius: int) -> None:
    image = smear((130, 180, 160), 0.3)
    rows, columns = np.ogrid[:200, :200]
    image[np.hypot(rows - 200, columns) < 2 * radius] = (95, 254, 240)
    assert estimate_background(image) == pytest.approx(np.array((130.0, 180, 160)), abs=6)


def test_where_all_empty_slide_is_glare_nothing_is_brighter_than_the_background() -> None:
    image = np.full((200, 200, 3), (150, 100, 120), np.uint8)  # red cells everywhere
    image[:70] = (105, 254, 230)
    found = estimate_background(image)
    assert (found >= (149, 250, 226)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_background_of_one_colour_is_that_colour(height: int, width: int, value: int) -> None:
    found = estimate_background(np.full((height, width, 3), value, np.uint8))
    assert found == pytest.approx(np.full(3, max(value, 1), np.float32))


@pytest.mark.parametrize("shape", [(0, 0, 3), (4, 4), (4, 4, 1)])
def test_no_rgb_image_is_an_input_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="RGB"):
        estimate_background(np.zeros(shape, np.uint8))


def test_background_map_follows_uneven_light_and_glare() -> None:
    image = smear((200, 200, 200), 0.25, side=300).astype(np.float32)
    light = np.linspace(1, 0.8, 300, dtype=np.float32)[None, :, None]
    rows, columns = np.ogrid[:300, :300]
    light = light + 0.2 * np.exp(-((rows - 150) ** 2 + (columns - 150) ** 2) / 40**2)[..., None]
    found = background_map(np.clip(image * light, 0, 255).astype(np.uint8))
    assert found.shape == (300, 300, 3)
    off = np.abs(found / (200 * light) - 1)
    assert np.percentile(off, 95) < 0.06


def test_optical_density_is_zero_on_the_slide_and_adds_up() -> None:
    slide = np.full(3, 200, np.float32)
    light = (slide + 4)[None] * np.exp(-np.array([[0.0], [0.5], [1.0]])) - 4
    found = optical_density(light.astype(np.float32), slide)
    assert found[:, 0] == pytest.approx([0, 0.5, 1.0], abs=1e-5)
