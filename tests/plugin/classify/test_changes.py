"""Cells that are painted, deleted or added after they were classified."""

from __future__ import annotations

import numpy as np
import pytest

from cytodiffusion.image.label_changes import CellChanges
from napari_cytodiffusion.classify.changes import words
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.session import Session


@pytest.fixture
def widget(viewer, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    inspect = InspectWidget(viewer)
    qtbot.addWidget(inspect)
    made.inspect = inspect
    made.start()
    settle(viewer, qtbot)
    viewer.layers["cells"].visible = True
    return made


def settle(viewer, qtbot):
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=30_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)
    qtbot.waitUntil(lambda: "predicted" in viewer.layers["cells"].features, timeout=30_000)


def changes(viewer):
    return Session.of(viewer).current.changes


def edit(viewer, qtbot):
    """Paint on cell 1, delete cell 2, add cell 40."""
    cells = viewer.layers["cells"]
    cells.brush_size = 5
    cells.paint((30, 41), 1)
    cells.fill((30, 75), 0)
    cells.paint((55, 100), 40)
    qtbot.waitUntil(lambda: bool(changes(viewer)), timeout=10_000)
    qtbot.waitUntil(lambda: changes(viewer) == CellChanges((1,), (40,), (2,)), timeout=10_000)


def test_painted_and_deleted_cells_are_named_everywhere(widget, viewer, qtbot):
    assert not widget.changes.isVisibleTo(widget)
    before = widget.legend.counts[2].text()
    widget.inspect.show_cell(2)
    edit(viewer, qtbot)
    assert widget.changes.isVisibleTo(widget)
    assert widget.changes.text.text() == (
        "Cells since the classification: 1 changed, 1 new, 1 deleted."
    )
    assert widget.changes.button.text() == "Classify the changed cells (2)"
    views = Session.of(viewer).current
    # counts, texts, rows, walks and colours follow
    assert before.startswith("3 ")
    assert widget.legend.counts[2].text().startswith("2 ")
    assert views.describe(30, 25).endswith("(cell 1), changed since classification")
    assert views.describe(55, 100) == "not classified yet (cell 40)"
    assert views.describe(30, 75) is None
    assert "changed" not in views.describe(30, 125)
    table = viewer.layers["cells"].features
    assert list(table.index[table["changed"]]) == [1, 2]
    assert 2 not in views.results.ordered("uncertainty")
    assert "deleted" not in widget.inspect.title.text()
    assert not widget.inspect._area.isVisibleTo(widget.inspect)
    widget.inspect.show_cell(1)
    assert "Changed since" in widget.inspect.border.text()
    widget.inspect.show_cell(3)
    assert not widget.inspect.border.isVisibleTo(widget.inspect)
    shown = viewer.layers["cells class"].data
    assert shown[30, 75] == 0
    assert shown[30, 42] == shown[30, 25] == 2
    assert shown[55, 100] == 0


def test_only_the_changed_cells_are_classified_again(widget, viewer, engine, qtbot):
    edit(viewer, qtbot)
    first = len(engine.requests)
    before = Session.of(viewer).current.results.record(5)
    widget.changes.button.click()
    settle(viewer, qtbot)
    viewer.layers["cells"].visible = True
    qtbot.waitUntil(lambda: not widget.changes.isVisibleTo(widget), timeout=10_000)
    assert len(engine.requests) == first + 1
    known = [int(i) for batch in engine.requests[-1]["known"] for i in batch.crops.ids]
    assert sorted(known) == list(range(3, 13))
    views = Session.of(viewer).current
    assert sorted(views.results.ordered("class")) == [1, *range(3, 13), 40]
    assert views.results.record(5).posterior == pytest.approx(before.posterior)
    assert views.results.record(1).area_um2 > views.results.record(3).area_um2
    assert "changed" not in views.describe(30, 25)
    assert "red cell" not in (views.describe(55, 100) or "")
    assert "(cell 40)" in views.describe(55, 100)
    assert widget.run_bar.line.text().startswith("12 cells classified")
    # and all of it once more
    viewer.layers["cells"].fill((130, 25), 0)
    qtbot.waitUntil(lambda: changes(viewer).removed == (9,), timeout=10_000)
    assert not widget.changes.button.isVisibleTo(widget)
    assert widget.changes.text.text() == "Cells since the classification: 1 deleted."


def test_what_is_undone_has_not_changed(widget, viewer, qtbot):
    cells = viewer.layers["cells"]
    cells.fill((30, 75), 0)
    qtbot.waitUntil(lambda: changes(viewer).removed == (2,), timeout=10_000)
    assert len(Session.of(viewer).current.results) == 11
    cells.undo()
    qtbot.waitUntil(lambda: not changes(viewer), timeout=10_000)
    assert len(Session.of(viewer).current.results) == 12
    assert not widget.changes.isVisibleTo(widget)
    assert not viewer.layers["cells"].features["changed"].any()
    assert viewer.layers["cells class"].data[30, 75] == 3


def test_the_slide_is_corrected_with_all_cells(widget, viewer, engine, qtbot):
    edit(viewer, qtbot)
    engine.corrects = 1
    widget.changes.button.click()
    settle(viewer, qtbot)
    assert list(Session.of(viewer).current.results.counts) == [0, 12, 0, 0]


def test_what_is_painted_in_a_hidden_layer_is_seen_when_it_is_shown(widget, viewer, qtbot):
    cells = viewer.layers["cells"]
    cells.visible = False
    cells.fill((30, 75), 0)
    cells.visible = True
    qtbot.waitUntil(lambda: changes(viewer).removed == (2,), timeout=10_000)


def test_labels_that_are_replaced_are_seen(widget, viewer, qtbot):
    cells = viewer.layers["cells"]
    data = np.array(cells.data)
    data[data == 7] = 0
    cells.data = data
    qtbot.waitUntil(lambda: changes(viewer).removed == (7,), timeout=10_000)


def test_words():
    assert words(CellChanges()) == ""
    assert words(CellChanges((1, 2))) == "Cells since the classification: 2 changed."


def test_one_watch_serves_several_widgets_and_outlives_them(widget, viewer, qtbot):
    layer = viewer.layers["cells"]
    before = len(layer.events.paint.callbacks)
    other = ClassifyWidget(viewer)
    assert len(layer.events.paint.callbacks) == before
    other.deleteLater()
    qtbot.wait(50)
    layer.fill((30, 75), 0)
    qtbot.waitUntil(lambda: changes(viewer).removed == (2,), timeout=10_000)
