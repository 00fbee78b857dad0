"""The report widget, with a report that the engine wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyqtgraph as pg
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QMimeData, QPoint, QPointF, QSettings, Qt, QUrl
from qtpy.QtGui import QDropEvent

from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.model.testing import tiny_bundle
from napari_cytodiffusion import reports
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.widgets import report as module
from napari_cytodiffusion.widgets.report import ReportWidget
from toys import PIXEL_SIZE_UM, write_discs

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    tiny_bundle(folder / "model", NAMES)
    write_discs(folder / "data", {"train": 1, "val": 1, "test": 5})
    write_discs(folder / "elsewhere", {"test": 3}, ("blue", "red"))
    settings = EvaluateSettings(
        model=str(folder / "model"),
        data=folder / "data",
        output=folder / "report",
        shift={"elsewhere": folder / "elsewhere" / "test"},
        pixel_size_um=PIXEL_SIZE_UM,
        shift_pixel_size_um=PIXEL_SIZE_UM,
        resamples=20,
        trial_cells=6,
    )
    evaluate(settings)
    return folder


@pytest.fixture
def bare(qtbot):
    viewer = ViewerModel()
    yield viewer
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(20_000)


@pytest.fixture
def widget(bare, qtbot, tmp_path, monkeypatch):
    path = str(tmp_path / "settings.ini")
    monkeypatch.setattr(
        ReportWidget, "_settings", lambda _: QSettings(path, QSettings.Format.IniFormat)
    )
    made = ReportWidget(bare)
    qtbot.addWidget(made)
    made.resize(420, 800)
    made.show()
    return made


@pytest.fixture
def opened(widget, made, qtbot):
    widget.open(made / "report")
    qtbot.waitUntil(lambda: widget.report is not None, timeout=20_000)
    return widget


@pytest.fixture
def metrics(made):
    return json.loads((made / "report" / "metrics.json").read_text())


def test_key_figures_are_those_of_the_file(opened, metrics) -> None:
    shown = dict(zip(opened.numbers.texts(0), opened.numbers.texts(1), strict=True))
    assert shown["Cells"] == "15"
    assert shown["Balanced accuracy"].startswith(f"{metrics['balanced_accuracy']:.3f}")
    assert shown["Anomaly AUC"] == reports.NOTHING
    assert "tiny" in opened.title.text()
    assert "15 cells" in opened.title.text()
    assert opened.hint.isHidden()
    assert "not a medical device" in opened.remarks.text()


def test_classes_sort_by_value(opened, metrics, qtbot) -> None:
    table = opened.classes
    opened.tabs.setCurrentWidget(table)
    assert table.texts(0) == sorted(NAMES)
    header = table.horizontalHeader()
    where = QPoint(header.sectionViewportPosition(2) + 6, header.height() // 2)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=where)
    recalls = [metrics["per_class"][name]["recall"] for name in table.texts(0)]
    assert recalls == sorted(recalls, reverse=True) or recalls == sorted(recalls)
    first = table.texts(0)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=where)
    again = [metrics["per_class"][name]["recall"] for name in table.texts(0)]
    assert again == recalls[::-1] or first == table.texts(0)
    assert len(set(recalls)) == 1 or again != recalls


def test_numbers_sort_as_numbers(widget) -> None:
    cells = tuple((reports.figure(v),) for v in (0.5, None, 12.0, 2.0))
    widget.classes.set_table(reports.Table(("x",), cells))
    widget.classes.sortItems(0, Qt.SortOrder.DescendingOrder)
    assert widget.classes.texts(0) == ["12.000", "2.000", "0.500", reports.NOTHING]


def test_shift_has_a_row_for_home_and_elsewhere(opened, metrics) -> None:
    table = opened.compared
    assert table.texts(0) == ["this data", "elsewhere"]
    shift = metrics["shift"]["elsewhere"]
    assert table.texts(2)[1] == f"{shift['balanced_accuracy']:.3f}"
    assert table.texts(3) == [reports.NOTHING, f"{shift['shared_balanced_accuracy']:.3f}"]


@pytest.mark.parametrize("key", ["confusion", "reliability", "risk", "trials"])
def test_every_plot_is_drawn(opened, metrics, key, qtbot) -> None:
    opened.tabs.setCurrentWidget(opened.plots)
    opened.plots.show_plot(key)
    items = opened.plots.plot.getPlotItem().items
    curves = [item for item in items if hasattr(item, "getData")]
    if key == "confusion":
        counts = np.array(metrics["confusion"]["counts"])
        texts = [item.toPlainText() for item in items if hasattr(item, "toPlainText")]
        assert sorted(map(int, texts)) == sorted(counts[counts > 0].tolist())
        return
    x, y = curves[-1].getData()
    if key == "trials":
        np.testing.assert_allclose(y, [p["balanced_accuracy"] for p in metrics["trials"]["points"]])
    elif key == "risk":
        np.testing.assert_allclose(y, 100 * np.array(metrics["risk_coverage"]["risk"]))
    else:
        np.testing.assert_allclose(x, [p["confidence"] for p in metrics["reliability"]])


def test_only_plots_with_figures_are_offered(opened, made) -> None:
    choice = opened.plots.choice
    keys = [choice.itemData(i) for i in range(choice.count())]
    assert keys[:5] == ["confusion", "reliability", "risk", "sets", "shift"]
    assert not {"anomaly", "low_data"} & set(keys)


def test_sets_and_shift_are_drawn_as_they_are(opened, metrics) -> None:
    opened.plots.show_plot("sets")
    items = opened.plots.plot.getPlotItem().items
    x, y = [item for item in items if hasattr(item, "getData")][-1].getData()
    assert x.tolist() == [row["asked"] for row in metrics["sets"]]
    assert y.tolist() == [row["coverage"] for row in metrics["sets"]]
    opened.plots.show_plot("shift")
    items = opened.plots.plot.getPlotItem().items
    (bars,) = [item for item in items if isinstance(item, pg.BarGraphItem)]
    shift = metrics["shift"]["elsewhere"]
    assert bars.opts["height"] == [
        metrics["balanced_accuracy"],
        shift["balanced_accuracy"],
        shift["shared_balanced_accuracy"],
    ]


def test_plots_of_a_full_report_are_drawn(opened, metrics) -> None:
    """Those that only a long evaluation has: made-up figures, drawn as they are."""
    roc = {"false_alarms": [0, 0.1, 1], "sensitivity": [0, 0.8, 1]}
    anomaly = {"auc": 0.9, "sensitivity": 0.8, "specificity": 0.9, "roc": roc}
    low = [{"cells": n, "balanced_accuracy": 0.5 + n / 100, "sd": 0.01} for n in (10, 20)]
    line = {"index": [0, 1], "accuracy": [0.2, 0.9], "low": [0.1, 0.8], "high": [0.3, 1]}
    points = [{"index": 0.5, "accuracy": 0.6, "n": 5}]
    observers = {"model": {"curve": line, "points": points}, "somebody": {"why": "few cells"}}
    opened.plots.set_metrics(
        metrics
        | {"anomaly": metrics["anomaly"] | anomaly}
        | {"low_data": {"curves": {"diffusion": low}}, "psychometric": {"observers": observers}}
    )
    drawn = {}
    for key in ("anomaly", "low_data", "psychometric"):
        opened.plots.show_plot(key)
        items = opened.plots.plot.getPlotItem().items
        drawn[key] = [i.getData() for i in items if isinstance(i, pg.PlotDataItem)]
    assert [list(values) for values in drawn["anomaly"][1]] == [[0, 0.1, 1], [0, 0.8, 1]]
    assert drawn["anomaly"][2][1].tolist() == [0.8]
    np.testing.assert_allclose(drawn["low_data"][0][0], [1, np.log10(20)])
    assert drawn["low_data"][0][1].tolist() == [0.6, 0.7]
    assert [list(values) for values in drawn["psychometric"][0]] == [[0, 1], [0.2, 0.9]]


def test_a_click_on_a_cell_opens_its_image(opened, bare, metrics, qtbot) -> None:
    opened.tabs.setCurrentWidget(opened.cells)
    wall = opened.cells.wall
    entries = metrics["montage"]["hardest"]
    assert wall.count() == len(entries) == 15
    item = wall.item(0)
    assert not item.icon().isNull()
    for _ in range(2):  # the second time the layer is there already
        where = wall.visualItemRect(item).center()
        qtbot.mouseClick(wall.viewport(), Qt.MouseButton.LeftButton, pos=where)
        qtbot.waitUntil(lambda: len(bare.layers) == 1, timeout=20_000)
    qtbot.wait(50)
    (layer,) = bare.layers
    assert layer.name == Path(entries[0]["path"]).stem
    assert layer.data.shape == (48, 48, 3)
    opened.cells.choice.setCurrentIndex(1)
    assert wall.item(0).data(256) == metrics["montage"]["anomalous"][0]["path"]


def test_an_image_that_is_gone_is_said(opened, bare, messages, qtbot, tmp_path) -> None:
    opened.open_image(str(tmp_path / "gone.png"))
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    assert "gone.png" in messages[0]
    assert len(bare.layers) == 0


def test_a_folder_without_a_report_is_said(widget, messages, qtbot, tmp_path) -> None:
    widget.open(tmp_path)
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    assert "no metrics.json" in messages[0]
    assert widget.report is None
    assert widget.tabs.isHidden()


def test_a_dropped_folder_opens_and_is_remembered(widget, made, qtbot) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(made / "report" / "metrics.json"))])
    drop = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    widget.dropEvent(drop)
    qtbot.waitUntil(lambda: widget.report is not None, timeout=20_000)
    assert widget.recent_reports() == [str((made / "report").resolve())]
    widget.recent.aboutToShow.emit()
    assert [a.text() for a in widget.recent.actions()] == widget.recent_reports()


def test_the_page_opens_in_the_browser(opened, made, monkeypatch, qtbot) -> None:
    urls = []
    monkeypatch.setattr(module.QDesktopServices, "openUrl", lambda url: urls.append(url) or True)
    qtbot.mouseClick(opened.page_button, Qt.MouseButton.LeftButton)
    assert Path(urls[0].toLocalFile()) == (made / "report" / "report.html").resolve()


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
    assert widget.tabs.isVisible()
    assert form.isHidden()
    assert "Evaluated in" in form.run_bar.line.text()


def test_an_evaluation_can_be_cancelled(widget, made, qtbot, tmp_path, monkeypatch) -> None:
    import threading

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
    assert widget.form.isVisible()
