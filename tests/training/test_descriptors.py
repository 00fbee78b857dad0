"""Descriptions of cells without training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import toy_settings, write_discs

from cytodiffusion.training.data import CellSet
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.visual_words import describe_cells


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> CellSet:
    data = write_discs(tmp_path_factory.mktemp("data"), {"train": 6, "val": 1})
    return load_sets(toy_settings(data, data / "m"))[1]["train"]


def test_cells_that_look_alike_are_near_each_other(cells: CellSet) -> None:
    found = describe_cells(cells, 32)
    assert found.shape == (18, 144)
    assert np.isfinite(found).all()
    scaled = (found - found.mean(axis=0)) / (found.std(axis=0) + 1e-6)
    distance = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    labels = cells.labels.numpy()
    assert (labels[distance.argmin(axis=1)] == labels).all()


def test_turning_a_cell_changes_nothing(cells: CellSet) -> None:
    window = cells.pixels[:, :, 5:37, 5:37]  # of even side, so that its middle stays where it is
    found = describe_cells(replace(cells, pixels=window), 32)
    for turned in (window.rot90(1, (2, 3)), window.flip(3)):
        again = describe_cells(replace(cells, pixels=turned.contiguous()), 32)
        np.testing.assert_allclose(again, found, rtol=1e-3, atol=1e-4)


def test_the_size_of_the_crop_hardly_matters(cells: CellSet) -> None:
    doubled = torch.repeat_interleave(torch.repeat_interleave(cells.pixels, 2, 2), 2, 3)
    # windows of 32 px of the context of 43, and the same ones twice as large
    margin = (cells.pixels.shape[-1] - 32) // 2
    inner = doubled[:, :, 2 * margin : 2 * margin + 64, 2 * margin : 2 * margin + 64]
    again = describe_cells(replace(cells, pixels=inner.contiguous()), 64)
    np.testing.assert_allclose(again, describe_cells(cells, 32), rtol=1e-3, atol=1e-4)


def test_what_lies_around_the_cell_counts_little(cells: CellSet) -> None:
    """A red cell in a corner changes rings far out, and no colour of the cell itself."""
    pixels = cells.pixels.clone()
    pixels[:, :, 6:10, 6:10] = 60
    before, after = describe_cells(cells, 32), describe_cells(replace(cells, pixels=pixels), 32)
    np.testing.assert_array_equal(before[:, :36], after[:, :36])  # colours
    bigger = describe_cells(replace(cells, pixels=cells.pixels // 2), 32)
    assert np.abs(before[:, :36] - bigger[:, :36]).max() > 0.1
