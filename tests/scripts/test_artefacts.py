"""Procedural artefacts and red cells for training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts.default_data.artefacts import (
    artefact_kinds,
    clear_centre,
    make_artefact,
    make_red_cell,
)

from cytodiffusion.errors import InputError

PAPER = np.array([255, 228, 200], float)


def _disc(pixels: np.ndarray, centre: tuple[float, float], radius: float, colour: object) -> None:
    yy, xx = np.indices(pixels.shape[:2])
    pixels[np.hypot(yy - centre[0], xx - centre[1]) < radius] = colour


def _drawn(seed: int) -> np.ndarray:
    """A white cell with a nucleus between five red cells, flat colours, some noise."""
    rng = np.random.default_rng(seed)
    pixels = np.broadcast_to(PAPER, (264, 264, 3)).copy()
    for angle in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0, 1):
        place = (132 + 92 * np.sin(angle), 132 + 92 * np.cos(angle))
        _disc(pixels, place, 34, (205, 170, 165))
        _disc(pixels, place, 10, (240, 210, 190))
    _disc(pixels, (132, 132), 46, (180, 165, 195))
    _disc(pixels, (132, 132), 34, (75, 50, 120))
    return np.clip(pixels + rng.normal(0, 1, pixels.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn() -> list[np.ndarray]:
    return [_drawn(seed) for seed in range(4)]


def _red_density(image: np.ndarray, radius: int) -> float:
    """Mean density of the red channel, which only nuclei absorb, within a radius."""
    yy, xx = np.indices(image.shape[:2])
    near = np.hypot(yy - image.shape[0] / 2, xx - image.shape[1] / 2) < radius
    return float(-np.log((image[near][:, 0] + 1.0) / 256).mean())


@pytest.mark.parametrize("kind", artefact_kinds)
def test_every_kind_is_made_and_depends_only_on_the_seed(kind: str, drawn: list) -> None:
    first, again, other = (make_artefact(drawn, kind, np.random.default_rng(s)) for s in (3, 3, 4))
    assert first.shape == (264, 264, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_photographs_stay_as_they_are(drawn: list) -> None:
    before = [image.copy() for image in drawn]
    for kind in artefact_kinds:
        make_artefact(drawn, kind, np.random.default_rng(0))
    for image, kept in zip(drawn, before, strict=True):
        np.testing.assert_array_equal(image, kept)


def test_the_central_cell_is_gone(drawn: list) -> None:
    for seed, image in enumerate(drawn):
        cleared = clear_centre(image, np.random.default_rng(seed))
        assert _red_density(image, 30) > 0.8
        assert (-np.log((cleared[..., 0] + 1.0) / 256)).max() < 0.75


def test_the_gap_left_behind_has_no_seam(drawn: list) -> None:
    """Where nothing was put back, the slide is as smooth and bright as elsewhere."""
    image = np.broadcast_to(PAPER, (264, 264, 3)).astype(np.uint8).copy()
    _disc(image, (132, 132), 40, (75, 50, 120))
    cleared = clear_centre(image, np.random.default_rng(0)).astype(float)
    assert np.abs(cleared - PAPER).max() < 6


def test_fragments_are_beside_the_centre(drawn: list) -> None:
    for seed in range(6):
        image = make_artefact(drawn, "fragment", np.random.default_rng(seed))
        ys, xs = np.nonzero(image[..., 0] < 110)
        off_um = np.hypot(ys.mean() - 132, xs.mean() - 132) / 10
        assert 4.5 < off_um < 9.5


def test_precipitate_is_dark_and_empty_is_bright(drawn: list) -> None:
    rngs = [np.random.default_rng(seed) for seed in range(6)]
    dark = [_red_density(make_artefact(drawn, "precipitate", rng), 40) for rng in rngs]
    bright = [_red_density(make_artefact([drawn[0]], "empty", rng), 40) for rng in rngs]
    assert np.median(dark) > 0.05 + np.median(bright)


def test_red_cells_are_in_the_centre(drawn: list) -> None:
    for seed in range(4):
        image = make_red_cell(drawn, np.random.default_rng(seed))
        assert _red_density(image, 30) < 0.5
        assert image[132 - 25 : 132 + 25, 132 - 25 : 132 + 25, 1].mean() < 215


def test_unusable_input_is_one_sentence(drawn: list) -> None:
    rng = np.random.default_rng(0)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: make_artefact(drawn, "ghost", rng), "no kind of artefact"),
        (lambda: make_artefact([], "empty", rng), "at least one"),
        (lambda: clear_centre(np.zeros((264, 264), np.uint8), rng), "8-bit RGB"),
        (lambda: clear_centre(np.zeros((20, 20, 3), np.uint8), rng), "96 x 96"),
        (lambda: make_red_cell([np.full((264, 264, 3), 230, np.uint8)], rng), "red cell"),
        (lambda: make_artefact([np.full((264, 264, 3), 230, np.uint8)], "smudge", rng), "white"),
    ]
    for call, words in cases:
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.data
def test_real_photographs_lose_their_white_cell(data_root: Path) -> None:
    files = sorted((data_root / "pbc" / "train").glob("*/*.jpg"))[::700]
    for k, path in enumerate(files):
        image = np.asarray(Image.open(path).convert("RGB"))
        cleared = clear_centre(image, np.random.default_rng(k))
        assert _red_density(cleared, 25) < 0.35
