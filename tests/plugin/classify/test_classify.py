from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt

from cytodiffusion.errors import DownloadNeeded, InputError, OutOfMemoryError
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.fold import FormArea, RestArea


@pytest.fixture
def widget(viewer, engine, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    return made


def classify(widget, qtbot, timeout=60_000):
    session = widget._session
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not session.busy, timeout=timeout)
    if session.current is not None:
        qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)


def wait_for_table(viewer, qtbot):
    qtbot.waitUntil(lambda: "predicted" in viewer.layers["cells"].features, timeout=30_000)
    return viewer.layers["cells"].features


def test_layers_lie_on_the_labels_and_show_the_classes(widget, viewer, smear, qtbot):
    classify(widget, qtbot)
    names = [layer.name for layer in viewer.layers]
    assert names == ["smear", "cells", "cells class", "cells uncertainty", "cells anomalies"]
    cells = viewer.layers["cells"]
    for name in names[2:]:
        layer = viewer.layers[name]
        assert type(layer) is Labels
        assert layer.data.dtype == np.uint8
        np.testing.assert_allclose(layer.scale, cells.scale)
        np.testing.assert_allclose(layer.translate, cells.translate)
        assert layer.units == cells.units
        assert not layer.editable
    ids = smear[1]
    shown = viewer.layers["cells class"].data
    for number in range(1, 13):
        assert set(np.unique(shown[ids == number])) == {number % 4 + 1}
    uncertainty = viewer.layers["cells uncertainty"].data
    assert uncertainty[ids == 1][0] < uncertainty[ids == 12][0]
    outlined = np.unique(ids[viewer.layers["cells anomalies"].data > 0])
    assert list(outlined) == [4, 9, 10, 11, 12]  # anomalies, and those for review
    assert not cells.visible


def test_colours_are_the_models(widget, viewer, smear, qtbot):
    classify(widget, qtbot)
    layer = viewer.layers["cells class"]
    np.testing.assert_allclose(layer.get_color(1), [0x33 / 255, 0x22 / 255, 0x88 / 255, 1])
    assert layer.get_color(0) is None or layer.get_color(0)[3] == 0


def test_features_carry_the_table_row_by_label(widget, viewer, qtbot):
    heard = []
    viewer.layers["cells"].events.features.connect(lambda e: heard.append(1))
    classify(widget, qtbot)
    table = wait_for_table(viewer, qtbot)
    assert list(table["label"]) == list(range(13))
    assert table.loc[2, "predicted"] == "red cell"
    assert table.loc[0, "predicted"] == ""
    assert heard


def test_pixel_size_comes_from_the_layer(widget, engine, viewer, qtbot):
    classify(widget, qtbot)
    assert engine.requests[0]["pixel_size_um"] == pytest.approx(0.1)
    note = viewer.layers["cells"].metadata["cytodiffusion"]
    assert note["classified_at_um"] == pytest.approx(0.1)


def test_settings_reach_the_engine(widget, engine, answer, qtbot):
    answer(True)  # that the scale is meant
    widget.form["trials"].value = 7
    widget.form["seed"].value = 42
    widget.pixel_size.value = 0.2
    classify(widget, qtbot)
    assert engine.requests[0]["settings"].trials == 7
    assert engine.requests[0]["settings"].seed == 42
    assert engine.requests[0]["pixel_size_um"] == pytest.approx(0.2)


def test_one_click_switches_the_colours(widget, viewer, qtbot):
    classify(widget, qtbot)
    qtbot.mouseClick(widget.uncertainty_button, Qt.MouseButton.LeftButton)
    assert viewer.layers["cells uncertainty"].visible
    assert not viewer.layers["cells class"].visible
    assert widget.legend.bar.isVisibleTo(widget)
    qtbot.mouseClick(widget.class_button, Qt.MouseButton.LeftButton)
    assert viewer.layers["cells class"].visible
    Session.of(viewer).switch()
    assert widget.uncertainty_button.isChecked()


def test_legend_counts_and_hides(widget, viewer, smear, qtbot):
    classify(widget, qtbot)
    assert [label.text().split()[0] for label in widget.legend.counts] == ["3"] * 4
    widget.legend.boxes[1].setChecked(False)
    layer = viewer.layers["cells class"]
    assert layer.get_color(2)[3] == 0
    assert layer.get_color(1)[3] == 1
    ids = smear[1]
    assert not viewer.layers["cells uncertainty"].data[ids == 1].any()
    assert viewer.layers["cells uncertainty"].data[ids == 2].all()
    assert set(np.unique(ids[viewer.layers["cells anomalies"].data > 0])) == {4, 10, 11, 12}
    qtbot.mouseClick(widget.legend.all_button, Qt.MouseButton.LeftButton)
    assert layer.get_color(2)[3] == 1
    qtbot.mouseClick(widget.legend.none_button, Qt.MouseButton.LeftButton)
    assert not any(widget.legend.shown())


