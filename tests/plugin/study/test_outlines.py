"""Outlines changed by hand in the viewer, taken over; moved images; exports."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from qtpy.QtWidgets import QFileDialog, QWidget

from cytodiffusion.errors import InputError
from cytodiffusion.study import Study, taking
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared import save_dialog
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.export import ExportButton
from napari_cytodiffusion.study.moved import FindMoved
from napari_cytodiffusion.study.outlines import ChangedOutlines


@pytest.fixture
def desk(viewer, folder, engine, qtbot, monkeypatch):
    """A study that is open, with its first image, whose cells the stand-in classifies."""

    def stand_in(image, labels, model, settings, **how):
        return engine.iter_classify(image, labels, model, settings, **how)

    monkeypatch.setattr(taking, "iter_classify_labels", stand_in)
    viewer.layers.clear()
    session = Session.of(viewer)
    current = CurrentStudy.of(session)
    assert current.open(folder)
    Reviewing.of(session).call_observer("Ada")
    parent = QWidget()
    qtbot.addWidget(parent)
    show(current, qtbot, "a.png")
    yield parent, current, session
    settle(session, qtbot)
    current.close()


def show(current, qtbot, name):
    with qtbot.waitSignal(current.image_opened, timeout=20_000):
        current.open_image(name)


def settle(session, qtbot):
    reviewing = Reviewing.of(session)
    qtbot.waitUntil(lambda: not session.busy and reviewing._job is None, timeout=30_000)


def test_changed_outlines_are_taken_over(desk, qtbot):
    parent, current, session = desk
    panel = ChangedOutlines(session, parent)
    assert not panel.isVisibleTo(parent)
    for label in (1, 2, 6):
        assert current.annotate(("a.png", label), "basophil")
    settle(session, qtbot)
    cells = session.current.labels
    cells.visible = True
    cells.fill((2, 32), 0)  # the sixth cell
    cells.data_setitem((np.array([1, 1]), np.array([1, 2])), 0)  # a part of the first
    qtbot.waitUntil(lambda: bool(session.current.changes.removed), timeout=20_000)
    assert panel.isVisibleTo(parent)
    assert panel.text.text() == "Cells since the classification: 1 changed, 1 deleted."
    with qtbot.waitSignal(current.image_opened, timeout=30_000):
        panel.run_bar.run_button.click()
    settle(session, qtbot)
    assert panel.run_bar.line.text() == (
        "Cells taken over: 1 changed, 1 gone. 1 cell that is gone had a class from people: it is "
        "kept in the study, but in no table."
    )
    table = current.study.cells("a.png").set_index("label")
    assert list(table.index) == [1, 2, 3, 4, 5]
    assert (table["predicted"] != "").all()
    assert table.loc[[1, 2], "human"].tolist() == ["basophil", "basophil"]
    np.testing.assert_array_equal(session.current.labels.data, current.study.labels("a.png"))
    assert session.current.people.said.keys() == {1, 2}
    assert not session.current.changes
    assert not panel.run_bar.run_button.isVisibleTo(parent)


def paint(session, qtbot, where, label):
    """Paint a stroke where the layer can be seen, and wait until it is noticed."""
    views = session.current
    views.labels.visible = True
    views.labels.paint(where, label)
    qtbot.waitUntil(lambda: bool(views.changes), timeout=20_000)
    return views


def test_outlines_that_could_not_be_taken_over_stay(desk, qtbot, messages, monkeypatch):
    parent, _, session = desk
    panel = ChangedOutlines(session, parent)
    views = paint(session, qtbot, (3, 60), 40)
    painted = views.labels.data.copy()

    def full(*_, **__):
        raise InputError("No space is left on the disk of the study study.")

    monkeypatch.setattr(Study, "replace_labels", full)
    panel.take_over()
    settle(session, qtbot)
    qtbot.wait(100)
    assert messages == ["No space is left on the disk of the study study."]
    assert session.current is views
    np.testing.assert_array_equal(views.labels.data, painted)
    assert panel.run_bar.run_button.isVisibleTo(parent)


def test_strokes_made_meanwhile_stay(desk, qtbot, engine):
    parent, current, session = desk
    engine.seconds_a_batch = 0.5
    panel = ChangedOutlines(session, parent)
    views = paint(session, qtbot, (3, 60), 40)
    panel.take_over()
    views.labels.paint((3, 90), 41)
    settle(session, qtbot)
    qtbot.wait(300)
    assert session.current is views
    assert views.labels.data[3, 90] == 41
    assert 40 in current.study.cells("a.png")["label"].tolist()
    assert current.open_names() == ["a.png"]


def test_moved_images_are_found_again(desk, folder, tmp_path, qtbot):
    parent, current, _ = desk
    panel = FindMoved(Session.of(desk[2].viewer), parent)
    shutil.move(tmp_path / "images", tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    panel.look(tmp_path / "empty")
    qtbot.waitUntil(panel.button.isEnabled, timeout=20_000)
    assert panel.said.text() == "No moved image was found there."
    with qtbot.waitSignal(current.images_changed, timeout=20_000):
        panel.look(tmp_path / "elsewhere")
    assert panel.said.text() == "Found again: a.png, b.png."
    show(current, qtbot, "b.png")
    assert current.study.image_path("b.png") == tmp_path / "elsewhere" / "b.png"
    qtbot.waitUntil(lambda: panel._job is None, timeout=20_000)


@pytest.mark.parametrize("only", [False, True])
def test_the_study_is_exported(desk, tmp_path, qtbot, monkeypatch, only):
    parent, current, session = desk
    button = ExportButton(session, parent)
    current.annotate(("a.png", 2), "neutrophil")
    target = tmp_path / "cells.csv"
    asked = []
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *how: (asked.append(how[2]), (str(target), ""))[1]
    )
    monkeypatch.setattr(save_dialog, "get_save_history", lambda: [str(tmp_path)])
    button.button.menu().aboutToShow.emit()
    assert button.only_open.text() == "Only a.png"
    button.only_open.setChecked(only)
    with qtbot.waitSignal(button.ended, timeout=20_000):
        button.actions_by_kind[".csv"].trigger()
    assert asked == [str(tmp_path / ("a cells.csv" if only else "study cells.csv"))]
    table = pd.read_csv(target, keep_default_na=False)
    assert set(table["image"]) == ({"a.png"} if only else {"a.png", "b.png"})
    assert table.query("human == 'neutrophil'")[["image", "label"]].to_numpy().tolist() == [
        ["a.png", 2]
    ]
    assert button.line.text() == "The cells are in cells.csv."


def test_outlines_and_crops_are_exported(desk, tmp_path, qtbot, monkeypatch, messages):
    parent, _, session = desk
    button = ExportButton(session, parent)
    with qtbot.waitSignal(button.ended, timeout=20_000):
        button.export(tmp_path / "cells.geojson")
    assert "QuPath wants those of the image that is open" in button.line.text()
    assert len(json.loads((tmp_path / "cells.geojson").read_text())["features"]) == 12
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    with qtbot.waitSignal(button.ended, timeout=20_000):
        button.actions_by_kind["crops"].trigger()
    assert (tmp_path / "study cells" / "cells.csv").is_file()
    button.export(tmp_path / "cells.doc")
    assert "cells.doc should end in" in messages[0]


def test_nothing_is_exported_without_a_study(desk):
    parent, current, session = desk
    button = ExportButton(session, parent)
    assert button.button.isEnabled()
    current.close()
    assert not button.button.isEnabled()
