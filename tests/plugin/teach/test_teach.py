"""*Teach*: what a study teaches, new versions, and going back; the learning itself is made up."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from fake_engine import CLASSES
from studies import fill_classified

from cytodiffusion.errors import InputError
from cytodiffusion.study import Study
from cytodiffusion.teaching import kept_version, next_version, versions_of
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.teach import widget as module
from napari_cytodiffusion.teach.widget import TeachWidget


def figures(right, wrong):
    table = [[0] * len(CLASSES) for _ in CLASSES]
    table[0][0], table[1][0] = right, wrong
    share = right / (right + wrong)
    return {"n": right + wrong, "accuracy": share, "balanced_accuracy": share, "confusion": table}


def make_version(folder, deep=False):
    """Write what is read of a version, as `teach` does."""
    with Study.open(folder) as study:
        number, target = next_version(study)
        record = {
            "version": number,
            "kind": "deep" if deep else "head",
            "learnt": {CLASSES[0]: 8, "blast": 4},
            "held_back": {CLASSES[0]: 4},
            "new_classes": ["blast"],
            "classes": list(CLASSES),
            "before": figures(2, 2),
            "after": figures(3, 1),
            "curve": [
                {"cells": cells, "accuracy": share, "balanced_accuracy": share}
                for cells, share in ((6, 0.5), (12, 0.75))
            ],
        }
        target.mkdir(parents=True)
        text = json.dumps({"training": {"teaching": record}})
        (target / "classes.json").write_text(text, encoding="utf-8")
        return next(v for v in versions_of(study) if v.number == number)


@pytest.fixture
def folder(tmp_path):
    """A study with two images of six cells, of which most have a class."""
    with Study.create(tmp_path / "study") as study:
        for number, name in enumerate(("a.png", "b.png")):
            fill_classified(study, tmp_path / "images" / name, seed=number)
        study.add_class("blast", "#123456")
        cells = study.cells().index
        study.annotate([int(c) for c in cells[:6]], CLASSES[0], "Ada")
        study.annotate([int(c) for c in cells[6:10]], "blast", "Ada")
    return tmp_path / "study"


@pytest.fixture
def current(viewer):
    made = CurrentStudy.of(Session.of(viewer))
    yield made
    made.close()


@pytest.fixture
def taught(engine, monkeypatch):
    """What was asked to be taught; a new version each time."""
    asked = []

    def teach(folder, source, settings, progress):
        progress(0.5, "Learning from 10 cells")
        asked.append((source, settings))
        return make_version(folder, settings.deep)

    monkeypatch.setattr(engine, "teach", teach)
    return asked


@pytest.fixture
def replies(monkeypatch):
    """Questions that were asked, and the answer to all of them, which is the first entry."""
    asked: list[object] = [True]

    def reply(parent, title, question):
        asked.append(question)
        return asked[0]

    monkeypatch.setattr(module, "ask", reply)
    return asked


@pytest.fixture
def widget(viewer, current, folder, qtbot):
    current.open(folder)
    made = TeachWidget(viewer)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitUntil(lambda: made.overview is not None, timeout=20_000)
    return made


def column(table, number):
    return [table.item(row, number).text() for row in range(table.rowCount())]


def wait_for_versions(widget, qtbot, count):
    qtbot.waitUntil(
        lambda: widget.overview is not None and len(widget.overview.versions) == count,
        timeout=20_000,
    )


def test_without_a_study_it_says_what_to_do(viewer, qtbot):
    widget = TeachWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    assert "Open a study" in widget.hint.text()
    assert widget.study_button.isVisible()
    assert not widget.area.isVisible()


def test_what_there_is_to_learn_from(widget):
    assert "10 labels in 2 classes" in widget.labels_line.text()
    assert column(widget.table, 0) == [CLASSES[0], "blast"]
    assert column(widget.table, 1) == ["", "new"]
    counts = [sum(int(text) for text in column(widget.table, c) if text.isdigit()) for c in (2, 3)]
    assert sum(counts) == 10
    assert widget.fast_bar.run_button.isEnabled()
    assert widget.deep_bar.run_button.isEnabled()
    assert not widget.versions.isVisible()


def test_counts_follow_what_is_said(widget, current, qtbot):
    cells = current.study.cells().index
    assert current.annotate(int(cells[10]), "monocyte")
    # one cell of a new class is too few
    qtbot.waitUntil(lambda: "monocyte has" in widget.remarks.text(), timeout=20_000)
    assert current.annotate(int(cells[11]), CLASSES[1])
    qtbot.waitUntil(lambda: "11 labels in 3 classes" in widget.labels_line.text(), timeout=20_000)


def test_nothing_to_learn_from_is_said(viewer, current, tmp_path, qtbot):
    current.create(tmp_path / "empty")
    widget = TeachWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitUntil(lambda: widget.overview is not None, timeout=20_000)
    assert "Nobody has given a class" in widget.labels_line.text()
    assert not widget.fast_bar.run_button.isEnabled()
    assert not widget.table.isVisible()


def test_teach_keep_and_classify_anew(widget, taught, replies, folder, current, qtbot):
    heard = []
    current.predictions_changed.connect(lambda: heard.append(True))
    widget.fast_bar.run_button.click()
    wait_for_versions(widget, qtbot, 1)
    source, settings = taught[0]
    assert source == "default"
    assert not settings.deep
    assert column(widget.versions.table, 0) == ["Version 1", "Original"]
    assert column(widget.versions.table, 2) == ["50 %", "\u2013"]
    assert column(widget.versions.table, 3) == ["75 %", "\u2013"]
    assert column(widget.versions.table, 4) == ["", "in use"]
    assert "New: blast" in widget.versions.line.text()
    assert "75.0 %" in widget.versions.line.text()
    qtbot.waitUntil(lambda: len(widget.versions.plots) == 2, timeout=20_000)
    assert widget.versions.curve.isVisible()
    assert widget.versions.use_button.text() == "Keep version 1"
    qtbot.waitUntil(lambda: not Session.of(widget._session.viewer).busy, timeout=20_000)
    widget.versions.use_button.click()
    qtbot.waitUntil(lambda: bool(heard), timeout=20_000)
    assert "12 cells" in replies[1]
    with Study.open(folder, writable=False) as study:
        assert kept_version(study).number == 1
    qtbot.waitUntil(lambda: column(widget.versions.table, 4) == ["in use", ""], timeout=20_000)
    assert not widget.versions.use_button.isEnabled()
    assert widget.source.endswith("v1")  # the next one starts from it


def test_go_back_without_classifying(widget, taught, replies, folder, qtbot):
    replies[0] = False
    for number in (1, 2):
        qtbot.waitUntil(lambda: widget._session.ready, timeout=20_000)
        widget.fast_bar.run_button.click()
        wait_for_versions(widget, qtbot, number)
    qtbot.waitUntil(lambda: widget._session.ready, timeout=20_000)
    widget.versions.use_button.click()
    qtbot.waitUntil(lambda: widget.overview.used is not None, timeout=20_000)
    widget.versions.table.selectRow(2)
    assert widget.versions.use_button.text() == "Go back to Original"
    assert not widget.versions.discard_button.isEnabled()
    widget.versions.use_button.click()
    qtbot.waitUntil(lambda: widget.overview.used is None, timeout=20_000)
    assert len(replies) == 3
    assert not widget._session.busy  # nothing is classified without a yes


def test_discard_after_asking(widget, taught, replies, folder, qtbot):
    widget.fast_bar.run_button.click()
    wait_for_versions(widget, qtbot, 1)
    replies[0] = False
    widget.versions.discard_button.click()
    assert "for good" in replies[1]
    with Study.open(folder, writable=False) as study:
        assert len(versions_of(study)) == 1
    replies[0] = True
    widget.versions.discard_button.click()
    wait_for_versions(widget, qtbot, 0)
    assert not widget.versions.isVisible()


def test_thorough_work_leaves_the_session_free(widget, engine, monkeypatch, qtbot):
    release = threading.Event()

    def teach(folder, source, settings, progress):
        log = folder / "models" / "v1.run" / "training.csv"
        log.parent.mkdir(parents=True)
        log.write_text("step,accuracy,validation\n20,0.4,\n40,0.6,0.5\n", encoding="utf-8")
        while not release.wait(0.02):
            progress(0.4, "step 40 of 100")
        return make_version(folder, settings.deep)

    monkeypatch.setattr(engine, "teach", teach)
    widget.deep_bar.run_button.click()
    qtbot.waitUntil(lambda: "step 40" in widget.deep_bar.line.text(), timeout=20_000)
    assert widget._session.ready
    assert not widget.deep_bar.run_button.isEnabled()
    widget._read_log()
    assert widget.curve.isVisible()
    assert len(widget.curve.plot.getPlotItem().listDataItems()) == 2
    release.set()
    wait_for_versions(widget, qtbot, 1)
    qtbot.waitUntil(lambda: widget.deep_bar.line.text() == "Taught thoroughly.", timeout=20_000)
    assert "all weights" in widget.versions.line.text()


def test_thorough_work_is_stopped(widget, engine, monkeypatch, qtbot):
    def teach(folder, source, settings, progress):
        while True:
            progress(0.4, "step 40 of 100")

    monkeypatch.setattr(engine, "teach", teach)
    widget.deep_bar.run_button.click()
    qtbot.waitUntil(lambda: "step 40" in widget.deep_bar.line.text(), timeout=20_000)
    widget.deep_bar.cancel_button.click()
    qtbot.waitUntil(lambda: "goes on from there" in widget.deep_bar.line.text(), timeout=20_000)
    assert widget._deep is None


def test_an_error_is_one_sentence_where_one_looks(widget, engine, monkeypatch, messages, qtbot):
    def teach(folder, source, settings, progress):
        raise InputError("The image a.png is gone.")

    monkeypatch.setattr(engine, "teach", teach)
    widget.fast_bar.run_button.click()
    qtbot.waitUntil(lambda: "a.png is gone" in widget.fast_bar.line.text(), timeout=20_000)
    widget.deep_bar.run_button.click()
    qtbot.waitUntil(lambda: "a.png is gone" in widget.deep_bar.line.text(), timeout=20_000)


def test_a_study_to_look_at_only_teaches_nothing(viewer, current, folder, monkeypatch, qtbot):
    monkeypatch.setattr(CurrentStudy, "writable", property(lambda _: False))
    current.open(folder)
    widget = TeachWidget(viewer)
    qtbot.addWidget(widget)
    qtbot.waitUntil(lambda: widget.overview is not None, timeout=20_000)
    assert not widget.fast_bar.run_button.isEnabled()
    assert not widget.deep_bar.run_button.isEnabled()


def test_another_study_has_other_cells_to_learn_from(widget, current, tmp_path, folder, qtbot):
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    with Study.open(other) as study:
        study.undo("Ada")
    current.open(other)
    qtbot.waitUntil(lambda: "6 labels in 1 class:" in widget.labels_line.text(), timeout=20_000)
    current.close()
    assert widget.hint.isVisible()
    assert not widget.area.isVisible()
