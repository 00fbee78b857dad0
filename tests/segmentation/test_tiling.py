from __future__ import annotations

from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.progress import Progress
from cytodiffusion.segmentation.result import Segmentation
from cytodiffusion.segmentation.tiling import segment_tiles, tiles


def components(rgb: NDArray[np.uint8], progress: Progress) -> Segmentation:
    """Label what is dark; bright red marks a second kind."""
    labels, _ = ndimage.label(rgb[..., 1] < 128, np.ones((3, 3)))
    labels = labels.astype(np.int32)
    kinds = [2 if rgb[labels == i, 0].max() > 200 else 1 for i in range(1, labels.max() + 1)]
    return Segmentation(labels, 1.0, "given", "test", {}, ("note",), np.array(kinds, np.uint8))


def assert_same_cells(found: NDArray[np.int32], truth: NDArray[np.int32]) -> None:
    np.testing.assert_array_equal(found > 0, truth > 0)
    pairs = np.unique(np.stack([found[truth > 0], truth[truth > 0]]), axis=1)
    assert pairs.shape[1] == truth.max() == found.max()


def as_image(dark: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(dark[..., None], (40, 40, 40), (230, 230, 230)).astype(np.uint8)


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.integers(20, 700),
    st.floats(0, 0.49),
)
def test_tiles_cover_and_overlap(shape: tuple[int, int], tile: int, share: float) -> None:
    overlap = min(int(tile * share), (tile - 1) // 2)
    parts = tiles(shape, tile, overlap)
    rows = sorted({(t.y0, t.y1) for t in parts})
    columns = sorted({(t.x0, t.x1) for t in parts})
    assert len(parts) == len(rows) * len(columns)
    for spans, side in ((rows, shape[0]), (columns, shape[1])):
        assert spans[0][0] == 0
        assert spans[-1][1] == side
        assert all(b - a <= tile for a, b in spans)
        assert all(a[1] - b[0] >= overlap for a, b in pairwise(spans))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(40, 120), st.integers(40, 120))
def test_small_cells_come_out_as_without_tiles(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    dark = np.zeros((height, width), bool)
    for _ in range(40):
        y, x = rng.integers(0, height), rng.integers(0, width)
        h, w = rng.integers(1, 6, 2)
        dark[y : y + h, x : x + w] = True
    truth, _ = ndimage.label(dark, np.ones((3, 3)))
    boxes = ndimage.find_objects(truth)
    if any(s.stop - s.start >= 15 for box in boxes for s in box):
        return  # joined ones are tested below
    labels, kinds, warnings = segment_tiles(as_image(dark), components, tile=40, overlap=15)
    assert_same_cells(labels, truth)
    assert kinds is not None
    assert len(kinds) == labels.max()
    assert warnings in ((), ("note",))


@pytest.mark.parametrize("turned", [False, True])
def test_cells_larger_than_the_overlap_are_joined(turned: bool) -> None:
    dark = np.zeros((60, 200), bool)
    dark[10:20, 5:195] = True
    dark[30:34, 50:60] = True
    dark[22, :150] = True
    dark = dark.T if turned else dark
    truth, _ = ndimage.label(dark, np.ones((3, 3)))
    labels, _, _ = segment_tiles(as_image(dark), components, tile=60, overlap=12)
    assert_same_cells(labels, truth)


def test_kinds_stay_with_their_cells() -> None:
    rgb = as_image(np.zeros((90, 90), bool))
    for number, (y, x) in enumerate(np.ndindex(9, 9)):
        rgb[10 * y + 2 : 10 * y + 7, 10 * x + 2 : 10 * x + 7] = (255 if number % 3 else 0, 0, 0)
    labels, kinds, _ = segment_tiles(rgb, components, tile=40, overlap=12)
    assert labels.max() == 81
    assert kinds is not None
    for label, kind in enumerate(kinds, start=1):
        assert kind == (2 if rgb[labels == label, 0].max() > 200 else 1)


def test_lazy_images_are_read_tile_by_tile() -> None:
    dark = np.zeros((100, 130), bool)
    dark[5:95:10, 5:125:10] = True
    read: list[tuple[int, ...]] = []

    def block(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        read.append(part.shape)
        return part

    lazy = da.from_array(as_image(dark), chunks=(25, 25, 3)).map_blocks(block, dtype=np.uint8)
    read.clear()
    labels, _, _ = segment_tiles(lazy, components, tile=40, overlap=10)
    assert labels.max() == dark.sum()
    assert max(shape[0] for shape in read) <= 25


def test_neighbours_that_touch_are_not_merged() -> None:
    """Two cells side by side across the edge of a tile keep their own labels."""
    truth = np.zeros((40, 100), np.int32)
    truth[10:20, 20:30], truth[10:20, 30:40] = 1, 2

    def exact(rgb: NDArray[np.uint8], progress: Progress) -> Segmentation:
        labels = rgb[..., 0].astype(np.int32)
        _, labels = np.unique(labels, return_inverse=True)
        return Segmentation(labels.reshape(rgb.shape[:2]).astype(np.int32), 1.0, "given", "test")

    rgb = np.repeat(truth[..., None], 3, axis=2).astype(np.uint8)
    labels, kinds, _ = segment_tiles(rgb, exact, tile=40, overlap=15)
    assert_same_cells(labels, truth)
    assert kinds is None


def test_progress_and_cancel() -> None:
    seen: list[float] = []
    rgb = as_image(np.zeros((100, 100), bool))
    segment_tiles(rgb, components, tile=40, overlap=10, progress=lambda f, m: seen.append(f))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def cancel(fraction: float, message: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        segment_tiles(rgb, components, tile=40, overlap=10, progress=cancel)


def test_too_much_overlap() -> None:
    with pytest.raises(InputError, match="overlap"):
        tiles((100, 100), 40, 20)
