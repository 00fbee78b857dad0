from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_fields import Field, red_field

from cytodiffusion.segmentation.arcs import outline_arcs
from cytodiffusion.segmentation.scale import DEFAULT_PIXEL_UM, estimate_pixel_size


@pytest.mark.parametrize("pixel_um", [0.05, 0.1, 0.2, 0.35])
def test_scale_of_separate_red_cells(pixel_um: float) -> None:
    shape = (int(40 / pixel_um), int(54 / pixel_um))
    found = estimate_pixel_size(red_field(shape, pixel_um).image(falloff=0.1))
    assert found.source == "estimated"
    assert found.pixel_size_um == pytest.approx(pixel_um, rel=0.1)
    assert found.n_cells >= 6
    assert found.spread < 0.2


def test_scale_of_a_crowd() -> None:
    drawn = Field((420, 560))
    jitter = np.random.default_rng(3)
    for y in range(30, 420, 44):
        for x in range(30, 560, 44):
            if jitter.random() < 0.75:
                drawn.red_cell(*(np.array([y, x]) + jitter.uniform(-6, 6, 2)))
    found = estimate_pixel_size(drawn.image())
    assert found.pixel_size_um == pytest.approx(drawn.pixel_um, rel=0.2)


def test_specks_and_white_cells_do_not_count() -> None:
    drawn = red_field()
    jitter = np.random.default_rng(4)
    for _ in range(60):
        drawn.stain(drawn.disc(*jitter.uniform((0, 0), drawn.shape), 1.2), (0.5, 0.5, 0.5))
    drawn.white_cell(200, 260, lobes=3, diameter_um=15)
    found = estimate_pixel_size(drawn.image())
    assert found.pixel_size_um == pytest.approx(drawn.pixel_um, rel=0.12)


def test_without_red_cells_the_nucleus_tells() -> None:
    drawn = Field((160, 160))
    drawn.white_cell(80, 80)
    found = estimate_pixel_size(drawn.image())
    assert found.source == "assumed"
    assert 0.6 < found.pixel_size_um / drawn.pixel_um < 1.7


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (64, 64)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_without_cells_a_common_scale_is_assumed(shape: tuple[int, int], value: int) -> None:
    found = estimate_pixel_size(np.full((*shape, 3), value, np.uint8))
    assert found.source == "assumed"
    assert found.pixel_size_um == DEFAULT_PIXEL_UM
    assert found.n_cells == 0


def test_arcs_of_two_overlapping_discs_have_their_diameter() -> None:
    rows, columns = np.ogrid[:120, :160]
    mask = (rows - 60) ** 2 + (columns - 55) ** 2 <= 30**2
    mask = mask | ((rows - 60) ** 2 + (columns - 100) ** 2 <= 30**2)
    arcs = [arc for arc in outline_arcs(mask) if arc.share > 0.3]
    assert len(arcs) == 2
    for arc, x in zip(sorted(arcs, key=lambda arc: arc.x), (55, 100), strict=True):
        assert arc.diameter == pytest.approx(61, rel=0.08)
        assert (arc.y, arc.x) == pytest.approx((60, x), abs=2.5)


def test_arcs_of_an_empty_mask() -> None:
    assert outline_arcs(np.zeros((20, 20), bool)) == []


@pytest.mark.data
def test_real_single_cell_images(data_root: Path) -> None:
    paths = sorted((data_root / "pbc/val").glob("*/*.jpg"))[::90]
    ratios = []
    for path in paths:
        image = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        ratios.append(estimate_pixel_size(image).pixel_size_um / 0.1)
    assert np.mean(np.abs(np.log(ratios)) < np.log(1.2)) > 0.8
    assert np.median(ratios) == pytest.approx(1, abs=0.1)
