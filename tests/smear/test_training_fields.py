"""Fields that the segmentation is trained on: crowded where others are refused, labels exact."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cytodiffusion.smear.training_fields import TrainingField, training_field


@pytest.fixture(scope="module")
def fields() -> list[TrainingField]:
    return [training_field(seed, side=256) for seed in range(12)]


def test_the_same_seed_gives_the_same_field(fields: list[TrainingField]) -> None:
    again = training_field(3, side=256)
    np.testing.assert_array_equal(again.rgb, fields[3].rgb)
    np.testing.assert_array_equal(again.labels, fields[3].labels)
    assert not np.array_equal(fields[3].rgb, fields[4].rgb)


def test_every_cell_is_one_piece_of_a_known_kind(fields: list[TrainingField]) -> None:
    for field in fields:
        assert field.rgb.dtype == np.uint8
        assert field.labels.max(initial=0) <= len(field.kinds)
        assert set(field.kinds.tolist()) <= {1, 2, 3}
        for label in np.unique(field.labels[field.labels > 0]):
            assert ndimage.label(field.labels == label)[1] == 1


def test_all_kinds_and_crowds_occur(fields: list[TrainingField]) -> None:
    kinds = np.concatenate([field.kinds for field in fields])
    assert all((kinds == kind).sum() > 5 for kind in (1, 2, 3))
    covers = [(field.labels > 0).mean() for field in fields]
    assert min(covers) < 0.3
    assert max(covers) > 0.6


def test_cells_are_darker_than_what_is_beside_them(fields: list[TrainingField]) -> None:
    for field in fields:
        grey = field.rgb.mean(axis=2)
        inside, outside = grey[field.labels > 0], grey[field.labels == 0]
        if len(inside) and len(outside):
            assert np.median(inside) < np.median(outside)
