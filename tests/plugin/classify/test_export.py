"""Exports of the classified cells from the window."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.shared import save_dialog


@pytest.fixture
def widget(viewer, engine, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    assert not made.export.button.isEnabled()
    qtbot.mouseClick(made.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not made._session.busy, timeout=60_000)
    assert made.export.button.isEnabled()
    return made


@pytest.fixture
def history(monkeypatch, tmp_path):
    """Folders that were saved to, without the user's settings."""
    folders = [str(tmp_path)]
    monkeypatch.setattr(save_dialog, "get_save_history", lambda: folders)
    monkeypatch.setattr(
        save_dialog, "update_save_history", lambda name: folders.insert(0, os.path.dirname(name))
    )
    return folders


@pytest.fixture
def dialog(monkeypatch, history):
    """Answer the dialog; returns what it was asked with."""
    asked: list[tuple[str, str]] = []

    def prepare(answer):
        def get(parent, title, start, kind):
            asked.append((start, kind))
            return str(answer), kind

        monkeypatch.setattr(QFileDialog, "getSaveFileName", get)
        return asked

    return prepare


def export(widget, qtbot, kind):
    with qtbot.waitSignal(widget.export.ended, timeout=30_000):
        widget.export.actions_by_kind[kind].trigger()


def test_the_table_is_that_of_the_layer(widget, viewer, dialog, history, tmp_path, qtbot):
    (tmp_path / "new").mkdir()
    asked = dialog(tmp_path / "new" / "cells.csv")
    export(widget, qtbot, "csv")
    assert asked == [(str(tmp_path / "smear cells.csv"), "CSV (*.csv)")]
    assert history[0] == str(tmp_path / "new")  # where the next dialog opens
    table = pd.read_csv(tmp_path / "new" / "cells.csv", keep_default_na=False)
    assert table["label"].tolist() == list(range(1, 13))
    qtbot.waitUntil(lambda: "predicted" in viewer.layers["cells"].features, timeout=30_000)
    shown = viewer.layers["cells"].features
    assert table["predicted"].tolist() == shown["predicted"].tolist()[1:]
    assert widget.export.line.text() == "12 cells are in cells.csv."
    assert widget.export.button.isEnabled()
    assert not widget.export.stop.isVisibleTo(widget)


@pytest.mark.parametrize("mark", [",", "."])
def test_excel_gets_what_it_wants(widget, dialog, tmp_path, qtbot, monkeypatch, mark):
    monkeypatch.setattr("napari_cytodiffusion.classify.export.decimal_mark", lambda: mark)
    dialog(tmp_path / "cells")  # the ending is added
    export(widget, qtbot, "excel")
    written = (tmp_path / "cells.csv").read_bytes()
    assert written.startswith(b"\xef\xbb\xbf" + (b"label;y;x" if mark == "," else b"label,y,x"))


def test_qupath_gets_outlines(widget, viewer, dialog, tmp_path, qtbot):
    dialog(tmp_path / "cells.geojson")
    export(widget, qtbot, "geojson")
    found = json.loads((tmp_path / "cells.geojson").read_text(encoding="utf-8"))
    assert len(found["features"]) == 12
    first = found["features"][0]["properties"]
    assert first["classification"] == {"name": "neutrophil", "color": [0x11, 0x77, 0x33]}
    assert first["measurements"]["Label"] == 1
    ring = found["features"][0]["geometry"]["coordinates"][0]
    xs = [x for x, _ in ring]
    assert (min(xs), max(xs)) == (11, 40)  # pixels of the image, whatever the layer's scale


def test_a_file_is_not_replaced_unasked(widget, dialog, tmp_path, qtbot, monkeypatch):
    (tmp_path / "cells.csv").write_text("precious")
    questions = []

    def reply(parent, title, question):
        questions.append(question)
        return len(questions) > 1

    monkeypatch.setattr(save_dialog, "ask", reply)
    dialog(tmp_path / "cells")
    widget.export.actions_by_kind["csv"].trigger()
    assert questions == ["cells.csv is there already.\n\nReplace it?"]
    assert widget.export.button.isEnabled()
    assert (tmp_path / "cells.csv").read_text() == "precious"
    export(widget, qtbot, "csv")
    assert (tmp_path / "cells.csv").read_text().startswith("label,")


def test_a_dialog_that_is_closed_changes_nothing(widget, dialog, history, tmp_path, qtbot):
    dialog("")
    before = list(history)
    widget.export.actions_by_kind["csv"].trigger()
    assert widget.export.button.isEnabled()
    assert history == before


def test_what_cannot_be_written_is_one_sentence(widget, dialog, tmp_path, messages, qtbot):
    (tmp_path / "file").write_text("")
    dialog(tmp_path / "file" / "cells.csv")
    export(widget, qtbot, "csv")
    assert len(messages) == 1
    assert "cannot be written: there is a file where a folder is needed" in messages[0]
    assert widget.export.line.text() == "Nothing was written."
    assert widget.export.button.isEnabled()


def test_an_export_can_be_stopped(widget, engine, dialog, tmp_path, qtbot, monkeypatch):
    started = []

    def slow(*args, progress, **more):
        import time

        for step in range(200):
            started.append(step)
            progress(step / 200, "outlining")
            time.sleep(0.05)

    monkeypatch.setattr(engine, "export_cells", slow)
    dialog(tmp_path / "cells.geojson")
    widget.export.actions_by_kind["geojson"].trigger()
    assert not widget.export.button.isEnabled()
    assert widget.export.stop.isVisibleTo(widget)
    qtbot.waitUntil(lambda: len(started) > 3, timeout=10_000)
    with qtbot.waitSignal(widget.export.ended, timeout=10_000):
        qtbot.mouseClick(widget.export.stop, Qt.MouseButton.LeftButton)
    assert widget.export.line.text() == "Nothing was written."
    assert not Path(tmp_path / "cells.geojson").exists()


@pytest.mark.parametrize(
    ("name", "proposed"),
    [("a/b: c", "a b  c.csv"), ("..", "cells.csv"), ("\u00fc 1", "\u00fc 1.csv")],
)
def test_the_proposed_name_is_one_of_a_file(widget, dialog, tmp_path, name, proposed):
    asked = dialog("")
    save_dialog.ask_where(widget, "Export", name, "CSV (*.csv)")
    assert Path(asked[0][0]).name == proposed
