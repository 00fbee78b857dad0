"""Images into the open study by the real engine: watershed and a tiny model with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from napari.components import ViewerModel
from PIL import Image as Picture
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QWidget

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.settings import SegmentOptions
from cytodiffusion.smear import SmearSettings, synthetic_smear
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study import adding
from napari_cytodiffusion.study.adding import AddImages
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.filling import AnalysisRequest, analysis_request


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A folder with two fields, and one file that is none."""
    folder = tmp_path_factory.mktemp("slides")
    for seed in (0, 1):
        settings = SmearSettings(height=200, width=240, n_white=1, n_platelets=1, seed=seed)
        Picture.fromarray(synthetic_smear(None, settings).rgb).save(folder / f"field-{seed}.png")
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    return folder


@pytest.fixture
def how(bundle, monkeypatch):
    """Make the settings of all runs quick ones; returns a list that the last one is read from."""
    wanted = [
        AnalysisRequest(
            str(bundle),
            "cpu",
            ClassifySettings(trials=1),
            SegmentOptions(method="watershed", pixel_size_um=None),
        )
    ]
    monkeypatch.setattr(adding, "analysis_request", lambda session: wanted[-1])
    return wanted


@pytest.fixture
def desk(tmp_path, how, qtbot):
    viewer = ViewerModel()
    session = Session.of(viewer)
    parent = QWidget()
    qtbot.addWidget(parent)
    panel = AddImages(session, parent)
    current = CurrentStudy.of(session)
    current.create(tmp_path / "study")
    panel.form["pixel_size_um"].value = 0.1
    yield panel, current, session
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(20_000)
    current.close()
    session.close()


def run(panel, session, qtbot):
    qtbot.mouseClick(panel.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert session.busy
    qtbot.waitUntil(lambda: not session.busy, timeout=120_000)


def test_a_folder_is_added_in_a_queue(desk, slides, qtbot, monkeypatch):
    panel, current, session = desk
    assert not panel.run_bar.run_button.isVisibleTo(panel)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(slides))
    panel.folder_button.click()
    assert panel.waiting.text() == f"{slides.name} (folder): waits to be added."
    heard = []
    current.images_changed.connect(lambda: heard.append(len(current.study.images())))
    run(panel, session, qtbot)
    assert [image.name for image in current.study.images()] == ["field-0.png", "field-1.png"]
    assert heard[:2] == [1, 2]  # the list grows while the queue goes on
    table = current.study.cells()
    assert len(table) > 5
    assert (table["predicted"] != "").all()
    assert panel.run_bar.line.text() == "Images: 2 added, 1 failed."
    assert "torn.png" in panel.failed.text()
    # what is alike is said once, and folded away
    assert panel.fold.text().startswith("To read (")
    assert not panel.warnings.isVisibleTo(panel)
    panel.fold.click()
    assert panel.warnings.isVisibleTo(panel)
    assert panel.warnings.text().startswith("field-0.png, field-1.png: ")
    assert not panel.waiting.isVisibleTo(panel)
    # where none is open, the first one is shown
    qtbot.waitUntil(lambda: current.open_names() == ["field-0.png"], timeout=20_000)
    # once more: nothing is done again
    panel.take([slides / "field-0.png", slides / "field-1.png"])
    run(panel, session, qtbot)
    assert panel.run_bar.line.text() == "Images: 2 there already."
    assert len(current.study.cells()) == len(table)


def test_all_again_with_other_settings(desk, slides, how, qtbot):
    panel, current, session = desk
    assert not panel.again_button.isVisibleTo(panel)
    panel.take([slides / "field-0.png"])
    run(panel, session, qtbot)
    how.append(AnalysisRequest(how[0].source, "cpu", ClassifySettings(trials=2), how[0].options))
    with qtbot.waitSignal(current.predictions_changed, timeout=60_000):
        panel.again_button.click()
    assert panel.run_bar.line.text() == "Images: 1 classified again."
    assert [run.settings["trials"] for run in current.study.runs()] == [2, 1]
    assert set(current.study.cells()["trials"]) == {2}


def test_cancel_keeps_what_is_done(desk, slides, qtbot):
    panel, current, session = desk
    panel.take([slides / "field-0.png", slides / "field-1.png"])
    current.images_changed.connect(session.cancel)
    run(panel, session, qtbot)
    assert [image.name for image in current.study.images()] == ["field-0.png"]
    assert panel.run_bar.line.text() == "Cancelled. Images: 1 added."
    assert panel.waiting.text() == "field-0.png, field-1.png: wait to be added."


def test_what_was_chosen_can_be_taken_back(desk, slides, qtbot, monkeypatch):
    panel, _, _ = desk
    chosen = [str(slides / "field-0.png")]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (chosen, ""))
    panel.images_button.click()
    panel.images_button.click()  # the same again
    assert panel.waiting.text() == "field-0.png: waits to be added."
    panel.clear_button.click()
    assert not panel.run_bar.run_button.isVisibleTo(panel)


def test_nothing_is_offered_without_a_study(desk):
    panel, current, _ = desk
    assert panel.images_button.isEnabled()
    current.close()
    assert not panel.images_button.isEnabled()
    assert not panel.again_button.isVisibleTo(panel)


def test_the_settings_are_those_of_the_docks(viewer, monkeypatch):
    session = Session.of(viewer)
    assert analysis_request(session) == AnalysisRequest()
    assert analysis_request(session).words == "Model: default. Cells: automatic."
    from napari_cytodiffusion.classify.widget import ClassifyWidget
    from napari_cytodiffusion.segment.widget import SegmentWidget

    classify, segment = ClassifyWidget(viewer), SegmentWidget(viewer)
    docked = {"Classify cells": classify, "Segment cells": segment}
    monkeypatch.setattr(session, "docked", docked.get)
    classify.form["trials"].value = 7
    classify.model.value = str(Path("models") / "own")
    segment.method.value = "watershed"
    how = analysis_request(session)
    assert (how.settings.trials, how.options.method) == (7, "watershed")
    assert how.words == "Model: own. Cells: watershed."
