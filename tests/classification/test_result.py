"""What is said of many cells at once."""

from __future__ import annotations

import pytest

from cytodiffusion.classification.result import ENOUGH, many_unlike


@pytest.mark.parametrize(("flagged", "cells"), [(0, 0), (0, 500), (100, 500), (9, 9), (2, 10)])
def test_some_anomalous_cells_are_no_news(flagged: int, cells: int) -> None:
    assert many_unlike(flagged, cells) is None


def test_many_anomalous_cells_are_told_with_what_to_do() -> None:
    assert many_unlike(3, ENOUGH) is not None
    told = many_unlike(1200, 2000)
    assert told is not None
    assert told.startswith("1,200 of 2,000 cells are unlike those the model was trained on")
    assert "train on cells of your own" in told
