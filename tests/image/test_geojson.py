"""Cells as GeoJSON: the polygons filled again are the cells, and QuPath finds what it looks for."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skimage.measure import points_in_poly

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.image.geojson import cell_features, outlines, write_geojson
from cytodiffusion.model.bundle import CellClass

CLASSES = (CellClass("monocyte", "#e69f00"), CellClass("red cell", "#882255"))


def filled(polygons: list[list[Any]], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres are within the polygons, as QuPath counts from their corners."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = np.stack([x.ravel() + 0.5, y.ravel() + 0.5], axis=1)
    found = np.zeros(shape, bool)
    for outer, *holes in polygons:
        inside = points_in_poly(centres, outer)
        for hole in holes:
            inside &= ~points_in_poly(centres, hole)
        found |= inside.reshape(shape)
    return found


def disc(radius: float, shape: tuple[int, int] = (40, 50), at: tuple[int, int] = (20, 24)) -> Any:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2


def shapes() -> dict[str, np.ndarray]:
    one = np.zeros((40, 50), bool)
    one[7, 9] = True
    pieces = disc(6, at=(10, 10)) | disc(4, at=(30, 40))
    corner = np.zeros((40, 50), bool)
    corner[3:6, 3:6] = corner[6:9, 6:9] = True
    line = np.zeros((40, 50), bool)
    line[5, 2:40] = True
    speckled = np.random.default_rng(0).random((40, 50)) > 0.5
    return {
        "disc": disc(12),
        "one pixel": one,
        "hole": disc(12) & ~disc(5),
        "two holes": disc(15) & ~disc(3, at=(14, 24)) & ~disc(3, at=(27, 24)),
        "cell in a hole": disc(15) & ~disc(10) | disc(4),
        "two pieces": pieces,
        "corner to corner": corner,
        "line": line,
        "at the border": disc(12, at=(0, 0)),
        "all": np.ones((40, 50), bool),
        "speckled": speckled,
    }


@pytest.mark.parametrize("name", list(shapes()))
def test_polygons_filled_again_are_the_cell(name: str) -> None:
    mask = shapes()[name]
    polygons = outlines(mask)
    again = filled(polygons, mask.shape)
    assert (again & mask).sum() / (again | mask).sum() > 0.95
    np.testing.assert_array_equal(again, mask)
    for rings in polygons:
        for ring in rings:
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
            assert np.min(ring) >= 0
            assert (np.max(ring, axis=0) <= (50, 40)).all()


def test_pieces_and_holes_are_told_apart() -> None:
    cells = shapes()
    assert [len(rings) for rings in outlines(cells["two pieces"])] == [1, 1]
    assert [len(rings) for rings in outlines(cells["two holes"])] == [3]
    assert sorted(len(rings) for rings in outlines(cells["cell in a hole"])) == [1, 2]
    assert len(outlines(cells["corner to corner"])) == 1
    # corners only: a square of any size has four sides and four cut corners
    assert len(outlines(cells["all"])[0][0]) == 9


def field() -> tuple[np.ndarray, pd.DataFrame]:
    labels = np.zeros((40, 50), np.int32)
    labels[disc(6, at=(10, 10))] = 3
    labels[disc(6, at=(0, 40))] = 7
    labels[disc(4, at=(30, 10)) | disc(4, at=(30, 30))] = 9
    labels[35:38, 45:48] = 11  # not classified
    frame = pd.DataFrame(
        {
            "label": [3, 7, 9, 12],
            "area_um2": [10.0, 20.0, float("nan"), 3.0],
            "predicted": ["monocyte", "red cell", "monocyte", "red cell"],
            "confidence": [0.9, 1 / 3, 0.5, 0.5],
            "review": [False, True, False, False],
            "touches_border": [False, True, False, False],
            "prediction_set": ["monocyte", "", "monocyte|red cell", ""],
            "p_monocyte": [0.9, 0.1, 0.5, 0.5],
            "p_red cell": [0.1, 0.9, 0.5, 0.5],
        }
    )
    return labels, frame


def test_what_qupath_reads(tmp_path: Path) -> None:
    labels, frame = field()
    path = write_geojson(tmp_path / "new" / "cells.geojson", labels, frame, CLASSES, name="a")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    first, second, third = found["features"]  # what is not in the image has no outline
    for feature in found["features"]:
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        assert feature["properties"]["objectType"] == "detection"
    assert first["properties"]["classification"] == {"name": "monocyte", "color": [230, 159, 0]}
    assert second["properties"]["classification"] == {"name": "red cell", "color": [136, 34, 85]}
    assert first["properties"]["measurements"] == {
        "Label": 3,
        "Area \u00b5m^2": 10,
        "Confidence": 0.9,
        "For review": 0,
        "Touches border": 0,
        "Probability: monocyte": 0.9,
        "Probability: red cell": 0.1,
    }
    assert second["properties"]["measurements"]["For review"] == 1
    assert second["properties"]["measurements"]["Confidence"] == 0.3333333
    assert "Area \u00b5m^2" not in third["properties"]["measurements"]
    assert [f["geometry"]["type"] for f in found["features"]] == [
        *("Polygon", "Polygon", "MultiPolygon")
    ]
    for feature, label in ((first, 3), (second, 7)):
        again = filled([feature["geometry"]["coordinates"]], labels.shape)
        np.testing.assert_array_equal(again, labels == label)
    again = filled(third["geometry"]["coordinates"], labels.shape)
    np.testing.assert_array_equal(again, labels == 9)


def test_finer_classes_and_attributes_are_metadata(tmp_path: Path) -> None:
    labels, frame = field()
    told = ["segmented", *[""] * (len(frame) - 1)]
    sure = [0.75, *[np.nan] * (len(frame) - 1)]
    frame = frame.assign(finer=told, finer_confidence=sure, attr_nucleus_shape=told)
    path = write_geojson(tmp_path / "cells.geojson", labels, frame, [])
    first, *others = json.loads(path.read_text())["features"]
    assert first["properties"]["metadata"] == {
        "Finer class": "segmented",
        "nucleus shape": "segmented",
    }
    assert first["properties"]["measurements"]["Confidence of the finer class"] == 0.75
    assert others
    for other in others:
        assert "metadata" not in other["properties"]
        assert "Confidence of the finer class" not in other["properties"]["measurements"]


def test_ids_stay_and_differ() -> None:
    labels, frame = field()
    once, again, other = (
        [f["id"] for f in cell_features(labels, frame, CLASSES, name=name)] for name in "aab"
    )
    assert once == again
    assert len({*once, *other}) == 6


def test_ids_of_labels_may_be_huge() -> None:
    labels, frame = field()
    usual = list(cell_features(labels, frame, CLASSES))
    large = np.where(labels, labels.astype(np.int64) + 5_000_000_000, 0)
    moved = frame.assign(label=frame["label"] + 5_000_000_000)
    found = list(cell_features(large, moved, CLASSES))
    assert [f["geometry"] for f in found] == [f["geometry"] for f in usual]


def test_an_empty_table_is_an_empty_collection(tmp_path: Path) -> None:
    labels, frame = field()
    path = write_geojson(tmp_path / "cells.geojson", labels, frame[:0], CLASSES)
    assert json.loads(path.read_text())["features"] == []


def test_nothing_is_left_of_an_export_that_is_stopped(tmp_path: Path) -> None:
    labels, frame = field()

    def stop(share: float, text: str) -> None:
        if share > 0.4:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        write_geojson(tmp_path / "cells.geojson", labels, frame, CLASSES, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    labels, frame = field()
    with pytest.raises(InputError, match=r"should end in \.geojson"):
        write_geojson(tmp_path / "cells.txt", labels, frame, CLASSES)
    with pytest.raises(InputError, match="two-dimensional"):
        write_geojson(tmp_path / "cells.geojson", labels[0], frame, CLASSES)
    (tmp_path / "folder.geojson").mkdir()
    with pytest.raises(InputError, match="there is a folder of that name"):
        write_geojson(tmp_path / "folder.geojson", labels, frame, CLASSES)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.geojson"]
