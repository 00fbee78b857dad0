"""The cell in the middle of a training crop."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from cytodiffusion.training.augmentation.outlines import Outlines, cell_mask

PIXEL_UM = 0.2


def crop(at: tuple[int, int] = (64, 64), neighbour: tuple[int, int] | None = (20, 20)):
    """Draw a purple cell, and a red one elsewhere."""
    picture = np.full((128, 128, 3), (250, 230, 210), np.uint8)
    if neighbour:
        cv2.circle(picture, neighbour, 17, (215, 160, 160), -1)
    cv2.circle(picture, at, 26, (180, 150, 200), -1)
    cv2.circle(picture, at, 18, (90, 50, 140), -1)
    return cv2.GaussianBlur(picture, (0, 0), 1)


def test_mask_covers_the_cell_and_not_its_neighbour():
    mask = cell_mask(crop(), PIXEL_UM)
    assert mask.shape == (128, 128)
    assert mask.dtype == np.uint8
    assert mask[64, 64] == 255
    assert mask[64, 64 + 24] > 200
    assert mask[20, 20] == 0
    area = (mask > 127).sum()
    assert np.pi * 25**2 < area < np.pi * 33**2


def test_without_a_cell_near_the_middle_all_counts_as_cell():
    empty = np.full((128, 128, 3), (250, 230, 210), np.uint8)
    assert (cell_mask(empty, PIXEL_UM) == 255).all()
    assert (cell_mask(crop(at=(28, 100), neighbour=None), PIXEL_UM) == 255).all()


def test_outlines_are_found_once(monkeypatch):
    pixels = torch.from_numpy(np.stack([crop(), crop()])).permute(0, 3, 1, 2).contiguous()
    calls = []

    def counted(*args):
        calls.append(1)
        return cell_mask(*args)

    monkeypatch.setattr("cytodiffusion.training.augmentation.outlines.cell_mask", counted)
    outlines = Outlines(pixels, PIXEL_UM)
    masks = outlines(torch.tensor([0, 1, 0]))
    assert masks.shape == (3, 1, 128, 128)
    assert masks.dtype == torch.float32
    assert 0 <= float(masks.min()) <= float(masks.max()) == 1.0
    assert len(calls) == 2
    outlines(torch.tensor([1]))
    assert len(calls) == 2
