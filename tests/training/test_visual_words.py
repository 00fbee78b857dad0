"""Cells described by words learned from the crops themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toys import toy_settings, write_discs

from cytodiffusion.training import visual_words as words
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.visual_words import describe_colours, describe_patches

Describe = Callable[..., NDArray[np.float32]]
BOTH = pytest.mark.parametrize("describe", [describe_patches, describe_colours])


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> CellSet:
    data = write_discs(tmp_path_factory.mktemp("data"), {"train": 6, "val": 1})
    return load_sets(toy_settings(data, data / "m"))[1]["train"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small dictionaries, learned in a moment."""
    monkeypatch.setattr(words, "PATCH_WORDS", 24)
    monkeypatch.setattr(words, "COLOUR_WORDS", 12)
    monkeypatch.setattr(words, "SAMPLES", 2000)


@BOTH
def test_cells_that_look_alike_have_like_words(describe: Describe, cells: CellSet) -> None:
    found = describe(cells, 32)
    assert len(found) == 18
    assert np.isfinite(found).all()
    distance = np.linalg.norm(found[:, None] - found[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    labels = cells.labels.numpy()
    assert (labels[distance.argmin(axis=1)] == labels).all()


@BOTH
def test_labels_are_not_looked_at_and_words_are_the_same_again(
    describe: Describe, cells: CellSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = describe(cells, 32)
    torch.manual_seed(5)
    blind = replace(cells, labels=torch.full_like(cells.labels, -1))
    np.testing.assert_array_equal(describe(blind, 32), found)
    assert not np.array_equal(describe(cells, 32, seed=1), found)
    monkeypatch.setattr(words, "BATCH", 5)
    np.testing.assert_allclose(describe(cells, 32), found, rtol=1e-3, atol=1e-4)


def test_colours_do_not_depend_on_how_a_cell_is_turned(cells: CellSet) -> None:
    window = cells.pixels[:, :, 5:37, 5:37]  # of even side, so that its middle stays where it is
    plain = describe_colours(replace(cells, pixels=window), 32)
    assert plain.shape == (18, 3 * 12)
    np.testing.assert_allclose((plain**2).sum(axis=1), 3, rtol=1e-3)  # shares in three rings
    turned = replace(cells, pixels=window.rot90(1, (2, 3)).contiguous())
    both = describe_colours(replace(cells, pixels=window) + turned, 32)
    np.testing.assert_allclose(both[:18], both[18:], rtol=1e-3, atol=1e-3)


@BOTH
def test_far_surroundings_have_no_words(describe: Describe, cells: CellSet) -> None:
    pixels = cells.pixels.clone()
    pixels[:, :, 5:8, 5:8] = 60  # a corner of the window
    np.testing.assert_array_equal(describe(replace(cells, pixels=pixels), 32), describe(cells, 32))


def test_centres_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    rows = truth.repeat(50, 1) + 0.05 * torch.randn(150, 2, generator=generator)
    found = words._k_means(rows, 12, generator)  # some of the many begin in each group
    distance = torch.cdist(truth, found).min(dim=1).values
    assert distance.max() < 0.1
