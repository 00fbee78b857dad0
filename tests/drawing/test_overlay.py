"""Pictures of fields: colours where cells are, legends, odd sizes, odd labels."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from cytodiffusion.drawing.legend import nice_length
from cytodiffusion.drawing.maps import uncertainty_colors
from cytodiffusion.drawing.overlay import LARGEST, magnification, overlay_image, uncertainty_image
from cytodiffusion.errors import InputError


class CellKind(NamedTuple):
    name: str
    color: str


CLASSES = [CellKind("lymphocyte", "#009e73"), CellKind("red cell", "#c0504d")]


def field(shape: tuple[int, int] = (1024, 1280), ids: tuple[int, int] = (1, 2)):  # type: ignore[no-untyped-def]
    rgb = np.full((*shape, 3), 220, np.uint8)
    labels = np.zeros(shape, np.int32)
    labels[100:300, 100:300] = ids[0]
    labels[500:700, 600:900] = ids[1]
    frame = pd.DataFrame(
        {
            "label": list(ids),
            "predicted": ["red cell", "lymphocyte"],
            "entropy": [0.0, np.log(2)],
            "anomaly": [False, True],
        }
    )
    return rgb, labels, frame


def close(pixel: np.ndarray, colour: tuple[int, ...], tolerance: int = 3) -> bool:
    return bool(np.abs(pixel.astype(int) - np.array(colour)).max() <= tolerance)


def test_cells_are_filled_and_outlined_in_their_colour() -> None:
    rgb, labels, frame = field()
    picture = overlay_image(rgb, labels, frame, CLASSES, pixel_size_um=0.1)
    assert picture.dtype == np.uint8
    assert picture.shape[0] == 1024
    assert picture.shape[1] > 1280  # the legend stands beside the field
    np.testing.assert_array_equal(picture[0, 0], [220, 220, 220])
    fill = 220 + 0.28 * (np.array([0xC0, 0x50, 0x4D]) - 220)
    assert close(picture[200, 200], tuple(fill))
    assert close(picture[200, 100], (0xC0, 0x50, 0x4D))
    assert close(picture[600, 750], tuple(220 + 0.28 * (np.array([0, 0x9E, 0x73]) - 220)))
    np.testing.assert_array_equal(rgb, 220)  # the input is left alone


def test_anomalies_have_a_dashed_line_inside_their_outline() -> None:
    rgb, labels, frame = field()
    picture = overlay_image(rgb, labels, frame, CLASSES)
    assert close(picture[500, 700], (0, 0x9E, 0x73), 10)
    bands = picture[502:512, 620:880].astype(int)
    dark, white = (bands.max(axis=2) < 60).any(axis=0), (bands.min(axis=2) > 235).any(axis=0)
    assert dark.mean() > 0.2
    assert white.mean() > 0.2
    plain = picture[102:112, 120:280].astype(int)
    assert not (plain.max(axis=2) < 100).any()
    assert not (plain.min(axis=2) > 235).any()


def test_the_uncertainty_map_uses_the_scale_of_the_window() -> None:
    rgb, labels, frame = field()
    picture = uncertainty_image(rgb, labels, frame, n_classes=2)
    table = uncertainty_colors()[1:, :3] * 255
    dim = picture[0, 0].astype(int)
    assert (dim == dim[0]).all()
    assert dim[0] < 110
    for y, x, expected in ((200, 200, table[0]), (600, 750, table[-1])):
        assert close(picture[y, x], tuple(0.85 * expected + 0.15 * dim[0]))
    outlined = picture[498:515, 700].astype(int)
    assert (outlined.min(axis=1) > 235).any()  # the anomaly: white, edged in black
    assert (outlined.max(axis=1) < 20).any()


def test_ids_with_gaps_and_beyond_65536_look_the_same() -> None:
    usual = overlay_image(*field(), CLASSES)
    for ids in ((7, 70_000), (3, 2_000_000_000)):
        np.testing.assert_array_equal(overlay_image(*field(ids=ids), CLASSES), usual)


def test_cells_without_a_row_are_grey_and_counted() -> None:
    rgb, labels, frame = field()
    some = overlay_image(rgb, labels, frame[:1], CLASSES)
    np.testing.assert_array_equal(some[600, 750], [220, 220, 220])
    assert close(some[500, 700], (150, 150, 150))
    none = overlay_image(rgb, labels, frame[:0], CLASSES)
    np.testing.assert_array_equal(none[200, 200], [220, 220, 220])
    unsure = uncertainty_image(rgb, labels, frame[:0], n_classes=2)
    assert unsure.shape[0] == 1024
    unknown = frame.assign(predicted="something else")
    np.testing.assert_array_equal(overlay_image(rgb, labels, unknown, CLASSES)[200, 200], 220)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (30, 40), (264, 264), (90, 9000)])
def test_any_size_of_image(shape: tuple[int, int]) -> None:
    labels = np.zeros(shape, np.int32)
    labels[: shape[0] // 2 + 1, : shape[1] // 2 + 1] = 5
    frame = pd.DataFrame(
        {"label": [5], "predicted": ["red cell"], "entropy": [0.3], "anomaly": [True]}
    )
    rgb = np.full((*shape, 3), 128, np.uint8)
    scale = magnification(shape)
    least = [max(1, round(side * scale)) for side in shape]
    for picture in (
        overlay_image(rgb, labels, frame, CLASSES, pixel_size_um=0.1),
        uncertainty_image(rgb, labels, frame, n_classes=2, pixel_size_um=0.1),
    ):
        assert picture.shape[0] >= least[0]
        assert picture.shape[1] > least[1]
        assert max(picture.shape) < LARGEST + 3000


def test_magnification_is_whole_for_small_and_bounded_for_large_images() -> None:
    assert magnification((480, 640)) == 2
    assert magnification((1536, 2048)) == 1
    assert magnification((4096, 4096)) == 1
    assert magnification((16_384, 100)) == 0.5
    assert magnification((1, 1)) == 8


def test_many_classes_and_long_or_foreign_names() -> None:
    classes = [CellKind(f"class {i} of a very long name indeed", "#123456") for i in range(40)]
    classes += [CellKind("Lymphozyt, groß", "#0072b2"), CellKind("нейтрофил", "#e69f00")]
    rgb, labels, frame = field((480, 640))
    labels[100:200, 100:200] = 1
    picture = overlay_image(rgb, labels, frame, classes, pixel_size_um=0.1)
    assert picture.shape[0] >= 960


def test_hundred_thousand_cells_in_reasonable_time() -> None:
    cells = np.arange(1, 100_001).reshape(250, 400)
    labels = np.kron(cells, np.pad(np.ones((6, 6), int), 1)).astype(np.int32)
    frame = pd.DataFrame(
        {"label": cells.ravel(), "predicted": "red cell", "entropy": 0.1, "anomaly": False}
    )
    rgb = np.full((*labels.shape, 3), 200, np.uint8)
    started = time.perf_counter()
    overlay_image(rgb, labels, frame, CLASSES)
    assert time.perf_counter() - started < 40  # about 5 s on one core


def test_labels_of_another_shape() -> None:
    rgb, labels, frame = field()
    with pytest.raises(InputError, match="do not fit"):
        overlay_image(rgb[:-1], labels, frame, CLASSES)
    with pytest.raises(InputError, match="do not fit"):
        uncertainty_image(rgb[:-1], labels, frame, n_classes=2)


@pytest.mark.parametrize(
    ("limit", "length"), [(0.7, 0.5), (1, 1), (4.9, 2), (49, 20), (50, 50), (99, 50), (101, 100)]
)
def test_scale_bars_have_round_lengths(limit: float, length: float) -> None:
    assert nice_length(limit) == pytest.approx(length)
