from __future__ import annotations

import time

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cytodiffusion.cells.cell_table import cell_table
from cytodiffusion.cells.crops import Crops, centre_crop, extract_crops, iter_crops
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.image.block_reader import BlockReader


def disc_image(
    shape: tuple[int, int], centre: tuple[float, float], radius: float
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    y, x = np.indices(shape)
    inside = np.hypot(y - centre[0], x - centre[1]) <= radius
    rgb = np.full((*shape, 3), 230, np.uint8)
    rgb[inside] = (90, 40, 140)
    return rgb, inside.astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.int64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.sampled_from([0, 0, 1, 2, 7, 70_000, 2**40]),
    )
)
def test_table_agrees_with_plain_numpy(labels: NDArray[np.int64]) -> None:
    ids = np.unique(labels[labels != 0])
    if not ids.size:
        with pytest.raises(InputError, match="no cells"):
            cell_table(labels, 0.5)
        return
    table = cell_table(labels, 0.5)
    assert table.ids.tolist() == ids.tolist()
    for row, label in enumerate(ids):
        y, x = np.nonzero(labels == label)
        np.testing.assert_allclose(table.centroids[row], [y.mean(), x.mean()])
        assert table.areas_um2[row] == len(y) * 0.25
        assert table.bboxes[row].tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]
        on_edge = {0, labels.shape[0] - 1} & set(y) or {0, labels.shape[1] - 1} & set(x)
        assert table.touches_border[row] == bool(on_edge)


def test_strips_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 30, (50, 40))
    whole = cell_table(labels, 1.0)
    monkeypatch.setattr("cytodiffusion.cells.cell_table._STRIP_PIXELS", 120)
    striped = cell_table(labels, 1.0)
    np.testing.assert_allclose(whole.centroids, striped.centroids)
    np.testing.assert_array_equal(whole.bboxes, striped.bboxes)


@pytest.mark.parametrize("pixel_size", [0.05, 0.1, 0.2, 0.25, 0.4])
def test_cell_has_its_physical_size_and_is_centred(pixel_size: float) -> None:
    radius_um, size = 4.0, 96
    side = int(40 / pixel_size)
    rgb, labels = disc_image((side, side + 30), (side * 0.5, side * 0.55), radius_um / pixel_size)
    crop = extract_crops(rgb, labels, pixel_size, size).pixels[0]
    inside = crop[..., 1] < 135
    y, x = np.nonzero(inside)
    pitch = 20.0 / size
    # A disc on a coarse pixel grid is itself off by a part of a pixel.
    assert np.sqrt(inside.sum() / np.pi) * pitch == pytest.approx(radius_um, abs=0.5 * pixel_size)
    middle = (size - 1) / 2
    assert abs(y.mean() - middle) < 0.75
    assert abs(x.mean() - middle) < 0.75


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = centre_crop(stripes, 0.05, 64)
    assert np.ptp(crop) < 40


def test_window_is_reflected_at_the_border() -> None:
    y, x = np.indices((60, 60))
    rgb = np.stack([y, x, y], axis=2).astype(np.uint8) * 4
    labels = np.zeros((60, 60), np.uint8)
    labels[0, 0] = 1
    crops = extract_crops(rgb, labels, 1.0, 21, window_um=21)
    crop = crops.pixels[0]
    np.testing.assert_array_equal(crop, crop[::-1])
    np.testing.assert_array_equal(crop, crop[:, ::-1])
    assert crops.touches_border.all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 3)])
@pytest.mark.parametrize("pixel_size", [0.05, 5.0])
def test_image_smaller_than_the_window(shape: tuple[int, int], pixel_size: float) -> None:
    rgb = np.full((*shape, 3), 77, np.uint8)
    crops = extract_crops(rgb, np.ones(shape, np.int32), pixel_size, 32)
    assert (crops.pixels == 77).all()
    assert (centre_crop(rgb, pixel_size, 32) == 77).all()


def test_cell_larger_than_the_window() -> None:
    rgb, labels = disc_image((300, 300), (150, 150), 140)
    crop = extract_crops(rgb, labels, 0.1, 48, window_um=15).pixels[0]
    assert (crop == (90, 40, 140)).all()


