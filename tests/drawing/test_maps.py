from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from cytodiffusion.drawing import maps
from cytodiffusion.errors import InputError


def squares(ids: list[int], side: int = 8, gap: int = 2) -> np.ndarray:
    labels = np.zeros((side + 2 * gap, len(ids) * (side + gap) + gap), np.int64)
    for i, number in enumerate(ids):
        start = gap + i * (side + gap)
        labels[gap : gap + side, start : start + side] = number
    return labels


@pytest.mark.parametrize("ids", [[1, 2, 3], [5, 70_000, 9], [3, 5_000_000_000, 8]])
def test_maps_show_every_cell_whatever_its_id(ids):
    labels = squares(ids)
    cells = maps.CellMaps(labels, n_classes=4, outline_px=2)
    cells.put(ids[:2], [0, 3], [0.0, np.log(4)], [False, True])
    cells.paint()
    assert set(np.unique(cells.class_map[labels == ids[0]])) == {1}
    assert set(np.unique(cells.class_map[labels == ids[1]])) == {4}
    assert not cells.class_map[labels == ids[2]].any()
    assert not cells.class_map[labels == 0].any()
    assert set(np.unique(cells.uncertainty_map[labels == ids[0]])) == {1}
    assert set(np.unique(cells.uncertainty_map[labels == ids[1]])) == {255}
    outlined = cells.outline_map.astype(bool)
    assert (cells.outline_map == 2).sum() == 4 * 8 - 4
    assert (cells.outline_map == 1).sum() == 4 * 6 - 4
    assert not outlined[labels != ids[1]].any()


def test_arrays_keep_their_identity_and_own_their_labels():
    labels = squares([1, 2])
    cells = maps.CellMaps(labels, 2)
    shown = cells.class_map
    cells.put([1], [1], [0.1], [False])
    where = labels == 1
    labels[:] = 0
    cells.paint()
    assert cells.class_map is shown
    assert (shown[where] == 2).all()


def test_hidden_classes_leave_uncertainty_and_outlines_but_not_the_class_map():
    labels = squares([1, 2])
    cells = maps.CellMaps(labels, 2)
    cells.put([1, 2], [0, 1], [0.1, 0.1], [True, True])
    cells.show([False, True])
    cells.paint()
    assert not cells.uncertainty_map[labels == 1].any()
    assert not cells.outline_map[labels == 1].any()
    assert cells.uncertainty_map[labels == 2].all()
    assert (cells.class_map[labels == 1] == 1).all()
    cells.show([True, True])
    cells.paint()
    assert cells.uncertainty_map[labels == 1].all()


def test_unknown_ids_are_ignored():
    cells = maps.CellMaps(squares([1, 2]), 2)
    cells.put([0, 7, 2], [1, 1, 1], [0, 0, 0], [True, True, True])
    cells.paint()
    assert set(np.unique(cells.class_map)) == {0, 2}


@pytest.mark.parametrize(
    "bad", [np.zeros((0, 0), int), np.zeros((2, 3, 4), int), np.zeros((4, 4), float)]
)
def test_bad_labels_are_one_sentence(bad):
    with pytest.raises(InputError, match="two-dimensional"):
        maps.CellMaps(bad, 3)
    with pytest.raises(InputError, match="classes"):
        maps.CellMaps(np.ones((2, 2), int), 255)


def test_edges_of_touching_cells_and_thickness():
    labels = np.zeros((10, 12), int)
    labels[1:9, 1:6] = 1
    labels[1:9, 6:11] = 2
    thin = maps.cell_edges(labels, 1).astype(bool)
    thick = maps.cell_edges(labels, 2).astype(bool)
    assert thin[4, 5]
    assert thin[4, 6]
    assert not thin[4, 4]
    assert thick[4, 4]
    assert not thick[4, 3]
    assert not thin[labels == 0].any()


def test_colors():
    colors = maps.class_colors(["#ff0000", "#00ff80"], [True, False])
    np.testing.assert_allclose(colors[0], 0)
    np.testing.assert_allclose(colors[1], [1, 0, 0, 1])
    assert colors[2, 3] == 0
    ramp = maps.uncertainty_colors()
    assert ramp.shape == (256, 4)
    assert ramp[0, 3] == 0
    assert (ramp[1:, 3] == 1).all()
    brightness = ramp[1:, :3] @ [0.2, 0.7, 0.1]
    assert (np.diff(brightness) >= -1e-3).all()


def frame_of(ids: list[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": ids,
            "y": 1.0,
            "x": 2.0,
            "predicted": "red cell",
            "confidence": 0.9,
            "anomaly": True,
            "prediction_set": "red cell",
            "trials": 3,
            "touches_border": False,
        }
    )


def test_features_rows_are_label_ids():
    table = maps.features_table(frame_of([2, 4]), 5)
    assert list(table["label"]) == [0, 1, 2, 3, 4, 5]
    assert list(table.columns[:2]) == ["predicted", "confidence"]
    assert table.loc[4, "predicted"] == "red cell"
    assert table.loc[3, "predicted"] == ""
    assert table["anomaly"].dtype == bool
    assert table["trials"].tolist() == [0, 0, 3, 0, 3, 0]
    assert "index" not in table


