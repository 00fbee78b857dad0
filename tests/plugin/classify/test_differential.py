"""The differential count in the window: what it adds up, where it stops, what is copied."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_cytodiffusion.classify.widget import ClassifyWidget


@pytest.fixture
def widget(viewer, engine, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    return made


def classify(widget, qtbot):
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)


def counts(panel):
    return {c.name: c.count for c in panel.found.classes}


def test_white_cells_are_counted_and_what_is_left_out_is_said(widget, qtbot):
    panel = widget.differential
    assert not panel.isVisibleTo(widget)
    classify(widget, qtbot)
    assert panel.isVisibleTo(widget)
    assert counts(panel) == {"basophil": 3, "neutrophil": 3}
    assert "White cells: 6 of 100" in panel.headline.text()
    assert panel.headline.toolTip() == "basophil 3 (50 %), neutrophil 3 (50 %)"
    assert "Not counted: red cell 3, artefact 3." in panel.remarks.text()
    assert "1 of the counted are for review." in panel.remarks.text()
    assert "neutrophil" in panel.table.text()
    assert "19\u201381" in panel.table.text()


def test_it_adds_up_the_images_and_no_image_twice(widget, viewer, smear, qtbot):
    classify(widget, qtbot)
    viewer.add_labels(smear[1].copy(), name="cells once more", scale=(0.1, 0.1), units=("um", "um"))
    widget.image.choose(viewer.layers["smear"])
    widget.cells.choose(viewer.layers["cells once more"])
    viewer.layers["cells once more"].translate = viewer.layers["smear"].translate
    classify(widget, qtbot)
    assert widget.differential.found.counted == 6
    other = np.ascontiguousarray(smear[0][:, ::-1])
    place = {"scale": (0.1, 0.1), "translate": (50.0, 70.0), "units": ("um", "um")}
    viewer.add_image(other, name="other", rgb=True, **place)
    viewer.add_labels(np.ascontiguousarray(smear[1][:, ::-1]), name="other cells", **place)
    widget.image.choose(viewer.layers["other"])
    widget.cells.choose(viewer.layers["other cells"])
    classify(widget, qtbot)
    assert widget.differential.found.counted == 12
    assert "Added up over 2 images." in widget.differential.remarks.text()
    viewer.layers.remove("smear")
    qtbot.waitUntil(lambda: widget.differential.found.counted == 6, timeout=5_000)


def test_it_stops_where_it_is_told(widget, qtbot):
    classify(widget, qtbot)
    panel = widget.differential
    panel.stop_at.value = 4
    assert panel.found.counted == 4
    assert "4 reached: these are the first of 6 white cells" in panel.remarks.text()
    panel.stop_at.value = None
    assert panel.stop_at.native.text() == "never, count all"
    assert panel.found.counted == 6
    assert "White cells: 6<" in panel.headline.text()


def test_the_table_is_copied(widget, qtbot, monkeypatch):
    monkeypatch.setattr("napari_cytodiffusion.classify.differential.decimal_mark", lambda: ",")
    classify(widget, qtbot)
    qtbot.mouseClick(widget.differential.copy, Qt.MouseButton.LeftButton)
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0].startswith("class\tcells\tpercent")
    assert lines[1].split("\t")[:3] == ["basophil", "3", "50,0"]


def test_a_corrected_run_is_counted_as_corrected(widget, engine, qtbot):
    engine.corrects = 1
    classify(widget, qtbot)
    assert counts(widget.differential) == {"basophil": 0, "neutrophil": 12}
