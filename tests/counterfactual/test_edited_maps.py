"""Maps of what changes where a cell is drawn as another class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from toys import COLORS, PIXEL_SIZE_UM, disc

from cytodiffusion.cells.single_cell import centre_crop
from cytodiffusion.counterfactual.heatmap import (
    Heatmap,
    HeatmapSettings,
    all_class_heatmaps,
    iter_heatmaps,
    likeliest_other,
    map_size,
)
from cytodiffusion.errors import Cancelled
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.bundle import CellClass
from cytodiffusion.model.testing import tiny_bundle, tiny_generator

GREY = np.full(3, 235, np.float32)
NAMES = ["basophil", "eosinophil", "lymphocyte", "red cell", "artefact"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    model = load_bundle(tiny_bundle(tmp_path_factory.mktemp("m") / "m", NAMES), device="cpu")
    model.generator = tiny_generator(len(NAMES))
    model.classes = grouped(model)
    return model


def grouped(model: ModelBundle) -> tuple[CellClass, ...]:
    """The classes of a model with groups."""
    groups = {"red cell": "red", "artefact": "artefact"}
    return tuple(replace(c, group=groups.get(c.name, "white")) for c in model.classes)


@pytest.fixture(scope="module")
def discs(disc_model: Path) -> ModelBundle:
    return load_bundle(disc_model, device="cpu")


def noise(side: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(60, 230, (side, side, 3), np.uint8)


def one(crop: NDArray[np.uint8], model: ModelBundle, **settings: int) -> Heatmap:
    """Heatmap of class 1 less class 0."""
    asked = HeatmapSettings(**settings)
    (found,) = iter_heatmaps(crop[None], model, [1], predicted=[0], background=GREY, settings=asked)
    return found


def test_what_differs_between_discs_is_their_colour(discs: ModelBundle) -> None:
    blue, red = (discs.class_names.index(name) for name in ("blue", "red"))
    image = disc(COLORS["blue"], np.random.default_rng(0))
    crop = centre_crop(image, PIXEL_SIZE_UM, discs.input_size, discs.window_um)
    (found,) = iter_heatmaps(crop[None], discs, [red], predicted=[blue], background=GREY)
    middle = found.change[12:20, 12:20].mean(axis=(0, 1))
    assert middle[0] > 0 > middle[2]  # more red, less blue
    axis = np.arange(32) - 15.5
    inside = axis[:, None] ** 2 + axis**2 < 9**2
    assert found.energy_share(inside) > 2 * inside.mean()
    assert found.convergence > 0.8


def test_crops_keep_the_size_at_which_cells_are_drawn(tiny: ModelBundle) -> None:
    size = map_size(tiny)
    assert size == tiny.generator.size != tiny.input_size  # type: ignore[union-attr]
    assert map_size(tiny, HeatmapSettings(method="published")) == tiny.input_size
    for side in (size, tiny.input_size):
        assert one(noise(side), tiny, versions=2).change.shape == (side, side, 3)


def test_a_turned_crop_gives_the_turned_map(tiny: ModelBundle) -> None:
    crop = noise(map_size(tiny))
    upright, turned = one(crop, tiny), one(np.rot90(crop).copy(), tiny)
    largest = np.abs(upright.values).max()
    np.testing.assert_allclose(turned.values, np.rot90(upright.values), atol=2e-3 * largest)


def test_all_targets_share_the_work_and_change_nothing(tiny: ModelBundle) -> None:
    crop = noise(map_size(tiny))
    grid = all_class_heatmaps(crop, tiny, predicted=0, background=GREY)
    assert [h.target for h in grid] == [1, 2, 3, 4]
    alone = one(crop, tiny)
    np.testing.assert_allclose(grid[0].values, alone.values, atol=1e-6)
    np.testing.assert_allclose(grid[0].null_std, alone.null_std, atol=1e-6)


def test_nothing_changes_far_from_the_cell(tiny: ModelBundle) -> None:
    size = map_size(tiny)
    mask = np.zeros((size, size), bool)
    mask[size // 2 - 3 : size // 2 + 3, size // 2 - 3 : size // 2 + 3] = True
    (found,) = iter_heatmaps(
        noise(size)[None], tiny, [1], predicted=[0], background=GREY, masks=mask[None]
    )
    assert np.abs(found.change[0]).max() < 1e-4 < np.abs(found.change[mask]).max()


def test_more_versions_narrow_the_null(tiny: ModelBundle) -> None:
    crop = noise(map_size(tiny))
    few, many = (one(crop, tiny, versions=v) for v in (2, 8))
    assert many.null_std.mean() < few.null_std.mean()
    assert np.abs(few.null).max() > 0


def test_a_white_cell_is_compared_with_white_cells_by_itself(tiny: ModelBundle) -> None:
    posterior = np.array([[0.5, 0.1, 0.05, 0.15, 0.2], [0.2, 0.1, 0.1, 0.5, 0.1]])
    found = likeliest_other(posterior, np.array([0, 3]), tiny)
    assert [NAMES[k] for k in found] == ["eosinophil", "basophil"]
    odd = np.array([[0.5, 0.0, 0.0, 0.0, 0.5]])
    assert NAMES[likeliest_other(odd, np.array([4]), tiny)[0]] == "basophil"


def test_where_all_others_are_no_white_cells_one_of_them_is_taken(tmp_path: Path) -> None:
    model = load_bundle(tiny_bundle(tmp_path / "m", ["neutrophil", "red cell"]), device="cpu")
    model.classes = grouped(model)
    assert likeliest_other(np.array([[0.9, 0.1]]), np.array([0]), model).tolist() == [1]


def test_a_map_can_be_cancelled(tiny: ModelBundle) -> None:
    def stop(fraction: float, message: str) -> None:
        raise Cancelled("enough")

    made = iter_heatmaps(noise(map_size(tiny))[None], tiny, [1], predicted=[0], progress=stop)
    with pytest.raises(Cancelled):
        next(made)