def test_gaps_and_large_ids_come_in_order() -> None:
    labels = np.zeros((40, 40), np.int64)
    for row, label in enumerate((65_537, 3, 2**50)):
        labels[5 + 10 * row, 5] = label
    rgb = np.zeros((40, 40, 3), np.uint8)
    crops = extract_crops(rgb, labels, 0.5, 16)
    assert crops.ids.tolist() == [3, 65_537, 2**50]
    picked = extract_crops(rgb, labels, 0.5, 16, ids=[2**50, 3])
    assert picked.ids.tolist() == [2**50, 3]
    with pytest.raises(InputError, match="no cell with the label 4"):
        extract_crops(rgb, labels, 0.5, 16, ids=[3, 4])
    assert len(extract_crops(rgb, labels, 0.5, 16, ids=[])) == 0


def test_batches_hold_the_same_crops() -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 255, (120, 90, 3), np.uint8)
    labels = np.kron(np.arange(1, 109).reshape(12, 9), np.ones((10, 10), int))
    whole = extract_crops(rgb, labels, 0.3, 24)
    parts = list(iter_crops(rgb, labels, 0.3, 24, batch=10))
    assert [len(p) for p in parts] == [10] * 10 + [8]
    np.testing.assert_array_equal(whole.pixels, np.concatenate([p.pixels for p in parts]))
    np.testing.assert_array_equal(whole.ids, np.concatenate([p.ids for p in parts]))


@pytest.mark.parametrize("pixel_size", [0.1, 0.5])
def test_lazy_images_are_read_in_blocks(pixel_size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    rgb = rng.integers(0, 255, (230, 310, 3), np.uint8)
    labels = np.zeros((230, 310), np.int32)
    for label in range(1, 60):
        labels[rng.integers(0, 230), rng.integers(0, 310)] = label
    blocks: list[tuple[int, int]] = []
    read = BlockReader._get

    def counted(self: BlockReader, by: int, bx: int) -> NDArray[np.uint8]:
        if (by, bx) not in self._blocks:
            blocks.append((by, bx))
        assert len(self._blocks) <= 20
        return read(self, by, bx)

    monkeypatch.setattr(BlockReader, "_get", counted)
    monkeypatch.setattr(BlockReader.__init__, "__defaults__", (64, 20))
    lazy = extract_crops(da.from_array(rgb), da.from_array(labels), pixel_size, 24)
    np.testing.assert_array_equal(lazy.pixels, extract_crops(rgb, labels, pixel_size, 24).pixels)
    assert len(blocks) < 200


def test_crops_can_be_indexed() -> None:
    labels = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((10, 10), int))
    crops = extract_crops(np.zeros((20, 20, 3), np.uint8), labels, 0.5, 8)
    assert isinstance(crops[1:3], Crops)
    assert crops[1:3].ids.tolist() == [2, 3]
    assert crops[crops.ids > 2].ids.tolist() == [3, 4]


RGB = np.zeros((8, 8, 3), np.uint8)
ONES = np.ones((8, 8), np.int32)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((8, 8), int), "no cells"),
        (np.zeros((0, 8), int), "no pixels"),
        (np.ones((8, 9), int), "9 x 8 pixels but the image is 8 x 8"),
        (np.ones((8, 8)), "whole numbers"),
        (np.ones((8, 8), bool), "whole numbers"),
        (-np.ones((8, 8), int), "negative"),
        (np.ones((8, 8, 1), int), "flat image"),
        ("labels.tif", "array of whole numbers"),
    ],
)
def test_unusable_labels_are_refused(labels: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        extract_crops(RGB, labels, 0.5, 8)


def test_absurd_settings_are_refused() -> None:
    with pytest.raises(InputError, match="size of a crop"):
        extract_crops(RGB, ONES, 0.5, 0)
    with pytest.raises(InputError, match="window"):
        extract_crops(RGB, ONES, 0.5, 8, window_um=float("nan"))
    with pytest.raises(InputError, match="pixel size"):
        extract_crops(RGB, ONES, 0, 8)
    with pytest.raises(InputError, match="batch size"):
        iter_crops(RGB, ONES, 0.5, 8, batch=0)


def test_cancel_stops() -> None:
    def cancel(fraction: float, message: str) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        extract_crops(RGB, ONES, 0.5, 8, progress=cancel)


def test_a_hundred_thousand_cells() -> None:
    labels = np.arange(1, 100_001).reshape(250, 400).repeat(2, 0).repeat(2, 1)
    rgb = np.zeros((*labels.shape, 3), np.uint8)
    start = time.perf_counter()
    table = cell_table(labels, 0.5)
    assert len(table) == 100_000
    assert len(next(iter_crops(rgb, labels, 0.5, 16))) == 512
    assert time.perf_counter() - start < 5
