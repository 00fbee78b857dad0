"""What is said of many cells at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated import from_posterior

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


def test_classes_of_one_name_share_a_column() -> None:
    posterior = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    result = from_posterior(posterior)
    names = ("lymphocyte", "monocyte", "lymphocyte")
    merged = replace(result, class_names=names, prediction_set=np.ones((2, 3), bool)).to_frame()
    assert merged.columns.is_unique
    np.testing.assert_allclose(merged["p_lymphocyte"], [0.7, 0.8])
    assert merged["prediction_set"].tolist() == ["lymphocyte|monocyte"] * 2
