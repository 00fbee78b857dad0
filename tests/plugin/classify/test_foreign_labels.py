"""Labels of other tools in *Classify cells*, and layers that disagree."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.layers.placement import note_of
from napari_cytodiffusion.session import Session

PLACE = {"scale": (0.1, 0.1), "units": ("um", "um"), "translate": (5.0, 7.0)}


@pytest.fixture
def widget(viewer, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    return made


def run(widget, viewer, qtbot):
    widget.start()
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=30_000)


def foreign(smear, kind):
    labels = smear[1]
    if kind == "mask":
        return (labels > 0).astype(np.uint8)
    if kind == "pieces":  # numbers that ran out
        return np.where(labels > 0, (labels - 1) % 4 + 1, 0).astype(np.uint8)
    return labels / 255  # fractions of CellProfiler


@pytest.mark.parametrize("kind", ["mask", "pieces", "fractions"])
def test_labels_of_other_tools_are_understood(widget, viewer, smear, messages, qtbot, kind):
    viewer.layers.remove("cells")
    theirs = foreign(smear, kind)
    add = viewer.add_labels if theirs.dtype.kind in "iu" else viewer.add_image
    layer = add(theirs, name="theirs", **PLACE)
    assert widget.cells.layer() is layer
    assert widget.image.layer() is viewer.layers["smear"]
    run(widget, viewer, qtbot)
    cells = viewer.layers["theirs as cells"]
    np.testing.assert_array_equal(cells.data > 0, smear[1] > 0)
    assert len(np.unique(cells.data)) == 13
    views = Session.of(viewer).current
    assert views.labels is cells
    assert len(views.results) == 12
    np.testing.assert_allclose(cells.scale, layer.scale)
    assert not layer.visible
    word = {"mask": "mask", "pieces": "far apart", "fractions": "CellProfiler"}[kind]
    assert word in widget.agreement.made.text()
    assert widget.agreement.made.isVisibleTo(widget)
    assert any(word in text for text in messages)
    # once is enough
    assert widget.cells.layer() is cells
    run(widget, viewer, qtbot)
    assert [one.name for one in viewer.layers].count("theirs as cells") == 1
    assert "theirs as cells [1]" not in viewer.layers


def test_plain_labels_stay_as_they_are(widget, viewer, qtbot):
    run(widget, viewer, qtbot)
    assert Session.of(viewer).current.labels is viewer.layers["cells"]
    assert "notes" not in note_of(viewer.layers["cells"])
    assert not widget.agreement.isVisibleTo(widget)


def test_a_picture_instead_of_labels_is_refused_in_a_sentence(widget, viewer, messages, qtbot):
    rng = np.random.default_rng(0)
    viewer.layers["cells"].data = rng.integers(1, 200, (160, 200))
    run(widget, viewer, qtbot)
    assert len(messages) == 1
    assert "looks like a picture" in messages[0]
    assert Session.of(viewer).current is None


def test_what_disagrees_stands_in_red(widget, viewer):
    note = widget.agreement
    assert not note.isVisibleTo(widget)
    viewer.layers["cells"].scale = (0.3, 0.3)
    assert note.isVisibleTo(widget)
    assert "'smear' is 0.1" in note.red.text()
    assert "'cells' 0.3" in note.red.text()
    assert "color: #" in note.red.text()
    viewer.layers["cells"].scale = (0.1, 0.1)
    assert not note.isVisibleTo(widget)
    viewer.layers["cells"].translate = (0, 0)
    assert "moved or turned" in note.red.text()
    viewer.layers["cells"].translate = viewer.layers["smear"].translate
    assert not note.red.text()
    viewer.layers["smear"].name = "<b>mine</b>"
    viewer.layers["cells"].data = np.eye(50, dtype=int)
    assert "50 x 50 pixels" in note.red.text()
    assert "&lt;b&gt;mine" in note.red.text()


def test_a_typed_pixel_size_that_is_not_that_of_the_cells(widget, viewer):
    widget.pixel_size.value = 0.4
    assert "0.4 \u00b5m" in widget.agreement.red.text()
    widget.pixel_size.value = 0.1
    assert not widget.agreement.red.text()
