"""Segmentation by the smear network of the default model, on drawn fields with known cells."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_fields import Field, overlap, red_field
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.segmentation import network as network_module
from cytodiffusion.segmentation import segment
from cytodiffusion.segmentation.network import (
    at_working_size,
    network,
    read_field,
    smear_network,
    the_many_are_red,
)
from cytodiffusion.segmentation.network_scale import measure_scale
from cytodiffusion.segmentation.result import PLATELET, RED, UNKNOWN, WHITE

PIXEL_UM = 0.14


@pytest.fixture(scope="module")
def mixed() -> Field:
    """Red cells, two white cells and platelets."""
    drawn = red_field((400, 520))
    drawn.white_cell(150, 160, lobes=3, diameter_um=13)
    drawn.white_cell(290, 400)
    for y, x in ((60, 350), (330, 120), (210, 300)):
        drawn.absorbed[drawn.disc(y, x, 6)] = 0
        drawn.truth[drawn.disc(y, x, 6)] = 0
        drawn.platelet(y, x)
    return drawn


def matched(one: NDArray[np.int32], other: NDArray[np.int32], least: float) -> float:
    """Share of the labels of one that have a counterpart in the other."""
    labels = np.unique(one[one > 0])
    return float(np.mean([overlap(other, one == label) >= least for label in labels]))


def test_it_finds_cells_and_their_kinds(mixed: Field) -> None:
    found = segment(mixed.image(), "network", PIXEL_UM)
    assert found.method == "network"
    assert found.kinds is not None
    assert len(found.kinds) == found.n_cells
    whole = [k for k in range(1, mixed.cells + 1) if (mixed.truth == k).sum() > 1000]
    assert np.mean([overlap(found.labels, mixed.truth == k) > 0.6 for k in whole]) > 0.9
    for y, x in ((150, 160), (290, 400)):
        assert found.kinds[found.labels[y - 12, x] - 1] == WHITE
    assert (found.kinds == RED).sum() > 20
    assert 2 <= (found.kinds == PLATELET).sum() <= 5


def test_it_is_automatic_without_cellpose(mixed: Field) -> None:
    found = segment(mixed.image(), pixel_size_um=PIXEL_UM, device="cpu")
    assert found.method == "network"


def test_two_runs_agree(mixed: Field) -> None:
    one, other = (network(mixed.image(), PIXEL_UM) for _ in range(2))
    np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("pixel_um", [0.06, 0.1, 0.2, 0.3])
def test_scale_by_the_red_cells(pixel_um: float) -> None:
    shape = (int(56 / pixel_um), int(72 / pixel_um))
    found = measure_scale(red_field(shape, pixel_um).image(falloff=0.1), smear_network())
    assert found.source == "estimated"
    assert found.pixel_size_um == pytest.approx(pixel_um, rel=0.12)


def test_a_picture_of_one_cell_keeps_the_first_guess(data_root: Path) -> None:
    from cytodiffusion.image.image import open_image

    paths = sorted((data_root / "pbc/val").glob("*/*.jpg"))[::60]
    sizes = [measure_scale(open_image(path).rgb(), smear_network()).pixel_size_um for path in paths]
    assert all(0.07 < size < 0.14 for size in sizes)


def framed(rgb: NDArray[np.uint8], form: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A field with something dark around it, and what is left to be seen."""
    height, width = rgb.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    if form == "eyepiece":
        inside = (rows - 190) ** 2 + (columns - 280) ** 2 < 185**2
    elif form == "corners":
        inside = (rows - 200) ** 2 + (columns - 260) ** 2 < 290**2
    else:
        border = int(form)
        inside = np.zeros((height, width), bool)
        inside[border : height - border, border : width - border] = True
    inside = np.broadcast_to(inside, (height, width))
    shade = 35 if form in ("corners", "30") else 0
    return np.where(inside[..., None], rgb, np.uint8(shade)).astype(np.uint8), inside


@pytest.mark.parametrize("form", ["1", "5", "30", "eyepiece", "corners"])
def test_what_is_dark_around_the_field_changes_nothing_inside(mixed: Field, form: str) -> None:
    plain = segment(mixed.image(), "network")
    rgb, inside = framed(mixed.image(), form)
    found = segment(rgb, "network")
    assert found.pixel_size_um == pytest.approx(plain.pixel_size_um, rel=0.05)
    cut = np.unique(plain.labels[~inside])
    kept = np.where(np.isin(plain.labels, cut), 0, plain.labels).astype(np.int32)
    assert matched(kept, found.labels, 0.8) >= 0.97
    outside = ~inside
    assert (found.labels[outside] > 0).mean() < 0.1


def test_cells_that_the_border_cuts_are_kept(mixed: Field) -> None:
    rgb = mixed.image()
    found = network(rgb[:, 26:].copy(), PIXEL_UM)
    cut = np.unique(mixed.truth[:, 26][mixed.truth[:, 26] > 0])
    large = [k for k in cut if (mixed.truth[:, 26:] == k).sum() > 500]
    assert large
    assert all(overlap(found.labels, mixed.truth[:, 26:] == k) > 0.5 for k in large)


