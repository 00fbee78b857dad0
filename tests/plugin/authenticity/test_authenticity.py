"""The authenticity widget: made, taken by key, resumed, evaluated; and keys in the whole window."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QFocusEvent, QKeyEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from toys import COLORS, PIXEL_SIZE_UM, disc, write_discs

from cytodiffusion.authenticity import AuthenticityTest
from cytodiffusion.authenticity.sources import TestCell
from cytodiffusion.authenticity.standardise import PAPER, present
from cytodiffusion.authenticity.store import write_test
from cytodiffusion.errors import DownloadNeeded
from cytodiffusion.model.testing import tiny_bundle
from napari_cytodiffusion.authenticity import jobs as words
from napari_cytodiffusion.authenticity import trial as page_module
from napari_cytodiffusion.authenticity.widget import AuthenticityWidget
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.remembered import recent_files

NAMES = sorted(COLORS)
NO_DISPLAY = sys.platform.startswith("linux") and (
    not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"
)


def write(path: Path, n: int = 6) -> Path:
    rng = np.random.default_rng(0)
    cells = [
        TestCell(
            present(disc(COLORS[NAMES[k % 3]], rng), np.full(3, PAPER), 0),
            k % 2 == 1,
            NAMES[k % 3],
            f"cell {k}",
        )
        for k in range(n)
    ]
    settings = {"seed": 0, "ask_class": True, "model": "default", "device": "cpu"}
    write_test(path, cells, NAMES, {"settings": settings, "side": 48, "window_um": 20.0})
    return path


@pytest.fixture
def quick(monkeypatch):
    """Keys count at once."""
    monkeypatch.setattr(page_module, "GUARD", 0.0)


@pytest.fixture
def widget(qtbot, tmp_path, monkeypatch, quick):
    made = AuthenticityWidget(ViewerModel())
    qtbot.addWidget(made)
    made.resize(460, 900)
    made.show()
    yield made
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(20_000)


@pytest.fixture
def opened(widget, tmp_path):
    widget.open(write(tmp_path / "test.sqlite"))
    return widget


def begin(widget, name: str, mode: str = "blind") -> None:
    start = widget.start_page
    start.mode.value = mode
    start.name.value = name
    QTest.mouseClick(start.begin_button, Qt.MouseButton.LeftButton)


def answers(path: Path) -> list[tuple]:
    with AuthenticityTest(path, writable=False) as test:
        return test.rows("SELECT position, said_synthetic, said_class FROM answers ORDER BY rowid")


def test_keys_answer_and_the_result_comes_at_the_end(opened, tmp_path, qtbot, messages) -> None:
    begin(opened, "Ada")
    page = opened.trial_page
    assert opened.pages.currentIndex() == 1
    assert page.place.text() == "<b>1</b> of 6"
    assert page.cell.pixmap().width() == page.side
    before = page.trial
    QTest.keyClick(page, Qt.Key.Key_2)
    QTest.keyClick(page, Qt.Key.Key_3)  # another class takes its place
    assert [b.isChecked() for b in page.class_buttons] == [False, False, True]
    QTest.keyClick(page, Qt.Key.Key_S)
    assert page.trial is not before
    assert not any(b.isChecked() for b in page.class_buttons)
    QTest.keyClick(page, Qt.Key.Key_1)
    QTest.keyClick(page, Qt.Key.Key_1)  # and is taken back
    QTest.keyClick(page, Qt.Key.Key_R)
    QTest.mouseClick(page.synthetic_button, Qt.MouseButton.LeftButton)
    for key in "RRS":
        QTest.keyClick(page, key)
    qtbot.waitUntil(lambda: opened.pages.currentIndex() == 2, timeout=60_000)
    said = [(n, int(c == "S")) for n, c in enumerate("SRSRRS")]
    found = answers(tmp_path / "test.sqlite")
    assert [row[:2] for row in found] == said
    assert [row[2] for row in found] == [NAMES[2], *[None] * 5]
    assert "finished" in messages[0]
    result = opened.result_page
    shown = opened.result.figures["participants"]["Ada"]["accuracy"]["value"]
    assert f"accuracy {shown:.3f}" in result.title.text()
    assert result.people.texts(0) == ["Ada"]
    assert len(result.classes.texts(0)) == 3
    for index in range(result.plots.choice.count()):
        result.plots.choice.setCurrentIndex(index)
        assert result.plots.plot.getPlotItem().items
    qtbot.waitUntil(lambda: not opened._session.busy, timeout=20_000)
    opened.export(tmp_path / "out")
    qtbot.waitUntil((tmp_path / "out" / "result.html").is_file, timeout=60_000)


def test_nothing_goes_back_and_a_held_key_answers_once(opened, tmp_path) -> None:
    begin(opened, "Ada")
    page = opened.trial_page

    def press(repeated: bool) -> None:
        QApplication.sendEvent(
            page,
            QKeyEvent(
                QKeyEvent.Type.KeyPress, Qt.Key.Key_R, Qt.KeyboardModifier.NoModifier, "r", repeated
            ),
        )

    press(False)
    for _ in range(5):
        press(True)
    assert page.trial.number == 2
    for key in (Qt.Key.Key_Backspace, Qt.Key.Key_Left, Qt.Key.Key_Z, Qt.Key.Key_Escape):
        QTest.keyClick(page, key)
    assert page.trial.number == 2
    assert len(answers(tmp_path / "test.sqlite")) == 1


def test_a_key_for_the_cell_before_is_not_one_for_the_next(opened, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(page_module, "GUARD", 30.0)
    begin(opened, "Ada")
    QTest.keyClick(opened.trial_page, Qt.Key.Key_R)
    assert answers(tmp_path / "test.sqlite") == []


def test_a_pause_hides_the_cell_and_takes_no_answer(opened, tmp_path) -> None:
    begin(opened, "Ada")
    page = opened.trial_page
    QTest.keyClick(page, Qt.Key.Key_P)
    assert page.cell.pixmap().isNull()
    assert "Paused" in page.cell.text()
    QTest.keyClick(page, Qt.Key.Key_R)
    QTest.keyClick(page, Qt.Key.Key_1)
    assert answers(tmp_path / "test.sqlite") == []
    QTest.mouseClick(page.cell, Qt.MouseButton.LeftButton)
    assert not page.cell.pixmap().isNull()
    assert page.trial.number == 1
    with AuthenticityTest(tmp_path / "test.sqlite", writable=False) as test:
        assert test.rows("SELECT count(*) FROM showings") == [(2,)]


def test_it_goes_on_where_it_was_left(opened, qtbot, tmp_path, monkeypatch) -> None:
    begin(opened, "Ada")
    for key in "RS":
        QTest.keyClick(opened.trial_page, key)
    QTest.mouseClick(opened.trial_page.leave_button, Qt.MouseButton.LeftButton)
    assert opened.pages.currentIndex() == 0
    assert opened.start_page.sittings.texts(2) == ["2 of 6"]
    # another window, another day
    other = AuthenticityWidget(ViewerModel())
    qtbot.addWidget(other)
    other.show()
    assert recent_files("authenticity/recent") == [(tmp_path / "test.sqlite").resolve()]
    other.open(recent_files("authenticity/recent")[0])
    other.start_page.sittings.cellClicked.emit(0, 0)
    assert other.start_page.begin_button.text() == "Resume at 3 of 6"
    QTest.mouseClick(other.start_page.begin_button, Qt.MouseButton.LeftButton)
    assert other.trial_page.trial.number == 3


def test_what_cannot_be_is_said(opened, messages, tmp_path) -> None:
    begin(opened, "  ")
    assert "needs a name" in messages[-1]
    assert opened.pages.currentIndex() == 0
    begin(opened, "Ada", "teaching")
    QTest.keyClick(opened.trial_page, Qt.Key.Key_R)
    opened.leave()
    begin(opened, "Ada")
    assert "teaching mode" in messages[-1]
    (tmp_path / "no.sqlite").write_text("nothing of ours")
    opened.open(tmp_path / "no.sqlite")
    assert "is not an authenticity test" in messages[-1]
    assert "test.sqlite" in opened.start_page.title.text()


def test_an_answer_that_cannot_be_written_pauses(opened, messages, monkeypatch) -> None:
    from cytodiffusion.errors import InputError

    begin(opened, "Ada")
    page = opened.trial_page

    def full(*_):
        raise InputError("No space is left.")

    monkeypatch.setattr(page.sitting.test, "append", full)
    QTest.keyClick(page, Qt.Key.Key_R)
    assert messages[-1] == "No space is left."
    assert page.paused
    monkeypatch.undo()
    monkeypatch.setattr(page_module, "GUARD", 0.0)
    QTest.keyClick(page, Qt.Key.Key_Space)
    QTest.keyClick(page, Qt.Key.Key_R)
    assert page.trial.number == 2


def test_teaching_tells_at_once_and_lays_the_heatmap_over(opened, qtbot, monkeypatch) -> None:
    asked = []

    def body(pixels, window_um, class_name, side, model, engine):
        asked.append((pixels.shape, window_um, class_name, model))

        def work(report):
            yield words.CellExplanation(np.full((side, side, 3), 7, np.uint8), class_name, "other")

        return work

    monkeypatch.setattr(words, "explain_body", body)
    begin(opened, "Ada", "teaching")
    page = opened.trial_page
    QTest.keyClick(page, Qt.Key.Key_S)
    with AuthenticityTest(opened.test.path, writable=False) as test:
        made, name = test.truth(test.order(page.sitting.id)[0])
    assert page.verdict.text().startswith("<b>Right" if made else "<b>Wrong")
    assert name in page.verdict.text()
    assert page.trial.number == 1
    qtbot.waitUntil(page.heat_button.isChecked, timeout=20_000)
    assert asked == [((48, 48, 3), 20.0, name, ("default", "cpu"))]
    assert page.cell.pixmap().toImage().pixelColor(9, 9).red() == 7
    QTest.keyClick(page, Qt.Key.Key_H)
    assert page.cell.pixmap().toImage().pixelColor(9, 9).red() > 200
    QTest.keyClick(page, Qt.Key.Key_R)  # answered already
    assert page.trial.number == 1
    QTest.keyClick(page, Qt.Key.Key_Space)
    assert page.trial.number == 2
    assert page.verdict.text() == ""


def test_a_real_heatmap_of_a_trial(tmp_path) -> None:
    tiny_bundle(tmp_path / "model", NAMES)
    pixels = disc(COLORS["red"], np.random.default_rng(0))
    model = (str(tmp_path / "model"), "cpu")
    (found,) = words.explain_body(pixels, 20.0, "red", 96, model, Engine())(lambda *_: None)
    assert found.picture.shape == (96, 96, 3)
    assert found.predicted == "red"
    assert found.target in {"blue", "green"}


def test_a_download_is_asked_for(widget, qtbot, tmp_path, monkeypatch) -> None:
    from napari_cytodiffusion.shared import sitting_dock as module

    allowed, asked = [], []

    def load(source, device, allow):
        allowed.append(allow)
        raise DownloadNeeded("The model is 3 MB.")

    monkeypatch.setattr(widget._session.engine, "load_model", load)
    monkeypatch.setattr(module, "ask", lambda parent, title, text: asked.append(text) or True)
    write_discs(tmp_path / "data", {"test": 4})
    form = widget.start_page.form
    form.fields["real"].value = tmp_path / "data"
    form.run_bar.run_button.click()
    qtbot.waitUntil(lambda: len(allowed) == 2 and not widget._session.busy, timeout=60_000)
    assert allowed == [False, True]
    assert "3 MB" in asked[0]


def test_a_test_is_made_from_the_window(widget, qtbot, tmp_path, messages) -> None:
    tiny_bundle(tmp_path / "model", NAMES, size=64)
    write_discs(tmp_path / "data", {"test": 4})
    QTest.mouseClick(widget.start_page.new_button, Qt.MouseButton.LeftButton)
    form = widget.start_page.form
    QTest.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert "Choose the real cells" in form.run_bar.line.text()
    form.fields["real"].value = tmp_path / "data"
    assert form.fields["output"].value == tmp_path / "data-authenticity.sqlite"
    form.fields["model"].value = str(tmp_path / "model")
    form.fields["device"].value = "cpu"
    form.fields["pixel_size_um"].value = PIXEL_SIZE_UM
    form.fields["trials"].value = 100
    QTest.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)
    assert "only 4 blue" in form.run_bar.line.text()
    form.fields["trials"].value = 7
    QTest.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert "even number" in form.run_bar.line.text()
    form.fields["trials"].value = 12
    QTest.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=120_000)
    assert widget.test is not None, form.run_bar.line.text()
    assert len(widget.test) == 12
    assert widget.start_page.panel.isVisible()
    assert form.isHidden()
    # whoever has made it reads what the command line says, whoever takes it does not
    remarks = widget.start_page.remarks
    assert remarks.isVisible()
    assert "12 trials, half real and half synthetic" in remarks.text()
    for note in widget.test.record["notes"]:
        assert note in remarks.text()
        assert note in messages
    begin(widget, "Ada")
    assert widget.trial_page.trial.pixels.shape == (48, 48, 3)
    widget.leave()
    assert not remarks.isVisible()


def test_what_could_give_the_answers_away_is_told_before_the_start(widget, tmp_path) -> None:
    widget.open(write(tmp_path / "test.sqlite"))
    leaks = widget.start_page.leaks
    assert leaks.isVisible()
    assert "file names" in leaks.text()
    assert "synthetic" not in leaks.text()  # not which of both kinds has more of what
    QTest.mouseClick(widget.start_page.new_button, Qt.MouseButton.LeftButton)
    assert not leaks.isVisible()


def test_the_judge_says_why_after_each_answer_and_in_the_result(
    widget, qtbot, tmp_path, monkeypatch
) -> None:
    def no_heatmap(*_):
        return lambda report: iter(())

    monkeypatch.setattr(words, "explain_body", no_heatmap)
    widget.open(write(tmp_path / "test.sqlite", 24))
    begin(widget, "Ada", "teaching")
    page = widget.trial_page
    for number in range(24):
        QTest.keyClick(page, Qt.Key.Key_S)
        if number == 0:  # it comes when the judge has looked at all cells
            qtbot.waitUntil(lambda: "% of the cells" in page.reason.text(), timeout=60_000)
        assert "The judge" in page.reason.text()
        QTest.keyClick(page, Qt.Key.Key_Space)
        assert page.reason.text() == "" or number == 23
    qtbot.waitUntil(lambda: widget.pages.currentIndex() == 2, timeout=60_000)
    result = widget.result_page
    reasons = result.reasons
    assert result.tabs.isTabVisible(result.tabs.indexOf(reasons))
    assert "A judge of 12 measures" in reasons.overall.text()
    assert reasons.cells.rowCount() == 24
    reasons.cells.selectRow(5)
    assert "judge" in reasons.reason.text()
    assert not reasons.picture.pixmap().isNull()
    assert result.classes.columnCount() == 6  # the judge beside the participants
    assert "Checked on this test" in result.remarks.text()


def test_few_cells_have_no_judge(opened, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(words, "explain_body", lambda *_: lambda report: iter(()))
    begin(opened, "Ada", "teaching")
    page = opened.trial_page
    QTest.keyClick(page, Qt.Key.Key_S)
    qtbot.waitUntil(lambda: "too few cells" in page.reason.text(), timeout=60_000)


def test_the_public_cells_are_asked_for_before_they_are_fetched(
    widget, qtbot, tmp_path, monkeypatch
) -> None:
    from cytodiffusion.datasets import public_cells as cells
    from napari_cytodiffusion.shared import sitting_dock as module

    asked, allowed = [], []

    def fetch(allow_download=False, progress=None):
        allowed.append(allow_download)
        if not allow_download:
            raise DownloadNeeded(cells.ATTRIBUTION)
        return write_discs(tmp_path / "data", {"test": 12})

    monkeypatch.setattr("cytodiffusion.authenticity.make.public_cells", fetch)
    monkeypatch.setattr(module, "ask", lambda parent, title, text: asked.append(text) or True)
    tiny_bundle(tmp_path / "model", NAMES, size=64)
    form = widget.start_page.form
    form.public_button.click()
    assert form.fields["trials"].value == cells.TRIALS
    form.fields["output"].value = tmp_path / "public.sqlite"
    form.fields["model"].value = str(tmp_path / "model")
    form.fields["device"].value = "cpu"
    form.fields["pixel_size_um"].value = PIXEL_SIZE_UM
    form.fields["trials"].value, form.fields["steps"].value = 6, 2
    form.fields["reject"].value = False
    form.run_bar.run_button.click()
    qtbot.waitUntil(lambda: len(allowed) == 2 and not widget._session.busy, timeout=120_000)
    assert allowed == [False, True]
    assert "MIT licence" in asked[0]
    assert widget.test is not None, form.run_bar.line.text()
    assert widget.test.record["real_cells"]["licence"] == "MIT"
    assert cells.ATTRIBUTION in " ".join(widget.test.record["notes"])


@pytest.mark.parametrize("mode", ["blind", "teaching"])
def test_pause_is_in_sight_on_a_low_screen(opened, qtbot, mode) -> None:
    begin(opened, "Ada", mode)
    opened.resize(460, 560)
    qtbot.wait(20)
    page = opened.trial_page
    assert opened.height() == 560
    for button in (page.pause_button, page.leave_button):
        assert button.visibleRegion().boundingRect() == button.rect()
    assert page.area.verticalScrollBar().maximum() > 0
    # clicks into the area that scrolls leave the keys with the page
    QTest.mouseClick(page.cell, Qt.MouseButton.LeftButton)
    QTest.keyClick(page, Qt.Key.Key_P)
    assert page.paused
    QTest.mouseClick(page.cell, Qt.MouseButton.LeftButton)
    assert not page.paused


@pytest.mark.window
@pytest.mark.skipif(NO_DISPLAY, reason="no display: run under xvfb-run")
def test_napari_gets_none_of_the_keys(make_napari_viewer, qtbot, tmp_path, monkeypatch, quick):
    viewer = make_napari_viewer(show=True)
    labels = viewer.add_labels(np.zeros((20, 20), int))
    stolen = []
    for key in "RSP":
        viewer.bind_key(key, lambda _, k=key: stolen.append(k), overwrite=True)
    widget = AuthenticityWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Authenticity test")
    path = write(tmp_path / "test.sqlite")
    widget.open(path)
    begin(widget, "Ada")
    qtbot.wait(100)
    page = widget.trial_page
    assert widget.height() > 500  # the whole dock
    main = page.window()
    assert main.focusWidget() is page
    mode = labels.mode
    for key in "3S1R2":
        # where a real key press goes: to what has the focus
        QTest.keyClick(main.focusWidget(), key)
    assert [row[1:] for row in answers(path)] == [(1, NAMES[2]), (0, NAMES[0])]
    assert stolen == []
    assert labels.mode == mode
    # a click elsewhere pauses, so that no key that answers can do something else there
    lost = QFocusEvent(QFocusEvent.Type.FocusOut, Qt.FocusReason.MouseFocusReason)
    QApplication.sendEvent(page, lost)
    assert page.paused
    QTest.keyClick(page, "P")
    assert not page.paused
    viewer.close()
    qtbot.wait(50)
    with AuthenticityTest(path) as test:
        assert test.sittings()[0].answered == 2
