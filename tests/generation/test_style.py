"""Drawn cells in the stain of another image."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.generation import GenerationSettings
from cytodiffusion.generation.generate import generate
from cytodiffusion.generation.style import (
    Restain,
    StainColours,
    colours_drawn,
    recoloured,
    stain_colours,
)
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.testing import tiny_bundle

Colour = tuple[float, float, float]
VIOLET = StainColours((235, 235, 235), (0.25, 0.36, 0.18), (1.2, 1.9, 0.4))
GREENISH = StainColours((180, 220, 190), (0.05, 0.6, 0.3), (0.9, 1.3, 0.3))


def colour(background: Colour, density: Colour) -> NDArray[np.uint8]:
    light = (np.asarray(background) + 4) * np.exp(-np.asarray(density)) - 4
    return light.round().astype(np.uint8)


def smear(stain: StainColours, nuclei: bool = True) -> NDArray[np.uint8]:
    """Discs of red cells, and of nuclei, on an empty slide."""
    rgb = np.empty((200, 300, 3), np.uint8)
    rgb[:] = np.asarray(stain.background, np.uint8)
    y, x = np.mgrid[:200, :300]
    for row in range(30, 200, 60):
        for column in range(30, 300, 60):
            rgb[np.hypot(y - row, x - column) < 20] = colour(stain.background, stain.red)
    if nuclei and stain.nuclear is not None:
        rgb[np.hypot(y - 90, x - 150) < 16] = colour(stain.background, stain.nuclear)
    return rgb


@pytest.mark.parametrize("stain", [VIOLET, GREENISH])
def test_the_colours_of_a_smear_are_found(stain: StainColours) -> None:
    found = stain_colours(smear(stain))
    assert found.nuclear is not None
    for name, value in asdict(stain).items():
        atol = 3 if name == "background" else 0.06
        np.testing.assert_allclose(getattr(found, name), value, atol=atol)


def test_a_smear_without_white_cells_has_no_nuclei() -> None:
    assert stain_colours(smear(VIOLET, nuclei=False)).nuclear is None


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(InputError, match="shows no cells"):
        stain_colours(np.full((64, 64, 3), 230, np.uint8))


def test_red_cells_nuclei_and_slide_take_the_other_stain() -> None:
    there = recoloured(smear(VIOLET)[None], VIOLET, GREENISH)[0].astype(int)
    wanted = smear(GREENISH).astype(int)
    for place in ((5, 5), (30, 30), (90, 150)):
        assert np.abs(there[place] - wanted[place]).max() <= 6


def test_without_nuclei_the_red_cells_alone_decide() -> None:
    bare = StainColours(GREENISH.background, GREENISH.red, None)
    there = recoloured(smear(VIOLET)[None], VIOLET, bare)[0].astype(int)
    assert np.abs(there[30, 30] - smear(GREENISH)[30, 30].astype(int)).max() <= 6


@given(st.integers(0, 2**32 - 1))
def test_a_stain_is_left_as_it_is_by_itself(seed: int) -> None:
    cells = np.random.default_rng(seed).integers(20, 236, (1, 16, 16, 3)).astype(np.uint8)
    same = recoloured(cells, VIOLET, VIOLET).astype(int)
    assert np.abs(same - cells).max() <= 1


def test_cells_are_judged_as_drawn_and_say_whose_stain_they_have(tmp_path: Path) -> None:
    model = load_bundle(tiny_bundle(tmp_path / "tiny", ("basophil", "monocyte")), device="cpu")
    settings = GenerationSettings(steps=2, reject=False)
    plain = generate(model, {"basophil": 2}, settings)
    assert plain.record()["stain"] is None
    seen: list[NDArray[np.uint8]] = []
    other = generate(
        model,
        {"basophil": 2},
        settings,
        stain_of=smear(GREENISH),
        preview=lambda _places, cells: seen.append(cells),
    )
    assert other.record()["stain"]["background"] == pytest.approx((180, 220, 190), abs=2)
    assert np.array_equal(plain.confidence, other.confidence)
    restain = Restain(colours_drawn(model), stain_colours(smear(GREENISH)))
    assert np.array_equal(other.pixels, restain(plain.pixels))
    assert seen
