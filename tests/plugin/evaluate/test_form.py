"""*Evaluate ...* in the report widget: what it asks for, and how it ends."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from report_toys import texts
from toys import PIXEL_SIZE_UM

from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.settings import EvaluateSettings
from napari_cytodiffusion.evaluate.path_list import PathRows
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.fold import FoldButton


def test_an_evaluation_from_the_window(widget, made, qtbot, tmp_path) -> None:
    qtbot.mouseClick(widget.evaluate_button, Qt.MouseButton.LeftButton)
    form = widget.form
    assert form.isVisible()
    fields = form.fields
    fields["model"].value = str(made / "model")
    fields["data"].value = made / "data"
    assert fields["output"].value == made / "data-report"
    fields["output"].value = tmp_path / "out"
    fields["limit"].value = 6
    fields["pixel_size_um"].value = PIXEL_SIZE_UM
    qtbot.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert form.run_bar.cancel_button.isEnabled()
    session = Session.of(widget._session.viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=120_000)
    assert widget.report.metrics["n"] == 6
    assert (tmp_path / "out" / "report.html").is_file()
    assert widget.page.isVisible()
    assert len(widget.page.plots) == len(widget.report.plots) > 3
    assert form.isHidden()
    assert "Evaluated in" in form.run_bar.line.text()


def test_no_field_of_the_form_is_cut_off(widget, qtbot) -> None:
    widget.evaluate_button.setChecked(True)
    for button in widget.form.findChildren(FoldButton):
        button.setChecked(True)
    qtbot.wait(50)
    widget.resize(10, 700)  # Qt makes it as narrow as it may be
    qtbot.wait(50)
    for name in ("model", "data", "annotations"):
        native = widget.form.fields[name].native
        right = native.mapTo(widget, native.rect().topRight()).x()
        assert right <= widget.width()


def test_an_evaluation_can_be_cancelled(widget, made, qtbot, tmp_path, monkeypatch) -> None:

    started, stopped = threading.Event(), threading.Event()

    def slow(settings, progress, answers):
        started.set()
        try:
            while True:
                progress(0.5, "working")
        finally:
            stopped.set()

    monkeypatch.setattr("cytodiffusion.evaluation.run.evaluate", slow)
    form = widget.form
    widget.evaluate_button.setChecked(True)
    form.fields["data"].value = made / "data"
    form.fields["output"].value = tmp_path / "out"
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
    assert widget.form.run_bar.line.text() == (
        "Labelled images: nothing is given. Folder of the report: nothing is given."
    )
    fields = widget.form.fields
    fields["model"].value = str(made / "model")
    fields["data"].value = tmp_path / "nowhere"
    qtbot.mouseClick(widget.form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)
    assert any("nowhere" in message for message in messages)
    assert "nowhere" in widget.form.run_bar.line.text()
    assert widget.form.isVisible()
    assert fields["data"].value == tmp_path / "nowhere"


# -- more to measure ------------------------------------------------------------------------------


@pytest.fixture
def form(widget, made, qtbot, tmp_path):
    qtbot.mouseClick(widget.evaluate_button, Qt.MouseButton.LeftButton)
    fields = widget.form.fields
    fields["model"].value = str(made / "model")
    fields["data"].value = made / "data"
    fields["output"].value = tmp_path / "out"
    return widget.form


def add(rows: PathRows, path: Path, qtbot) -> None:
    """Add a row by its button and type a path."""
    qtbot.waitUntil(lambda: rows.add_button.height() > 10)  # the layout has settled
    qtbot.mouseClick(rows.add_button, Qt.MouseButton.LeftButton)
    line = rows.lines()[-1]
    qtbot.waitUntil(line.isVisible)
    qtbot.keyClicks(line, str(path))


def test_the_simple_case_shows_no_more_than_it_needs(form, qtbot) -> None:
    fields = form.fields
    assert not fields["leave_out"].native.isVisible()
    qtbot.mouseClick(fields.fold, Qt.MouseButton.LeftButton)
    assert fields["leave_out"].native.isVisible()
    plain = {name: fields[name].value for name in ("model", "data", "output")}
    assert form.settings() == EvaluateSettings(**plain)
    # the rate that stands there is not insisted on: a model need not be able to keep it
    assert form.settings().classify.error_rate == 0.02
    assert "error_rate" not in form.settings().classify.model_fields_set
    qtbot.mouseClick(fields.fold, Qt.MouseButton.LeftButton)
    assert fields.fold.text() == "More"
    fields["error_rate"].value = None
    assert form.settings().classify.error_rate is None
    assert "error_rate" in form.settings().classify.model_fields_set


def test_all_that_is_asked_for_reaches_the_engine(form, made, widget, qtbot, monkeypatch) -> None:
    asked = []

    def stop(settings, progress, answers):
        asked.append(settings)
        raise InputError("There is no model in x (--leave-out-model).")

    monkeypatch.setattr("cytodiffusion.evaluation.run.evaluate", stop)
    fields = form.fields
    qtbot.mouseClick(fields.fold, Qt.MouseButton.LeftButton)
    shift, baselines = fields["shift"].rows, fields["baselines"].rows
    add(shift, made / "elsewhere" / "test", qtbot)
    add(shift, made / "data", qtbot)
    qtbot.keyClicks(shift.names()[1], "again")
    add(baselines, made / "rival", qtbot)
    add(baselines, made / "gone", qtbot)
    qtbot.mouseClick(baselines.remove_buttons()[1], Qt.MouseButton.LeftButton)
    qtbot.keyClicks(fields["leave_out"].native, "red")
    add(fields["leave_out_model"].rows, made / "model", qtbot)
    fields["annotations"].value = made / "people.csv"
    qtbot.keyClicks(fields["low_data"].native, "1, 2")
    fields["shift_pixel_size_um"].value = 0.2
    fields["error_rate"].value = 0.03
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
    assert settings.classify.error_rate == 0.03
    # the error is told in the words of the window, and nothing that was entered is lost
    assert form.run_bar.line.text() == (
        "There is no model in x (\u201cModels without the class\u201d)."
    )
    assert fields["leave_out"].value == "red"
    qtbot.mouseClick(fields.fold, Qt.MouseButton.LeftButton)
    assert fields.fold.text().startswith("More: other laboratories, pixel size of the others, ")
    assert fields.fold.text().endswith(", error rate, few labelled cells")


@pytest.mark.parametrize(
    ("enter", "said"),
    [
        (lambda f, q: q.keyClicks(f["low_data"].native, "10;20"), "Few labelled cells: "),
        (lambda f, q: q.keyClicks(f["low_data"].native, "0"), "Few labelled cells: "),
        (
            lambda f, q: add(f["leave_out_model"].rows, Path("/x/copy"), q),
            "Name the class to leave out with \u201cClass to leave out\u201d.",
        ),
        (
            lambda f, q: [add(f["shift"].rows, Path(p), q) for p in ("/a/lab", "/b/lab/test")],
            "Two laboratories are called lab",
        ),
        (
            lambda f, q: (
                add(f["shift"].rows, Path("/a/lab"), q),
                q.keyClicks(f["shift"].rows.names()[0], "data"),
            ),
            "name the laboratory otherwise",
        ),
    ],
)
def test_what_makes_no_sense_is_said_in_the_form(form, enter, said, qtbot) -> None:
    heard = []
    form.asked.connect(heard.append)
    qtbot.mouseClick(form.fields.fold, Qt.MouseButton.LeftButton)
    enter(form.fields, qtbot)
    qtbot.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert said in form.run_bar.line.text()
    assert heard == []


def test_an_evaluation_with_a_rival_and_other_laboratories(form, made, widget, qtbot) -> None:
    fields = form.fields
    fields["limit"].value = 6
    fields["pixel_size_um"].value = PIXEL_SIZE_UM
    qtbot.mouseClick(fields.fold, Qt.MouseButton.LeftButton)
    add(fields["baselines"].rows, made / "rival", qtbot)
    add(fields["shift"].rows, made / "elsewhere" / "test", qtbot)
    fields["shift_pixel_size_um"].value = PIXEL_SIZE_UM
    qtbot.mouseClick(form.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=120_000)
    assert widget.report is not None, form.run_bar.line.text()
    assert set(widget.report.metrics["shift"]) == {"elsewhere"}
    shown = texts(widget)
    assert any(text.startswith("elsewhere, ") for text in shown)
    assert any(text.startswith("rival beside it") for text in shown)