def test_words_of_other_levels_and_attributes_stay_words():
    told = {"finer": ["band", ""], "coarse": ["a", "b"], "attr_granules": ["", "yes"]}
    table = maps.features_table(frame_of([1, 3]).assign(**told), 3)
    for name, values in told.items():
        assert table[name].tolist() == ["", values[0], "", values[1]]


def test_features_of_sparse_ids_carry_an_index():
    table = maps.features_table(frame_of([2, 3_000_000]), 3_000_000)
    assert len(table) == 3
    assert list(table["index"]) == [0, 2, 3_000_000]


def test_painting_is_fast():
    labels = np.arange(2048 * 1536).reshape(1536, 2048) // 10_000
    cells = maps.CellMaps(labels, 10)
    cells.put(np.arange(300), np.arange(300) % 10, np.ones(300), np.ones(300, bool))
    start = time.perf_counter()
    cells.paint()
    assert time.perf_counter() - start < 0.5


def test_a_hundred_thousand_cells():
    n = 100_000
    labels = np.zeros((1600, 1600), np.int64)
    labels.reshape(400, 4, 400, 4)[:, 1:3, :, 1:3] = np.arange(160_000).reshape(400, 1, 400, 1)
    labels[labels > n] = 0
    ids = np.arange(1, n + 1)
    cells = maps.CellMaps(labels, 10)
    cells.put(ids, ids % 10, ids / n, ids % 7 == 0)
    cells.paint()
    assert ((cells.class_map > 0) == (labels > 0)).all()
    frame = frame_of([1]).loc[[0] * n].assign(label=ids)
    table = maps.features_table(frame, n)
    assert len(table) == n + 1
    assert (table["predicted"].iloc[1:] == "red cell").all()


def test_cells_for_review_have_an_outline_of_their_own():
    labels = squares([1, 2, 3], side=20)
    cells = maps.CellMaps(labels, n_classes=2)
    review = [False, True, True]
    cells.put([1, 2, 3], [0, 0, 1], [0.0, 0.0, 0.0], [True, True, False], review)

    def outlines():
        cells.paint()
        return [set(np.unique(cells.outline_map[labels == i])) - {0} for i in (1, 2, 3)]

    amber = {maps.REVIEW, 2 * maps.REVIEW}
    assert outlines() == [{1, 2}, {1, 2}, amber]  # an anomaly stays one
    cells.outline(anomalies=False, review=True)
    assert outlines() == [set(), amber, amber]
    cells.show([True, False])
    assert outlines() == [set(), amber, set()]
    cells.put([2], [0], [0.0], [False])
    assert outlines() == [set(), set(), set()]


def _cells_of(values, size=12):
    """Label image with a square for each value."""
    image = np.zeros((20, 20 * len(values)), np.int32)
    for number, value in enumerate(values):
        image[4 : 4 + size, 20 * number + 4 : 20 * number + 4 + size] = value
    return image


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("smear cells class", [1, 2, 1, 1], "class"),
        ("smear cells class [1]", [1, 2, 1, 1], "class"),
        ("smear cells class copy", [1, 2, 1, 1], "class"),
        ("smear_cells_Class", [1, 2, 1, 1], "class"),
        ("cells uncertainty", [3, 200, 255], "uncertainty"),
        ("cells uncertainty [2]", [], "uncertainty"),
        ("cells anomalies", [1, 2, 6], "anomalies"),
        ("cells anomalies", [], "anomalies"),
        ("cells anomalies", [1, 2, 5], None),  # cells after all
        ("cells", [1, 2, 1, 1], None),
        ("first class", [1, 2, 3, 4], None),  # every cell with a number of its own
        ("subclass", [1, 2, 1, 1], None),
        ("cells class", [1, 300, 1, 1], None),
        ("cells uncertainty", [3, 300], None),
    ],
)
def test_maps_that_were_saved_are_known_by_name_and_numbers(name, values, kind):
    assert maps.kind_of_map(_cells_of(values or [0]), name) == kind


def test_only_label_images_are_maps():
    assert maps.kind_of_map(np.zeros((4, 4), float), "cells class") is None
    assert maps.kind_of_map(np.zeros((2, 4, 4), int), "cells class") is None
    assert maps.kind_of_map(np.full((4, 4), -1), "cells class") is None


def test_cells_that_touch_are_kept_apart_for_outlines():
    labels = np.zeros((12, 20), np.int32)
    labels[2:10, 2:9], labels[2:10, 9:16] = 1, 2
    cells = maps.CellMaps(labels, n_classes=3)
    cells.put([1, 2], [1, 1], [0.5, 0.5], [False, False])
    cells.paint()
    whole = cells.class_map.copy()
    cells.separate(True)
    cells.paint()
    for shown in (cells.class_map, cells.uncertainty_map):
        assert (shown[2:10, 8] == 0).all()
        assert (shown[2:10, 9] > 0).all()
        assert np.count_nonzero(shown) == 2 * 7 * 8 - 8
    cells.separate(False)
    cells.paint()
    np.testing.assert_array_equal(cells.class_map, whole)