def test_anomalies_can_be_hidden(widget, viewer, qtbot):
    widget.anomalies.setChecked(False)
    widget.review.setChecked(False)
    classify(widget, qtbot)
    assert not viewer.layers["cells anomalies"].visible
    widget.anomalies.setChecked(True)
    assert viewer.layers["cells anomalies"].visible


def test_status_names_the_cell_under_the_pointer(widget, viewer, qtbot):
    classify(widget, qtbot)
    layer = viewer.layers["cells class"]
    inside = layer.data_to_world((30, 75))
    status = layer.get_status(inside, world=True)
    assert "red cell" in status["value"]
    assert "cell 2" in status["value"]
    assert "%" in status["coordinates"]
    assert "red cell" not in layer.get_status(layer.data_to_world((0, 0)), world=True)["value"]


def test_updates_arrive_while_it_runs(widget, engine, viewer, qtbot):
    engine.batch, engine.seconds_a_batch = 2, 0.15
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "cells class" in viewer.layers, timeout=30_000)
    shown = viewer.layers["cells class"].data
    qtbot.waitUntil(lambda: shown.any(), timeout=30_000)
    assert Session.of(viewer).busy
    assert (np.unique(shown) > 0).sum() < 4 or not shown[viewer.layers["cells"].data == 12].any()
    qtbot.waitUntil(lambda: "cells/s" in widget.run_bar.line.text(), timeout=30_000)
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=30_000)
    assert viewer.layers["cells class"].data is shown


def test_cancel_keeps_what_is_done(widget, engine, viewer, smear, qtbot):
    engine.batch, engine.seconds_a_batch = 2, 0.2
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "of 12 cells" in widget.run_bar.line.text(), timeout=30_000)
    with qtbot.waitSignal(Session.of(viewer).busy_changed, timeout=30_000):
        qtbot.mouseClick(widget.run_bar.cancel_button, Qt.MouseButton.LeftButton)
    assert "kept" in widget.run_bar.line.text()
    table = wait_for_table(viewer, qtbot)
    done = int((table["predicted"] != "").sum())
    assert 0 < done < 12
    ids = smear[1]
    assert viewer.layers["cells class"].data[ids == 1].all()
    assert not viewer.layers["cells class"].data[ids == 12].any()
    assert engine.closed.wait(30)
    assert widget.run_bar.run_button.isEnabled()


def test_a_second_run_is_refused_with_a_sentence(widget, engine, viewer, messages, qtbot):
    engine.seconds_a_batch = 0.2
    widget.start()
    widget.start()
    assert messages == ["A run is going on: wait until it ends, or cancel it first."]
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=30_000)
    assert len(engine.requests) == 1


def test_a_run_that_is_refused_leaves_the_one_that_goes_on_its_layers(
    widget, engine, viewer, smear, messages, qtbot
):
    engine.batch, engine.seconds_a_batch = 1, 0.1
    first = viewer.layers["smear"], viewer.layers["cells"]
    widget.start()
    viewer.add_image(smear[0], name="other", rgb=True)
    viewer.add_labels(smear[1], name="other cells")
    widget.start()
    assert any("A run is going on" in text for text in messages)
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=60_000)
    views = Session.of(viewer).current
    assert (views.image, views.labels) == first


@pytest.mark.parametrize("name", ["smear", "cells", "cells class"])
def test_removing_a_layer_stops_the_run(widget, engine, viewer, messages, qtbot, name):
    engine.batch, engine.seconds_a_batch = 2, 0.15
    widget.start()
    qtbot.waitUntil(lambda: "cells class" in viewer.layers, timeout=30_000)
    viewer.layers.remove(name)
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=20_000)
    assert any("removed" in text for text in messages)
    assert engine.closed.wait(30)
    assert widget.run_bar.run_button.isEnabled()


def test_errors_are_notifications_and_leave_the_widget_usable(
    widget, engine, viewer, messages, qtbot, caplog
):
    engine.error, engine.error_at = RuntimeError("kaboom"), 1
    classify(widget, qtbot)
    assert any("kaboom" in text for text in messages)
    assert widget.run_bar.run_button.isEnabled()
    assert not widget.run_bar.cancel_button.isEnabled()
    # what was done before the error is kept as after a cancel
    assert viewer.layers["cells class"].data.any()
    engine.error = InputError("The labels are of another shape.")
    engine.error_at = 0
    messages.clear()
    classify(widget, qtbot)
    assert messages == ["The labels are of another shape."]


