"""What a map says in words, on cells that are drawn for it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cytodiffusion.counterfactual.heatmap import Heatmap, HeatmapSettings
from cytodiffusion.counterfactual.wording import describe, stain_change, version_of

SIDE, UM = 128, 20.0
PAPER = np.array([240, 235, 230], np.float32)
NUCLEUS, PINK, BLUE, RED = (90, 40, 140), (225, 190, 205), (170, 185, 225), (225, 120, 110)


def _discs(radius: float, at: tuple[float, float] = (0, 0)) -> NDArray[np.bool_]:
    axis = np.arange(SIDE) - SIDE / 2
    return np.asarray(np.hypot(axis[:, None] - at[0], axis - at[1]) < radius)


def cell(
    cytoplasm: tuple[int, int, int], nucleus: float, lobes: bool = False, grain: float = 0
) -> NDArray[np.uint8]:
    image = np.broadcast_to(PAPER, (SIDE, SIDE, 3)).copy()
    inside = _discs(45)
    image[inside] = cytoplasm
    if grain:
        dots = np.random.default_rng(0).random((SIDE, SIDE)) < 0.08
        image[inside & dots] -= grain
    where = _discs(nucleus)
    if lobes:
        where = _discs(13, (-16, -6)) | _discs(13, (16, -6)) | _discs(12, (0, 18))
    image[where] = NUCLEUS
    return np.clip(image, 0, 255).astype(np.uint8)


def between(before: NDArray[np.uint8], after: NDArray[np.uint8], method: str = "edited") -> Heatmap:
    """The map that one picture less the other makes."""
    change = (after.astype(np.float32) - before) / (PAPER / 0.92)
    flat = np.zeros((SIDE, SIDE), np.float32)
    settings = HeatmapSettings(method=method)  # type: ignore[arg-type]
    values = change.mean(axis=2)
    return Heatmap(
        0, 1, "a", "basophil", values, change, flat, flat, 1.0, before, PAPER, settings, UM
    )


MASK = _discs(45)
PLAIN = cell(PINK, 24)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (cell(PINK, 32), "nucleus larger"),
        (cell(PINK, 17), "nucleus smaller"),
        (cell(RED, 24), "cytoplasm redder"),
        (cell(BLUE, 24), "bluer"),
        (cell(PINK, 24, grain=60), "more granular"),
        (cell(PINK, 24, lobes=True), "more lobed"),
        (cell(PINK, 0), "nucleus hidden"),
    ],
)
def test_what_was_changed_is_what_is_said(after: NDArray[np.uint8], words: str) -> None:
    sentence = describe(between(PLAIN, after), MASK)
    assert sentence.startswith("To pass as basophil: ")
    assert sentence.endswith(".")
    assert words in sentence


def test_there_and_back_say_the_opposite() -> None:
    there = describe(between(PLAIN, cell(RED, 24)), MASK)
    back = describe(between(cell(RED, 24), PLAIN), MASK)
    assert "redder" in there
    assert "less red" in back
    assert "larger" not in there + back


def test_nothing_that_changes_is_said_to_be_hardly_anything() -> None:
    assert describe(between(PLAIN, PLAIN), MASK) == ("Hardly anything has to change for basophil.")


def test_published_maps_are_too_faint_for_words() -> None:
    assert describe(between(PLAIN, cell(RED, 24), "published"), MASK) == ""


def test_a_cell_without_a_nucleus_is_spoken_of_as_a_whole() -> None:
    sentence = describe(between(cell(PINK, 0), cell(RED, 0)), MASK)
    assert "cell " in sentence
    assert "redder" in sentence
    assert "nucleus" not in sentence


def test_without_a_mask_the_stained_part_is_the_cell() -> None:
    assert "nucleus larger" in describe(between(PLAIN, cell(PINK, 32)))


def test_eosin_is_told_from_nuclear_dye() -> None:
    ring = _discs(44) & ~_discs(30)
    redder = stain_change(between(PLAIN, cell(RED, 24)), MASK)[ring].mean(axis=0)
    bluer = stain_change(between(PLAIN, cell(BLUE, 24)), MASK)[ring].mean(axis=0)
    assert redder[1] > 0.2 > abs(redder[0])
    assert bluer[0] > 0.2
    assert redder[2] < 0  # and both are darker
    assert bluer[2] < 0


def test_the_version_is_the_cell_with_its_change() -> None:
    after = cell(RED, 24)
    np.testing.assert_allclose(version_of(between(PLAIN, after)), after, atol=0.01)
