"""*Evaluate ...* in the report widget: what it asks for, and how it ends."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from report_toys import (
    table,
)
from toys import PIXEL_SIZE_UM

from cytodiffusion.errors import InputError
from napari_cytodiffusion.evaluate import jobs
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.paths import FolderField, PathRows


def test_an_evaluation_from_the_window(widget, made, qtbot, tmp_path) -> None:
    qtbot.mouseClick(widget.evaluate_button, Qt.MouseButton.LeftButton)
    form = widget.form
    assert form.isVisible()
    form.model.set_value(str(made / "model"))
    form.data.set_path(made / "data")
    assert form.output.path() == made / "data-report"
    form.output.set_path(tmp_path / "out")
    form.limit.setValue(6)
    form.pixel_size.setValue(PIXEL_SIZE_UM)
    qtbot.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert form.run_bar.cancel_button.isEnabled()
    session = Session.of(widget._session.viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=120_000)
    assert widget.report.metrics["n"] == 6
    assert (tmp_path / "out" / "report.html").is_file()
    assert widget.pages.isVisible()
    assert form.isHidden()
    assert "Evaluated in" in form.run_bar.line.text()


def test_an_evaluation_can_be_cancelled(widget, made, qtbot, tmp_path, monkeypatch) -> None:

    started, stopped = threading.Event(), threading.Event()

    def slow(settings, progress):
        started.set()
        try:
            while True:
                progress(0.5, "working")
        finally:
            stopped.set()

    monkeypatch.setattr("cytodiffusion.evaluation.run.evaluate", slow)
    form = widget.form
    widget.evaluate_button.setChecked(True)
    form.data.set_path(made / "data")
    form.output.set_path(tmp_path / "out")
    qtbot.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(started.is_set, timeout=60_000)
    qtbot.mouseClick(form.run_bar.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=5_000)
    qtbot.waitUntil(stopped.is_set, timeout=5_000)
    assert "Cancelled" in form.run_bar.line.text()
    assert widget.report is None


def test_an_error_is_one_sentence_and_leaves_the_form(widget, made, messages, qtbot, tmp_path):
    widget.evaluate_button.setChecked(True)
    qtbot.mouseClick(widget.form.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert "Choose the labelled cells" in widget.form.run_bar.line.text()
    widget.form.model.set_value(str(made / "model"))
    widget.form.data.set_path(tmp_path / "nowhere")
    qtbot.mouseClick(widget.form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)
    assert any("nowhere" in message for message in messages)
    assert "nowhere" in widget.form.run_bar.line.text()
    assert widget.form.isVisible()
    assert widget.form.data.path() == tmp_path / "nowhere"


# -- more to measure ------------------------------------------------------------------------------


@pytest.fixture
def form(widget, made, qtbot, tmp_path):
    qtbot.mouseClick(widget.evaluate_button, Qt.MouseButton.LeftButton)
    widget.form.model.set_value(str(made / "model"))
    widget.form.data.set_path(made / "data")
    widget.form.output.set_path(tmp_path / "out")
    return widget.form


def add(rows: PathRows, path: Path, qtbot) -> None:
    """Add a row by its button and type a path."""
    qtbot.waitUntil(lambda: rows.add_button.height() > 10)  # the layout has settled
    qtbot.mouseClick(rows.add_button, Qt.MouseButton.LeftButton)
    field = rows.findChildren(FolderField)[-1]
    qtbot.keyClicks(field.line, str(path))


def test_the_simple_case_shows_no_more_than_it_needs(form, qtbot) -> None:
    assert not form.more.leave_out.isVisible()
    qtbot.mouseClick(form.more.button, Qt.MouseButton.LeftButton)
    assert form.more.leave_out.isVisible()
    assert form.request() == jobs.EvaluateRequest(
        model=form.model.value(), data=form.data.path(), output=form.output.path()
    )


def test_all_that_is_asked_for_reaches_the_engine(form, made, widget, qtbot, monkeypatch) -> None:
    asked = []

    def stop(settings, progress):
        asked.append(settings)
        raise InputError("There is no model in x (--leave-out-model).")

    monkeypatch.setattr("cytodiffusion.evaluation.run.evaluate", stop)
    more = form.more
    qtbot.mouseClick(more.button, Qt.MouseButton.LeftButton)
    add(more.shift, made / "elsewhere" / "test", qtbot)
    add(more.shift, made / "data", qtbot)
    qtbot.keyClicks(more.shift.names()[1], "again")
    add(more.baselines, made / "rival", qtbot)
    add(more.baselines, made / "gone", qtbot)
    qtbot.mouseClick(more.baselines.remove_buttons()[1], Qt.MouseButton.LeftButton)
    qtbot.keyClicks(more.leave_out, "red")
    add(more.without, made / "model", qtbot)
    qtbot.keyClicks(more.annotations.line, str(made / "people.csv"))
    qtbot.keyClicks(more.low_data, "1, 2")
    more.shift_pixel_size.setValue(0.2)
    more.error_rate.setValue(2.0)
    qtbot.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(asked), timeout=60_000)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)
    (settings,) = asked
    assert settings.shift == {"elsewhere": made / "elsewhere" / "test", "again": made / "data"}
    assert settings.shift_pixel_size_um == 0.2
    assert settings.baselines == (made / "rival",)
    assert settings.leave_out == "red"
    assert settings.leave_out_model == (made / "model",)
    assert settings.annotations == made / "people.csv"
    assert settings.low_data == (1, 2)
    assert settings.classify.error_rate == 0.02
    # the error is told in the words of the window, and nothing that was entered is lost
    assert form.run_bar.line.text() == "There is no model in x (\u201cWithout it\u201d)."
    assert form.more.leave_out.text() == "red"
    qtbot.mouseClick(more.button, Qt.MouseButton.LeftButton)
    assert more.button.text() == (
        "More: other labs, baselines, leave out, annotators, error rate, few labels"
    )


@pytest.mark.parametrize(
    ("enter", "said"),
    [
        (lambda more, q: q.keyClicks(more.low_data, "10;20"), "'10;20' is not a list of numbers"),
        (lambda more, q: q.keyClicks(more.low_data, "0"), "'0' is not a list of numbers"),
        (lambda more, q: add(more.without, Path("/x/copy"), q), "Name the class to leave out"),
        (
            lambda more, q: [add(more.shift, Path(p), q) for p in ("/a/lab", "/b/lab/test")],
            "Two laboratories are called lab",
        ),
        (
            lambda more, q: (
                add(more.shift, Path("/a/lab"), q),
                q.keyClicks(more.shift.names()[0], "data"),
            ),
            "name the laboratory otherwise",
        ),
    ],
)
def test_what_makes_no_sense_is_said_in_the_form(form, enter, said, qtbot) -> None:
    heard = []
    form.asked.connect(heard.append)
    qtbot.mouseClick(form.more.button, Qt.MouseButton.LeftButton)
    enter(form.more, qtbot)
    qtbot.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert said in form.run_bar.line.text()
    assert heard == []


def test_an_evaluation_with_a_rival_and_other_laboratories(form, made, widget, qtbot) -> None:
    more = form.more
    form.limit.setValue(6)
    form.pixel_size.setValue(PIXEL_SIZE_UM)
    qtbot.mouseClick(more.button, Qt.MouseButton.LeftButton)
    add(more.baselines, made / "rival", qtbot)
    add(more.shift, made / "elsewhere" / "test", qtbot)
    more.shift_pixel_size.setValue(PIXEL_SIZE_UM)
    qtbot.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=120_000)
    assert widget.report is not None, form.run_bar.line.text()
    assert table(widget, "shift").texts(0) == ["this data"] * 2 + ["elsewhere"] * 2
    assert table(widget, "shift").texts(1)[1] == "rival"