def test_out_of_memory_offers_the_cpu(widget, engine, viewer, messages, answer, qtbot):
    asked = answer(True)
    engine.error = OutOfMemoryError("The GPU ran out of memory.")
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(engine.requests) == 2, timeout=30_000)
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=30_000)
    assert len(asked) == 1
    assert "CPU" in asked[0]
    assert widget._request.device == "cpu"


@pytest.mark.parametrize("yes", [True, False])
def test_a_download_is_asked_for(widget, engine, viewer, answer, messages, qtbot, yes):
    asked = answer(yes)
    engine.error = DownloadNeeded("The model is 20 MB and must be downloaded.")
    classify(widget, qtbot)
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=30_000)
    assert len(asked) == 1
    assert "20 MB" in asked[0]
    assert len(engine.requests) == (2 if yes else 1)


def test_without_layers_it_says_what_is_missing(engine, qtbot, messages):
    from napari.components import ViewerModel

    empty = ViewerModel()
    Session.of(empty, engine)
    widget = ClassifyWidget(empty)
    qtbot.addWidget(widget)
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert len(messages) == 1
    assert "Segment cells" in messages[0]
    assert not engine.requests


def test_a_second_run_replaces_the_views(widget, viewer, qtbot):
    classify(widget, qtbot)
    before = viewer.layers["cells class"]
    widget.legend.boxes[0].setChecked(False)
    classify(widget, qtbot)
    assert viewer.layers["cells class"] is before
    assert before.data is Session.of(viewer).current.maps.class_map
    assert before.get_color(1)[3] == 1
    assert all(widget.legend.shown())
    assert [layer.name for layer in viewer.layers].count("cells class") == 1
    assert len(viewer.layers) == 5


def test_views_are_not_offered_as_cells(widget, viewer, qtbot):
    classify(widget, qtbot)
    assert [layer.name for layer in widget.cells.offered()] == ["cells"]


def test_labels_with_gaps_and_huge_ids(widget, viewer, smear, qtbot):
    ids = smear[1].astype(np.int64)
    ids[ids == 3] = 70_001
    ids[ids == 4] = 5_000_000_000
    viewer.layers["cells"].data = ids
    classify(widget, qtbot)
    shown = viewer.layers["cells class"].data
    assert (shown[ids == 70_001] == 70_001 % 4 + 1).all()
    table = wait_for_table(viewer, qtbot)
    assert 5_000_000_000 in set(table["index"])


def test_a_run_ends_with_its_widget_and_with_no_other(viewer, engine, qtbot):
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QApplication

    engine.batch, engine.seconds_a_batch = 2, 0.15
    first, second = ClassifyWidget(viewer), ClassifyWidget(viewer)
    session = Session.of(viewer)
    second.start()
    qtbot.waitUntil(lambda: session.current is not None, timeout=30_000)
    for widget, runs_on in ((first, True), (second, False)):
        widget.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        assert session.busy is runs_on
    assert engine.closed.wait(30)


def test_a_view_that_was_removed_comes_back_when_asked_for(widget, viewer, qtbot):
    classify(widget, qtbot)
    viewer.layers.remove("cells uncertainty")
    assert widget.uncertainty_button.isEnabled()
    qtbot.mouseClick(widget.uncertainty_button, Qt.MouseButton.LeftButton)
    assert viewer.layers["cells uncertainty"].visible
    for role in ("class", "uncertainty", "anomalies"):
        viewer.layers.remove(f"cells {role}")
    assert not widget.uncertainty_button.isEnabled()
    assert Session.of(viewer).current is None


def test_it_fits_a_small_screen_with_all_settings_open(widget, qtbot):
    classify(widget, qtbot)
    widget.resize(widget.minimumSizeHint().width(), 660)
    widget.show()
    widget.form.fold.setChecked(True)
    form, rest = widget.findChild(FormArea), widget.findChild(RestArea)
    qtbot.waitUntil(lambda: form.height() >= form.sizeHint().height(), timeout=5_000)
    assert widget.height() <= 660
    assert rest.height() >= 200
    assert rest.verticalScrollBar().maximum() > 0  # what does not fit can be reached
    assert rest.widget().width() <= rest.viewport().width()
    assert widget.export.button.isVisible()
    widget.form.fold.setChecked(False)
    qtbot.waitUntil(lambda: rest.height() > 350, timeout=5_000)
