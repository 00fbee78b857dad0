"""The differential count: what is counted, what is not, and where it stops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from cytodiffusion.metrics.differential import (
    DifferentialSettings,
    FieldCells,
    differential,
    table_cells,
)
from cytodiffusion.metrics.intervals import wilson_interval

NAMES = ("artefact", "lymphocyte", "neutrophil", "red cell")
WHITE = np.array([False, True, True, False])


def field(
    predicted: list[int],
    y: list[float] | None = None,
    border: tuple[int, ...] = (),
    review: tuple[int, ...] = (),
    names: tuple[str, ...] = NAMES,
) -> FieldCells:
    n = len(predicted)
    rows = np.arange(n, dtype=float) if y is None else np.array(y)
    return FieldCells(
        class_names=names,
        white=WHITE,
        predicted=np.array(predicted, np.int64),
        centroids=np.stack([rows, np.zeros(n)], axis=1),
        touches_border=np.isin(np.arange(n), border),
        review=np.isin(np.arange(n), review),
    )


def test_white_cells_that_are_whole_are_counted() -> None:
    found = differential([field([2, 2, 1, 3, 3, 0, 2, 1], border=(2, 4), review=(0, 3))], 100)
    assert [(c.name, c.count) for c in found.classes] == [("lymphocyte", 1), ("neutrophil", 3)]
    assert (found.counted, found.found, found.cut, found.review) == (4, 4, 1, 1)
    assert found.others == {"artefact": 1, "red cell": 2}
    assert found.classes[1].share == 0.75
    assert found.classes[1].interval == wilson_interval(3, 4)
    assert not found.complete
    assert found.headline() == ("White cells: 4 of 100; neutrophil 3 (75 %), lymphocyte 1 (25 %)")
    assert found.remarks() == [
        "Not counted: artefact 1, red cell 2, white cells cut by the border 1.",
        "1 of the counted are for review.",
    ]


def test_it_stops_and_counts_the_first_from_the_top() -> None:
    # the image that was classified first, then from the top: its last cell lies highest
    first = field([1, 1, 2], y=[30, 20, 10], review=(0,))
    second = field([1, 2, 2], y=[5, 1, 2])
    found = differential([first, second], 4)
    assert [c.count for c in found.classes] == [2, 2]
    assert found.complete
    assert (found.counted, found.found, found.images, found.review) == (4, 6, 2, 1)
    assert found.remarks()[0].startswith("4 reached: these are the first of 6 white cells")
    assert "Added up over 2 images." in found.remarks()
    assert [c.count for c in differential([first, second], 2).classes] == [1, 1]
    exactly = differential([first, second], 6)
    assert exactly.complete
    assert exactly.remarks()[0] == "6 reached."
    everything = differential([first, second])
    assert (everything.counted, everything.complete) == (6, False)
    assert everything.headline().startswith("White cells: 6; ")


def test_models_with_other_classes_add_up_by_name() -> None:
    other = ("platelet", "monocyte", "neutrophil", "red cell")
    found = differential([field([1, 2, 3]), field([0, 1, 2, 3], names=other)])
    counts = {c.name: c.count for c in found.classes}
    assert counts == {"lymphocyte": 1, "neutrophil": 2, "monocyte": 1}
    assert found.others == {"artefact": 0, "red cell": 2, "platelet": 1}


@pytest.mark.parametrize("fields", [[], [field([])], [field([3, 0])]])
def test_nothing_to_count_is_no_error(fields: list[FieldCells]) -> None:
    found = differential(fields, 100)
    assert found.counted == 0
    assert found.headline() == "White cells: 0 of 100"
    assert all(math.isnan(c.share) and math.isnan(c.interval[0]) for c in found.classes)
    assert "nan" not in found.as_text()


def test_the_table_pastes_into_a_spreadsheet() -> None:
    found = differential([field([2, 2, 1, 3])], 100)
    lines = found.as_text().splitlines()
    assert lines[0].split("\t") == ["class", "cells", "percent", "95 % from", "95 % to"]
    low, high = (f"{100 * x:.1f}" for x in wilson_interval(2, 3))
    assert lines[2].split("\t") == ["neutrophil", "2", "66.7", low, high]
    assert lines[3].split("\t") == ["white cells", "3", "100.0", "", ""]
    assert "66,7" in found.as_text(",")


def test_the_setting_has_bounds() -> None:
    assert DifferentialSettings().stop_at == 100
    assert DifferentialSettings(stop_at=None).stop_at is None
    with pytest.raises(ValidationError):
        DifferentialSettings(stop_at=0)


def test_a_table_is_counted_as_its_cells_are() -> None:
    cells = field([2, 2, 1, 3, 0], y=[4, 3, 2, 1, 0], border=(0,), review=(1,))
    frame = pd.DataFrame(
        {
            "predicted": [NAMES[k] for k in cells.predicted],
            "y": cells.centroids[:, 0],
            "x": cells.centroids[:, 1],
            "touches_border": cells.touches_border,
            "review": cells.review,
        }
    )
    for stop_at in (None, 1):
        found = differential([table_cells(frame, NAMES, WHITE)], stop_at)
        assert found.record() == differential([cells], stop_at).record()
    assert found.record() == {
        "counted": 1,
        "cut_by_border": 1,
        "for_review": 0,
        "classes": {
            "lymphocyte": {"cells": 1, "share": 1.0, "interval": list(wilson_interval(1, 1))},
            "neutrophil": {"cells": 0, "share": 0.0, "interval": list(wilson_interval(0, 1))},
        },
    }
