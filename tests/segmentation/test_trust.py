"""A segmentation that is not to be trusted says so."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_fields import Field
from numpy.typing import NDArray

from cytodiffusion.segmentation.result import Segmentation
from cytodiffusion.segmentation.trust import doubts


@pytest.fixture(scope="module")
def field() -> Field:
    drawn = Field((480, 640), 0.14)
    for y in range(50, 460, 80):
        for x in range(50, 620, 80):
            drawn.red_cell(y, x)
    return drawn


def said(field: Field, labels: NDArray[np.int32], rgb: NDArray[np.uint8] | None = None) -> str:
    found = Segmentation(labels, field.pixel_um, "given", "test")
    return " ".join(doubts(field.image() if rgb is None else rgb, found))


def test_a_good_segmentation_is_not_doubted(field: Field) -> None:
    assert said(field, field.truth) == ""


def test_one_object_over_much_of_the_picture(field: Field) -> None:
    labels = field.truth.copy()
    labels[100:400, 100:500] = 1
    assert "hardly a cell" in said(field, labels)


def test_objects_of_many_cells(field: Field) -> None:
    labels = field.truth.copy()
    labels[0:160, 0:200] = 1
    assert "times as large as a red cell" in said(field, labels)


def test_cells_without_an_outline(field: Field) -> None:
    labels = np.where(field.truth <= field.truth.max() // 3, field.truth, 0).astype(np.int32)
    assert "has no outline" in said(field, labels)
    assert "has no outline" in said(field, np.zeros_like(field.truth))


def test_hardly_any_cell_in_a_field() -> None:
    drawn = Field((480, 640), 0.14)
    drawn.red_cell(200, 200)
    assert "Hardly any cell" in said(drawn, drawn.truth)


def test_a_picture_of_one_cell_is_no_field() -> None:
    drawn = Field((140, 140), 0.14)
    drawn.white_cell(70, 70)
    assert said(drawn, drawn.truth) == ""


@pytest.mark.parametrize("width", [1, 5, 30, 60])
@pytest.mark.parametrize("shade", [0, 40])
def test_a_dark_frame_is_not_missed_cells(field: Field, width: int, shade: int) -> None:
    rgb, labels = field.image(), field.truth.copy()
    for edge in (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:]):
        rgb[edge], labels[edge] = shade, 0
    assert said(field, labels, rgb) == ""
