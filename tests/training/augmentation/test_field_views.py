"""Views of a field: flows turn with the picture, and what is hidden is no cell."""

from __future__ import annotations

import numpy as np
import pytest

from cytodiffusion.smear.training_fields import TrainingField
from cytodiffusion.training.augmentation.fields import field_view, surround
from cytodiffusion.training.fields import FlowField, with_flows

SIDE = 96


@pytest.fixture(scope="module")
def ellipse() -> FlowField:
    """One large ellipse, off the middle."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    inside = ((rows - 44) / 34.0) ** 2 + ((columns - 52) / 22.0) ** 2 < 1
    rgb = np.where(inside[..., None], 120, 230).astype(np.uint8) * np.ones(3, np.uint8)
    return with_flows(TrainingField(rgb, inside.astype(np.int32), np.array([2], np.uint8)), 2)


@pytest.mark.parametrize("seed", range(8))
def test_flows_lead_into_the_cell_however_the_view_is_turned(ellipse: FlowField, seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, flows, kinds, cells = field_view(ellipse, SIDE, 2, rng, varied=True)
    seen = cells[1::2, 1::2] == 1
    rows, columns = np.nonzero(seen & (kinds == 2))
    if len(rows) < 200:
        pytest.skip("the view shows too little of the cell")
    middle = np.array([rows.mean(), columns.mean()])
    border = rows.min() == 0 or columns.min() == 0
    if border or rows.max() == SIDE // 2 - 1 or columns.max() == SIDE // 2 - 1:
        pytest.skip("the view cuts the cell")
    towards = middle[:, None] - np.stack([rows, columns])
    length = np.hypot(*towards)
    far = length > 6
    along = (flows[:, rows, columns] * towards).sum(axis=0) / np.maximum(length, 1e-6)
    assert np.mean(along[far] > 0.3) > 0.9


def test_a_plain_view_is_the_field_itself(ellipse: FlowField) -> None:
    pixels, flows, kinds, cells = field_view(
        ellipse, SIDE, 2, np.random.default_rng(0), varied=False
    )
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert flows.shape == (2, SIDE // 2, SIDE // 2)
    assert set(np.unique(kinds)) == {0, 2}
    assert set(np.unique(cells)) <= {-1.0, 0.0, 1.0}


def test_unknown_stays_unknown_and_hidden_is_no_cell() -> None:
    field = FlowField(
        np.full((SIDE, SIDE, 3), 200, np.uint8),
        np.full((SIDE, SIDE), 255, np.uint8),
        np.zeros((2, SIDE // 2, SIDE // 2), np.float16),
        np.zeros((SIDE // 2, SIDE // 2), np.uint8),
    )
    seen = [field_view(field, SIDE, 2, np.random.default_rng(seed))[3] for seed in range(20)]
    values = np.unique(np.concatenate([view.ravel() for view in seen]))
    assert set(values.tolist()) == {-1.0, 0.0}


def test_what_surrounds_a_field_leaves_some_of_it() -> None:
    for seed in range(50):
        hidden = surround(192, np.random.default_rng(seed))
        assert 0 < hidden.mean() < 0.98
