"""The benchmark of fields under dark surrounds counts what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import outside
from fields_of_sets import box_overlap, label_boxes, matches, true_scale

from cytodiffusion.segmentation import Segmentation


@pytest.fixture
def plain() -> np.ndarray:
    labels = np.zeros((120, 160), np.int32)
    labels[20:40, 20:40], labels[60:80, 70:90], labels[0:10, 100:120] = 1, 2, 3
    return labels


def test_the_same_cells_are_counted_wholly_inside_only(plain: np.ndarray) -> None:
    everything = np.ones(plain.shape, bool)
    assert outside.same_cells(plain, plain, everything) == (2, 2)  # the third is at the border
    moved = np.roll(plain, 5, axis=1)
    assert outside.same_cells(plain, moved, everything) == (0, 2)
    inside = everything.copy()
    inside[:, 80:] = False
    assert outside.same_cells(plain, plain, inside) == (1, 1)
    assert outside.same_cells(plain, np.zeros_like(plain), everything) == (0, 2)


def test_surrounds_keep_the_field_where_they_say(plain: np.ndarray) -> None:
    rgb = np.random.default_rng(0).integers(90, 255, (120, 160, 3)).astype(np.uint8)
    names = []
    for dark in outside.surrounds(rgb):
        names.append(dark.name)
        top, left = dark.offset
        part = dark.image[top : top + 120, left : left + 160]
        assert dark.inside.any()
        core = dark.inside & ~np.isclose(part, rgb, atol=1).all(axis=2)
        assert core.sum() < 0.06 * dark.inside.sum()  # all but the soft rim is as it was
    assert len(set(names)) == len(names) > 10
    assert {"frame of 1 px, black", "frame of 60 px, black", "frame of 2 px, grey"} < set(names)


def test_objects_of_the_surround_are_found(plain: np.ndarray) -> None:
    rgb = np.full((120, 160, 3), 230, np.uint8)
    dark = next(d for d in outside.surrounds(rgb) if d.name == "frame of 20 px, black")
    labels = np.pad(plain, 20)
    labels[:15] = 4
    found = Segmentation(labels, 0.1, "estimated", "none")
    assert outside.outside_objects(found, dark, rgb.shape) == 1


def test_boxes(plain: np.ndarray) -> None:
    boxes = label_boxes(plain)
    assert boxes.tolist() == [[20, 20, 40, 40], [60, 70, 80, 90], [0, 100, 10, 120]]
    assert len(matches(box_overlap(boxes, boxes + 2), 0.5)) == 3
    assert len(matches(box_overlap(boxes, boxes + 15), 0.5)) == 0
    inside = np.array([[20, 20, 40, 40]] * 3, float)
    assert true_scale(inside, plain.shape) == pytest.approx(7.5 / 20)
    assert true_scale(inside[:2], plain.shape) is None