def test_nothing_large_is_called_a_red_cell() -> None:
    drawn = red_field()
    drawn.stain(drawn.disc(200, 260, 22), (0.10, 0.45, 0.38))
    found = network(drawn.image(), PIXEL_UM)
    assert found.kinds is not None
    areas = np.bincount(found.labels.ravel())[1:] * PIXEL_UM**2
    assert not ((areas > 150) & (found.kinds == RED)).any()
    assert set(np.unique(found.kinds)) <= {UNKNOWN, RED, WHITE, PLATELET}


def test_the_many_of_a_field_are_red_cells_whatever_their_colour() -> None:
    kinds = np.array([UNKNOWN, *[WHITE] * 14, RED, PLATELET, WHITE], np.uint8)
    areas = np.array([0, *[44.0] * 14, 40, 4, 180])
    found = the_many_are_red(kinds, areas)
    assert (found[1:15] == RED).all()
    assert found[-2:].tolist() == [PLATELET, WHITE]
    few = kinds[10:]
    np.testing.assert_array_equal(the_many_are_red(few, areas[10:]), few)


def test_kinds_can_be_left_out(mixed: Field) -> None:
    found = segment(mixed.image(), "network", PIXEL_UM, red_cells=False, platelets=False)
    assert found.kinds is not None
    assert set(np.unique(found.kinds)) == {WHITE}


def test_blocks_say_what_the_whole_says(mixed: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = mixed.image()
    whole = read_field(rgb, smear_network())
    monkeypatch.setattr(network_module, "BLOCK", 320)
    parts = read_field(rgb, smear_network())
    assert np.mean((whole.cells > 0) == (parts.cells > 0)) > 0.98


def test_a_large_coarse_field_is_not_enlarged_beyond_memory() -> None:
    large = np.zeros((2000, 2000, 3), np.uint8)
    small, working_um = at_working_size(large, 0.7, smear_network())
    assert max(small.shape) <= 4000
    assert working_um == pytest.approx(0.35)
    small, working_um = at_working_size(large[:200, :200], 0.7, smear_network())
    assert working_um == pytest.approx(0.18, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 3), (64, 64)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_without_cells_it_says_so(shape: tuple[int, int], value: int) -> None:
    found = network(np.full((*shape, 3), value, np.uint8))
    assert found.labels.shape == shape
    assert found.n_cells == 0
    assert found.warnings


def test_settings_count_where_the_scale_is_not_known_too(mixed: Field) -> None:
    usual, strict = (
        segment(mixed.image(), "network", cell_threshold=added) for added in (0.0, 3.0)
    )
    assert (strict.labels > 0).sum() < 0.97 * (usual.labels > 0).sum()


def test_settings_out_of_range_are_refused(mixed: Field) -> None:
    with pytest.raises(InputError, match="cell threshold"):
        segment(mixed.image(), "network", PIXEL_UM, cell_threshold=99)


def test_recalls_on_a_laboratory_never_trained_on(data_root: Path) -> None:
    import pandas as pd
    from benchmarks.fields_of_sets import box_overlap, label_boxes, matches

    from cytodiffusion.image.image import open_image

    boxes = pd.read_csv(data_root / "dense/boxes.csv")
    hits, wanted = {"rbc": 0, "wbc": 0}, {"rbc": 0, "wbc": 0}
    for name in sorted(boxes["image"].unique())[::4]:
        rgb = open_image(data_root / "dense/images" / name).rgb()
        found = network(rgb)
        mine = label_boxes(found.labels)
        own = boxes[boxes["image"] == name]
        for kind in hits:
            rows = own[own["label"] == kind][["ymin", "xmin", "ymax", "xmax"]].to_numpy()
            truth = rows * np.tile(rgb.shape[:2], 2)
            wanted[kind] += len(truth)
            hits[kind] += len(matches(box_overlap(truth, mine), 0.5)) if len(truth) else 0
    assert hits["rbc"] / wanted["rbc"] >= 0.88
    assert hits["wbc"] / wanted["wbc"] >= 0.6


@pytest.mark.parametrize(
    "name", ["M4_eyepiece_r300.jpg", "M5_eyepiece_r200.jpg", "M9_black_frame.jpg"]
)
def test_pictures_through_an_eyepiece_and_in_a_frame(data_root: Path, name: str) -> None:
    from cytodiffusion.image.image import open_image

    cases = Path(os.environ.get("CYTODIFFUSION_CASES", data_root.parent / "cases"))
    if not (cases / name).is_file():
        pytest.skip("the files from outside are not on this machine")
    rgb = open_image(cases / "M0_plain.jpg").rgb()
    other = open_image(cases / name).rgb()
    alike = np.abs(other.astype(int) - rgb).max(axis=2) < 60
    hidden = cv2.medianBlur(alike.astype(np.uint8), 9) == 0
    plain, found = segment(rgb, "network"), segment(other, "network")
    assert found.pixel_size_um == pytest.approx(plain.pixel_size_um, rel=0.05)
    cut = np.unique(plain.labels[hidden])
    border = (plain.labels[0], plain.labels[-1], plain.labels[:, 0], plain.labels[:, -1])
    cut = np.unique(np.concatenate([cut, *border]))
    kept = np.where(np.isin(plain.labels, cut), 0, plain.labels).astype(np.int32)
    count = len(np.unique(kept)) - 1
    assert matched(kept, found.labels, 0.8) >= 0.97 - 1 / count  # one of so few is no share
    areas = np.bincount(found.labels.ravel())[1:]
    outside = np.bincount(found.labels[hidden], minlength=len(areas) + 1)[1:]
    assert not (outside > 0.5 * areas).any()
