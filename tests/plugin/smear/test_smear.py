"""*Synthetic smear*: plain drawings, which need no model, and a tiny model with random weights."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from cytodiffusion.errors import DownloadNeeded
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.smear import DIFFERENTIAL, SmearSettings
from cytodiffusion.smear.presets import PRESETS
from napari_cytodiffusion.layers.placement import is_cells, is_image, note_of, pixel_size_of
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.smear import widget as module
from napari_cytodiffusion.smear.widget import DRAWN, SmearWidget


@pytest.fixture
def widget(viewer, qtbot):
    made = SmearWidget(viewer)
    qtbot.addWidget(made)
    made.model.set_value(DRAWN)
    for name, value in {"width": 320, "height": 256, "n_white": 2, "n_platelets": 1}.items():
        made.form[name].value = value
    made.form["n_red"].value = 6
    made.form["n_artefacts"].value = 0
    return made


def make(widget, qtbot):
    QTest.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)


def test_the_form_starts_with_the_defaults_of_the_settings(viewer, qtbot):
    made = SmearWidget(viewer)
    qtbot.addWidget(made)
    values = made._asked().settings
    assert SmearSettings(**values) == SmearSettings()
    assert set(values) == set(SmearSettings.model_fields)
    assert made.shares.counts() == dict(DIFFERENTIAL)


def test_a_smear_and_its_truth_come_into_the_viewer(widget, viewer, qtbot):
    right = viewer.layers.extent.world[1][-1]
    widget.form["pixel_size_um"].value = 0.15
    make(widget, qtbot)
    image, truth = viewer.layers["synthetic smear"], viewer.layers["true cells"]
    assert image.data.shape == (256, 320, 3)
    assert truth.data.shape == (256, 320)
    assert pixel_size_of(image) == pytest.approx(0.15)
    np.testing.assert_allclose(image.translate, truth.translate)
    assert image.translate[-1] > right
    assert is_image(image)
    assert is_cells(truth)
    features = truth.features
    assert len(features) == truth.data.max() + 1
    counts = features["true_class"].value_counts()
    assert counts["platelet"] == 1
    assert counts["red cell"] == 6
    assert counts.drop(["", "platelet", "red cell"]).sum() == 2
    for layer in (image, truth):
        assert note_of(layer)["synthetic"] is True
    assert note_of(image)["settings"]["n_red"] == 6
    assert "9 cells" in widget.run_bar.line.text()


def test_the_differential_is_that_of_the_table(widget, viewer, qtbot):
    widget.shares.set_all(0)
    widget.shares.set_counts({"basophil": 3})
    make(widget, qtbot)
    assert (viewer.layers["true cells"].features["true_class"] == "basophil").sum() == 2
    QTest.mouseClick(widget.shares.buttons["As usual"], Qt.MouseButton.LeftButton)
    assert widget._asked().settings["differential"] is None


def test_the_same_seed_makes_the_same_smear(widget, viewer, qtbot):
    for seed in (3, 3, 4):
        widget.form["seed"].value = seed
        make(widget, qtbot)
    first, second, third = (
        viewer.layers[f"synthetic smear{number}"].data for number in ("", " [1]", " [2]")
    )
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()


def test_white_cells_of_no_class_are_refused(widget, viewer, qtbot):
    QTest.mouseClick(widget.shares.buttons["Clear"], Qt.MouseButton.LeftButton)
    QTest.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert "at least one class" in widget.run_bar.line.text()
    assert not widget._session.busy
    widget.form["n_white"].value = 0
    make(widget, qtbot)
    assert set(viewer.layers["true cells"].features["true_class"]) == {"", "platelet", "red cell"}


def test_no_room_is_said_in_a_sentence(widget, viewer, qtbot):
    before = list(viewer.layers)
    for name, value in {"width": 128, "height": 128, "n_white": 40}.items():
        widget.form[name].value = value
    make(widget, qtbot)
    assert "no room" in widget.run_bar.line.text()
    assert list(viewer.layers) == before
    assert widget.run_bar.run_button.isEnabled()


def test_a_model_renders_the_cells(widget, engine, viewer, messages, tmp_path, qtbot):
    names = ("blast", "red cell", "platelet")
    engine.model = load_bundle(tiny_bundle(tmp_path / "model", names))
    widget.model.set_value(str(tmp_path / "model"))
    qtbot.waitUntil(lambda: set(widget.shares.spins) == {"blast"}, timeout=30_000)
    widget.form["n_white"].value = 1
    make(widget, qtbot)
    assert note_of(viewer.layers["synthetic smear"])["settings"]["model"] == "tiny"
    # random weights draw nothing that they would recognise
    assert any("plain drawings stand in" in text for text in messages)


def test_cancel_leaves_nothing(widget, viewer, monkeypatch, qtbot):
    import cytodiffusion.smear as package

    seen = []

    def slow(model, settings, progress):
        for step in range(200):
            seen.append(step)
            time.sleep(0.05)
            progress(step / 200, "Placing cells")

    monkeypatch.setattr(package, "synthetic_smear", slow)
    before = list(viewer.layers)
    QTest.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(seen) > 2, timeout=30_000)
    QTest.mouseClick(widget.run_bar.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=5_000)
    assert widget.run_bar.line.text() == "Cancelled."
    assert list(viewer.layers) == before
    assert len(seen) < 100


def test_a_download_is_asked_for(widget, engine, monkeypatch, qtbot):
    allowed, asked = [], []

    def load(source, device, allow):
        allowed.append(allow)
        raise DownloadNeeded("The model is 3 MB.")

    monkeypatch.setattr(engine, "load_model", load)
    monkeypatch.setattr(module, "ask", lambda parent, title, text: asked.append(text) or True)
    widget.model.set_value("default")
    make(widget, qtbot)
    qtbot.waitUntil(lambda: len(allowed) == 2 and not widget._session.busy, timeout=30_000)
    assert allowed == [False, True]
    assert "3 MB" in asked[0]
    assert len(asked) == 1


def test_saved_smears_say_that_they_are_synthetic(widget, tmp_path, qtbot):
    from cytodiffusion.files.synthetic_mark import is_synthetic

    assert not widget.save_button.isEnabled()
    make(widget, qtbot)
    widget.save(tmp_path / "smear")
    qtbot.waitUntil(lambda: "are in" in widget.run_bar.line.text(), timeout=30_000)
    assert is_synthetic(tmp_path / "smear" / "smear.tif")
    assert is_synthetic(tmp_path / "smear" / "smear.png")
    assert len(pd.read_csv(tmp_path / "smear" / "truth.csv")) == 9


def test_a_folder_that_cannot_be_written_is_said(widget, tmp_path, qtbot):
    make(widget, qtbot)
    (tmp_path / "file").write_text("")
    widget.save(tmp_path / "file")
    qtbot.waitUntil(lambda: widget.run_bar.line.text() != "Saving ...", timeout=30_000)
    assert "file" in widget.run_bar.line.text()


def test_a_closed_widget_stops_its_run(viewer, monkeypatch, qtbot):
    import cytodiffusion.smear as package

    seen = []

    def slow(model, settings, progress):
        for step in range(200):
            seen.append(step)
            time.sleep(0.05)
            progress(step / 200, "Placing cells")

    monkeypatch.setattr(package, "synthetic_smear", slow)
    made = SmearWidget(viewer)
    made.model.set_value(DRAWN)
    made.start()
    qtbot.waitUntil(lambda: len(seen) > 2, timeout=30_000)
    made.deleteLater()
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=5_000)
    done = len(seen)
    qtbot.wait(300)
    assert len(seen) - done < 4


def as_exercise(widget, qtbot):
    widget.as_exercise.setChecked(True)
    widget.shares.set_all(0)
    widget.shares.set_counts({"eosinophil": 1})
    make(widget, qtbot)


def test_a_preset_fills_the_form_and_is_let_go_where_it_is_changed(widget):
    widget.form["preset"].value = "thrombocytopenia"
    assert widget.form["n_platelets"].value == 1
    assert widget.shares.counts() == dict(PRESETS["thrombocytopenia"].differential)
    assert widget._asked().settings["preset"] == "thrombocytopenia"
    widget.shares.spins["basophil"].setValue(40)
    assert widget.form["preset"].value is None
    assert widget.shares.counts()["basophil"] == 40


def test_an_exercise_hides_the_classes_until_they_are_checked(widget, viewer, qtbot):
    as_exercise(widget, qtbot)
    assert widget.pages.currentIndex() == 1
    for layer in viewer.layers[-2:]:
        told = f"{dict(layer.metadata)} {getattr(layer, 'features', '')}"
        assert "eosinophil" not in told
        assert "differential" not in told
    assert "true cells" not in viewer.layers
    page = widget.exercise
    QTest.mouseClick(page.check_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "No cell has been counted" in page.remarks.text(), timeout=20_000)
    assert "true cells" not in viewer.layers
    page.counts.set_counts({"neutrophil": 1, "eosinophil": 1})
    assert "2 white cells" in page.total.text()
    QTest.mouseClick(page.check_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "true cells" in viewer.layers, timeout=20_000)
    assert page.table.texts(0) == ["eosinophil", "neutrophil"]
    assert page.table.texts(1) == ["2 (100%)", "0 (0%)"]
    assert page.table.texts(2) == ["1 (50%)", "1 (50%)"]
    assert page.table.texts(4)[0] == "1%\u201399%"
    truth, image = viewer.layers["true cells"], viewer.layers["synthetic smear"]
    np.testing.assert_allclose(truth.translate, image.translate)


def test_classes_of_review_are_checked_cell_by_cell(widget, viewer, qtbot):
    as_exercise(widget, qtbot)
    page = widget.exercise
    QTest.mouseClick(page.review_button, Qt.MouseButton.LeftButton)
    assert "Classify the layer" in page.remarks.text()
    views = SimpleNamespace(
        labels=viewer.layers["cells to name"],
        people=SimpleNamespace(said={1: ("eosinophil", "Ada"), 2: ("basophil", "Ada")}),
    )
    session = SimpleNamespace(current=views, viewer=viewer, engine=widget._session.engine)
    own, widget._session = widget._session, session
    QTest.mouseClick(page.review_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "true cells" in viewer.layers, timeout=20_000)
    widget._session = own
    assert "1 of 2 cells were given their true class" in page.remarks.text()


def test_an_exercise_is_saved_without_its_answers(widget, tmp_path, qtbot):
    as_exercise(widget, qtbot)
    widget.save(tmp_path / "smear")
    qtbot.waitUntil(lambda: "hidden classes" in widget.run_bar.line.text(), timeout=30_000)
    assert (tmp_path / "smear" / "truth.hidden").is_file()
    assert not (tmp_path / "smear" / "truth.csv").exists()
