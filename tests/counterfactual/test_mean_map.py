"""The mean map of a class: what cells have in common, wherever they lie and however they turn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from matplotlib.text import Text
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.counterfactual.figures import mean_figure
from cytodiffusion.counterfactual.files import save_mean_map
from cytodiffusion.counterfactual.heatmap import Heatmap, HeatmapSettings
from cytodiffusion.counterfactual.mean_map import mean_map, pairs_of
from cytodiffusion.counterfactual.wording import Finding, describe_mean
from cytodiffusion.errors import InputError

SIDE, UM = 96, 20.0
PAPER = np.array([240, 235, 230], np.float32)


def heatmap(angle: float, shift: tuple[float, float] = (0, 0), change: float = -0.2) -> Heatmap:
    """A cell with a long nucleus at an angle, beside which something changes; and its mask."""
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    turn = np.deg2rad(angle)
    y, x = axis[:, None] - shift[0], axis[None] - shift[1]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = np.hypot(along, across) < 34
    nucleus = (along / 24) ** 2 + ((across - 8) / 9) ** 2 < 1
    spot = np.hypot(along, across + 16) < 8  # on the other side of the middle than the nucleus
    crop = np.where(
        nucleus[..., None], (90, 40, 140), np.where(inside[..., None], (225, 190, 205), PAPER)
    )
    values = np.where(spot, np.float32(change), np.float32(0))
    flat = np.zeros((SIDE, SIDE), np.float32)
    change = np.repeat(values[..., None], 3, axis=2)
    return Heatmap(
        predicted=2,
        target=1,
        predicted_name="eosinophil",
        target_name="neutrophil",
        values=values,
        change=change,
        null_std=flat,
        null=flat,
        convergence=1.0,
        crop=crop.astype(np.uint8),
        background=PAPER,
        settings=HeatmapSettings(),
        window_um=UM,
    )


def mask_of(one: Heatmap) -> NDArray[np.bool_]:
    return np.asarray((one.crop < 228).any(axis=2))


@pytest.fixture(scope="module")
def turned() -> list[Heatmap]:
    places = [(0, (0, 0)), (77, (4, -3)), (140, (-5, 2)), (200, (1, 6)), (301, (-2, -4))]
    return [heatmap(angle, shift) for angle, shift in places]


def test_cells_are_laid_on_one_another_before_they_are_averaged(turned: list[Heatmap]) -> None:
    mean = mean_map(turned, [mask_of(one) for one in turned])
    assert mean.cells == 5
    # the spot is whole in the mean, above the nucleus, as it is in each cell
    assert mean.heatmap.values.min() == pytest.approx(-0.2, abs=0.02)
    y, x = ndimage.center_of_mass(mean.heatmap.values < -0.1)
    assert (y - 47.5, x - 47.5) == pytest.approx((-16, 0), abs=1.5)
    nucleus = mean.heatmap.crop[..., 0] < 120
    assert ndimage.center_of_mass(nucleus)[0] - 47.5 == pytest.approx(8, abs=1.5)
    assert np.ptp(np.argwhere(nucleus)[:, 1]) > 2 * np.ptp(np.argwhere(nucleus)[:, 0])
    assert mean.mask.mean() == pytest.approx(mask_of(turned[0]).mean(), abs=0.02)
    assert mean.heatmap.convergence > 0.95
    assert mean.heatmap.thresholded().min() < -0.15


def test_what_differs_from_cell_to_cell_is_not_shown(turned: list[Heatmap]) -> None:
    signs = [1, -1, 1, -1, 1]
    mixed = [
        replace(one, values=s * one.values / 4, change=s * one.change / 4)
        for s, one in zip(signs, turned, strict=True)
    ]
    mean = mean_map(mixed, [mask_of(one) for one in mixed])
    assert not mean.heatmap.thresholded().any()
    assert not mean.reliable_stains()[..., :2].any()
    assert mean.heatmap.values.any()
    same = mean_map(turned)
    assert same.reliable_stains()[..., 0].any()


def test_cells_of_other_slides_count_alike(turned: list[Heatmap]) -> None:
    dim = [
        replace(one, crop=(one.crop * 0.7).astype(np.uint8), background=PAPER * 0.7)
        for one in turned[:2]
    ]
    mean = mean_map([*dim, *turned[2:]])
    corner = mean.heatmap.crop[0, 0]
    np.testing.assert_allclose(corner, mean.heatmap.background, atol=2)
    np.testing.assert_allclose(mean.heatmap.background, PAPER * 0.88, atol=1)


def finding(size: float, more: str = "darker", less: str = "paler") -> Finding:
    return Finding("nucleus", more, less, size)


def test_the_sentence_says_what_most_cells_need() -> None:
    cells = [[finding(3.0), finding(s, "larger", "smaller")] for s in (2.0, -2.5, 2.2, -1.9)]
    sentence = describe_mean(cells, "eosinophil", "neutrophil")
    assert (
        sentence
        == "To pass as neutrophil, cells taken for eosinophil need: nucleus darker (4 of 4)."
    )
    lone = [[finding(9.0)], [], [], []]  # one cell of four says nothing of the class
    assert "differs from cell to cell" in describe_mean(lone, "eosinophil", "neutrophil")
    back = [[finding(-3.0)], [finding(-2.0)], [finding(-2.5)], [finding(0.1)]]
    assert "paler (3 of 4)" in describe_mean(back, "a", "b")


def test_groups_are_of_one_pair_of_classes_each(turned: list[Heatmap]) -> None:
    other = [replace(one, target=4) for one in turned[:4]]
    published = replace(turned[0], settings=HeatmapSettings(method="published"))
    groups = pairs_of([*turned[:3], *other, *turned[3:], published, replace(turned[0], target=7)])
    assert groups == [[0, 1, 2, 7, 8], [3, 4, 5, 6]]


def test_what_makes_no_mean_is_refused_in_one_sentence(turned: list[Heatmap]) -> None:
    with pytest.raises(InputError, match="at least 3 cells"):
        mean_map(turned[:2])
    with pytest.raises(InputError, match="one target"):
        mean_map([*turned[:3], replace(turned[3], target_name="basophil")])
    published = replace(turned[0], settings=HeatmapSettings(method="published"))
    with pytest.raises(InputError, match="edited heatmaps"):
        mean_map([published, *turned])


def test_it_is_saved_with_figure_and_record(turned: list[Heatmap], tmp_path: Path) -> None:
    mean = mean_map(turned)
    files = save_mean_map(tmp_path / "m", mean, {"image": "slide.tif"})
    assert sorted(files) == ["mean.json", "mean.png", "mean.tif"]
    np.testing.assert_allclose(tifffile.imread(files["mean.tif"]), mean.heatmap.values)
    record = json.loads(files["mean.json"].read_text())
    assert (record["cells"], record["image"]) == (5, "slide.tif")
    assert record["sentence"] == mean.sentence
    texts = [text.get_text() for text in mean_figure(mean).findobj(Text)]
    assert any("mean of 5 cells" in text for text in texts)
    assert any(text.startswith("synthetic") for text in texts)
