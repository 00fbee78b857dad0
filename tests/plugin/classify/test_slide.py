"""Cells corrected for their slide: coloured and counted anew when all are classified."""

from __future__ import annotations

import numpy as np
import pytest
from fake_engine import CLASSES
from qtpy.QtCore import Qt

from cytodiffusion.classification.settings import ClassifySettings
from napari_cytodiffusion.classify.widget import ClassifyWidget


@pytest.fixture
def widget(viewer, engine, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    return made


def classify(widget, qtbot):
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    session = widget._session
    qtbot.waitUntil(lambda: not session.busy, timeout=60_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)
    return session.current


def test_corrected_cells_take_the_places_of_the_first(widget, engine, viewer, smear, qtbot):
    engine.corrects = 2
    views = classify(widget, qtbot)
    assert len(views.results) == views.results.counts[2] == 12
    assert views.results.record(5).predicted == 2
    shown = viewer.layers["cells class"].data
    values = {int(shown[smear[1] == i].max()) for i in range(1, 13)}
    assert len(values) == 1


def test_a_run_that_is_cancelled_is_corrected_whole_or_not_at_all(engine, smear):
    """Corrected batches reach the window as one item, when the last of them is there."""
    from napari_cytodiffusion.classify import jobs

    engine.corrects = 2
    request = jobs.ClassifyRequest(
        image=smear[0],
        labels=smear[1],
        source="",
        device="cpu",
        settings=ClassifySettings(),
        pixel_size_um=0.1,
    )
    items = list(jobs.classify_body(engine, request)(lambda *_: None))
    assert [type(item) for item in items[-2:]] == [jobs.ClassifiedCells, jobs.CorrectedCells]
    assert sum(isinstance(item, jobs.CorrectedCells) for item in items) == 1
    assert len(items[-1].batches) == 3


def test_each_cell_is_looked_at_alone_where_the_box_is_ticked(widget, engine, qtbot):
    engine.corrects = 2
    assert not widget.form["alone"].value
    widget.form["alone"].value = True
    views = classify(widget, qtbot)
    assert engine.requests[0]["settings"].alone
    np.testing.assert_array_equal(views.results.counts, [3] * len(CLASSES))
