"""The report widget shows what the HTML report shows."""

from __future__ import annotations

import re

import numpy as np
import pyqtgraph as pg
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QLabel, QWidget
from report_toys import (
    NAMES,
    column,
    made_up_anomaly,
    made_up_hierarchy,
    made_up_psychometric,
    plot,
    show,
    table,
)

from napari_cytodiffusion.evaluate import jobs, sections
from napari_cytodiffusion.evaluate.table import ReportTable
from napari_cytodiffusion.shared.fold import Fold


def test_key_figures_are_those_of_the_file(opened, metrics) -> None:
    numbers = table(opened, "overview")
    titles = numbers.texts(0)
    shown = dict(zip(titles, numbers.texts(1), strict=True))
    rival = dict(zip(titles, numbers.texts(2), strict=True))
    assert shown["Cells"] == "15"
    low, high = metrics["intervals"]["ece"]
    ece = f"{metrics['ece']:.3f}\n{low:.3f}\u2013{high:.3f}"
    assert shown["Calibration error (ECE)"] == ece
    assert rival["Macro F1"].startswith(f"{metrics['baselines']['rival']['macro_f1']:.3f}")
    assert shown["Anomaly AUC"] == jobs.NOTHING
    assert "tiny" in opened.title.text()
    assert "15 cells" in opened.title.text()
    assert opened.hint.isHidden()
    page = opened.pages.stack.currentWidget()
    assert any("not a medical device" in label.text() for label in page.findChildren(QLabel))


def test_all_sections_of_the_page_are_there(opened, made, qtbot) -> None:
    """Every heading of the HTML report has a section, which is reached by the arrow."""
    html = (made / "report" / "report.html").read_text(encoding="utf-8")
    headings = len(re.findall("<h2", html))
    choice, seen = opened.pages.choice, ["Overview"]
    while opened.pages.forth.isEnabled():
        qtbot.mouseClick(opened.pages.forth, Qt.MouseButton.LeftButton)
        seen.append(choice.currentText())
    assert seen == [choice.itemText(i) for i in range(choice.count())]
    # the overview has no heading there, words and limits are one section here
    assert len(seen) == headings
    assert not opened.pages.forth.isEnabled()
    qtbot.mouseClick(opened.pages.back, Qt.MouseButton.LeftButton)
    assert choice.currentText() == seen[-2]


def test_no_section_is_wider_than_a_narrow_dock(opened) -> None:
    opened.resize(400, 800)
    for key in [opened.pages.choice.itemData(i) for i in range(opened.pages.choice.count())]:
        opened.pages.show_section(key)
        assert opened.pages.minimumSizeHint().width() <= 380, key


def test_classes_sort_by_value(opened, metrics, qtbot) -> None:
    classes = table(opened, "classes")
    assert classes.texts(0) == sorted(NAMES)
    header = classes.horizontalHeader()
    where = QPoint(header.sectionViewportPosition(1) + 6, header.height() // 2)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=where)
    values = [metrics["per_class"][name]["f1"] for name in classes.texts(0)]
    assert values in (sorted(values), sorted(values)[::-1])
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=where)
    again = [metrics["per_class"][name]["f1"] for name in classes.texts(0)]
    assert again == values[::-1]
    assert len(set(values)) > 1


def test_classes_have_intervals_and_the_rival_beside_them(opened, metrics) -> None:
    classes = table(opened, "classes")
    rival = metrics["baselines"]["rival"]["per_class"]
    assert column(classes, "F1,\nrival") == [f"{rival[n]['f1']:.3f}" for n in sorted(NAMES)]
    some = metrics["per_class"]["red"]
    low, high = some["intervals"]["precision"]
    text = classes.texts(4)[sorted(NAMES).index("red")]
    assert text.split("\n")[0] == f"{some['precision']:.3f}"
    assert text.split("\n")[1:] == ([f"{low:.3f}\u2013{high:.3f}"] if low < high else [])
    folded = table(opened, "classes", 1)
    assert folded.isHidden() or not folded.isVisible()
    fold = opened.pages.stack.currentWidget().findChild(Fold)
    fold.button.click()
    assert folded.isVisible()
    assert column(folded, "recall") == [f"{rival[n]['recall']:.3f}" for n in sorted(NAMES)]


def test_numbers_sort_as_numbers(qtbot) -> None:
    cells = tuple((jobs.figure(v),) for v in (0.5, None, 12.0, 2.0))
    parent = QWidget()
    qtbot.addWidget(parent)
    found = ReportTable(sections.Grid(jobs.Table(("x",), cells), True), {}, parent)
    found.sortItems(0, Qt.SortOrder.DescendingOrder)
    assert found.texts(0) == ["12.000", "2.000", "0.500", jobs.NOTHING]


def test_names_stay_while_the_figures_scroll(opened, qtbot) -> None:
    opened.resize(340, 800)
    shift = table(opened, "shift")
    qtbot.waitUntil(lambda: shift.horizontalScrollBar().maximum() > 0)
    assert not shift.names.isVisible()
    shift.horizontalScrollBar().setValue(shift.horizontalScrollBar().maximum())
    assert shift.names.isVisible()
    # both the data and the classifier, else nobody knows whose row it is
    assert shift.names.width() == shift.columnWidth(0) + shift.columnWidth(1)
    rows = sum(shift.rowHeight(row) for row in range(shift.rowCount()))
    assert shift.viewport().height() >= rows


def test_selected_rows_are_copied(opened, qtbot) -> None:
    classes = table(opened, "classes")
    classes.selectRow(0)
    qtbot.keyClick(classes, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    header, row = QGuiApplication.clipboard().text().split("\n")
    assert header.split("\t")[:3] == ["class", "F1", "F1, rival"]
    assert row.split("\t")[:2] == ["blue", " ".join(classes.texts(1)[0].split())]


def test_shift_has_a_row_for_each_place_and_classifier(opened, metrics) -> None:
    found = table(opened, "shift")
    assert found.texts(0) == ["this data"] * 2 + ["elsewhere"] * 2
    assert found.texts(1) == [metrics["model"]["name"], "rival"] * 2
    shift = metrics["shift"]["elsewhere"]
    assert column(found, "balanced,\nall open")[2] == f"{shift['balanced_accuracy']:.3f}"
    shared = column(found, "balanced,\nshared")
    assert shared[0] == jobs.NOTHING
    assert shared[2] == f"{shift['shared_balanced_accuracy']:.3f}"


def test_hierarchy_has_strict_and_tolerant_scores(opened, metrics) -> None:
    part = made_up_hierarchy()
    show(opened, metrics | {"hierarchy": part})
    found = table(opened, "hierarchy")
    assert found.texts(0) == [metrics["model"]["name"]]
    assert column(found, "balanced,\nstrict") == ["0.500"]
    assert column(found, "balanced,\ntolerant") == ["0.750"]
    by_class = table(opened, "hierarchy", 1)
    assert column(by_class, "recall,\ntolerant") == ["0.700"]
    assert column(by_class, "group") == ["warm"]
    rival = metrics["baselines"]["rival"] | {"hierarchy": part}
    show(opened, metrics | {"hierarchy": part, "baselines": {"rival": rival}})
    assert table(opened, "hierarchy").texts(0) == [metrics["model"]["name"], "rival"]


def test_anomaly_scores_of_everyone_are_listed(opened, metrics) -> None:
    anomaly = made_up_anomaly()
    rival = metrics["baselines"]["rival"] | {"anomaly": anomaly | {"auc": 0.6, "score_name": None}}
    show(opened, metrics | {"anomaly": anomaly, "baselines": {"rival": rival}})
    found = table(opened, "anomalies")
    assert found.texts(1) == ["0.900\n0.850\u20130.950", "0.600\n0.850\u20130.950"]
    assert found.texts(2)[0] == "0.800"
    scores = table(opened, "anomalies", 1)
    assert scores.texts(0) == ["combined (its own)", "zeta"]
    assert scores.texts(1) == ["0.900", "0.700"]
    assert table(opened, "anomalies", 2).texts(0)[0] == "1 - gap (its own)"


def test_without_a_class_left_out_the_field_is_named(opened) -> None:
    opened.pages.show_section("anomalies")
    texts = [label.text() for label in opened.pages.stack.currentWidget().findChildren(QLabel)]
    assert any("\u201cLeave out\u201d" in text for text in texts)
    assert not any("--leave-out" in text for text in texts)


def test_decided_and_held_back(opened, metrics) -> None:
    decided = table(opened, "confidence")
    assert decided.texts(1) == [
        f"{found['decided'][0]['share']:.3f}" for found in (metrics, metrics["baselines"]["rival"])
    ]
    review = {"review": {"share": 0.25, "error": 0.0125}}
    settings = metrics["settings"] | {"error_rate": 0.02}
    show(opened, metrics | review | {"settings": settings})
    held = table(opened, "confidence", 1)
    assert [held.texts(i) for i in range(3)] == [[metrics["model"]["name"]], ["0.250"], ["0.0125"]]


def test_psychometric_figures_have_their_intervals(opened, metrics) -> None:
    show(opened, metrics | {"psychometric": made_up_psychometric()})
    found = table(opened, "psychometric")
    assert found.texts(0) == [metrics["model"]["name"], "somebody"]
    assert found.texts(1) == ["0.400\n0.300\u20130.500", jobs.NOTHING]
    assert found.texts(2)[0] == "1.000\n0.800\u20131.200"
    assert found.texts(3)[0] == "0.020\n0.000\u20130.050"
    labels = opened.pages.stack.currentWidget().findChildren(QLabel)
    assert any("somebody: few cells." in label.text() for label in labels)


def test_sets_trials_and_versions_are_told(opened, metrics) -> None:
    sets = table(opened, "sets")
    asked = [f"{row['asked']:.2f}" for row in metrics["sets"] for _ in range(2)]
    assert column(sets, "asked") == asked
    rival = metrics["baselines"]["rival"]["sets"]
    assert column(sets, "mean\nsize")[1::2] == [f"{row['size']:.2f}" for row in rival]
    trials = table(opened, "trials")
    assert trials.texts(0) == [str(p["trials"]) for p in metrics["trials"]["points"]]
    versions = table(opened, "model")
    assert versions.texts(3)[1] == metrics["baselines"]["rival"]["model"]["sha256"][:16]


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("classes", "confusion"),
        ("confidence", "reliability"),
        ("confidence", "risk"),
        ("trials", "trials"),
    ],
)
def test_every_plot_is_drawn(opened, metrics, section, key) -> None:
    items = plot(opened, section, key).plot.getPlotItem().items
    curves = [item.getData() for item in items if isinstance(item, pg.PlotDataItem)]
    drawn = [[list(values) for values in curve] for curve in curves if curve[0] is not None]
    if key == "confusion":
        counts = np.array(metrics["confusion"]["counts"])
        texts = [item.toPlainText() for item in items if hasattr(item, "toPlainText")]
        assert sorted(map(int, texts)) == sorted(counts[counts > 0].tolist())
    elif key == "trials":
        points = metrics["trials"]["points"]
        assert drawn == [[[p[k] for p in points] for k in ("trials", "balanced_accuracy")]]
    else:
        for found in (metrics, metrics["baselines"]["rival"]):
            if key == "risk":
                curve = found["risk_coverage"]
                expected = [curve["coverage"], [100 * value for value in curve["risk"]]]
            else:
                bins = found["reliability"]
                expected = [[p["confidence"] for p in bins], [p["accuracy"] for p in bins]]
            assert expected in drawn


def test_sections_without_figures_say_why_or_are_missing(opened) -> None:
    choice = opened.pages.choice
    keys = [choice.itemData(i) for i in range(choice.count())]
    assert not {"hierarchy", "low_data"} & set(keys)
    opened.pages.show_section("anomalies")
    assert opened.pages.plots() == opened.pages.tables() == []


def test_sets_and_shift_are_drawn_as_they_are(opened, metrics) -> None:
    items = plot(opened, "sets", "sets").plot.getPlotItem().items
    curves = [item.getData() for item in items if isinstance(item, pg.PlotDataItem)]
    assert curves[1][0].tolist() == [row["asked"] for row in metrics["sets"]]
    assert curves[1][1].tolist() == [row["coverage"] for row in metrics["sets"]]
    items = plot(opened, "shift", "shift").plot.getPlotItem().items
    bars = [item.opts["height"] for item in items if isinstance(item, pg.BarGraphItem)]
    assert bars == [
        [
            found["balanced_accuracy"],
            found["shift"]["elsewhere"]["balanced_accuracy"],
            found["shift"]["elsewhere"]["shared_balanced_accuracy"],
        ]
        for found in (metrics, metrics["baselines"]["rival"])
    ]


def test_plots_of_a_full_report_are_drawn(opened, metrics) -> None:
    """Those that only a long evaluation has: made-up figures, drawn as they are."""
    low = [
        {"cells": n, "balanced_accuracy": 0.5 + n / 100, "sd": 0.01, "seeds": 5} for n in (10, 20)
    ]
    show(
        opened,
        metrics
        | {"anomaly": made_up_anomaly(), "psychometric": made_up_psychometric()}
        | {"low_data": {"curves": {"diffusion": low}, "split": "test"}},
    )
    drawn = {}
    for section, key in (
        ("anomalies", "anomaly"),
        ("low_data", "low_data"),
        ("psychometric", "psychometric"),
    ):
        items = plot(opened, section, key).plot.getPlotItem().items
        drawn[key] = [i.getData() for i in items if isinstance(i, pg.PlotDataItem)]
    assert [list(values) for values in drawn["anomaly"][1]] == [[0, 0.1, 1], [0, 0.8, 1]]
    assert drawn["anomaly"][2][1].tolist() == [0.8]
    np.testing.assert_allclose(drawn["low_data"][0][0], [1, np.log10(20)])
    assert drawn["low_data"][0][1].tolist() == [0.6, 0.7]
    assert [list(values) for values in drawn["psychometric"][0]] == [[0, 1], [0.2, 0.9]]
    # below the curve, the credible interval of the threshold
    assert drawn["psychometric"][1][0].tolist() == [0.3, 0.5]
    assert table(opened, "low_data").texts(2) == ["0.600", "0.700"]


def test_a_plot_without_its_figures_says_so(opened, metrics) -> None:
    """A report of another version: the rest of it is shown."""
    broken = {"decided": metrics["decided"], "reliability": [{"n": 3}]}
    show(opened, metrics | broken)
    assert "lacks the figures" in plot(opened, "confidence", "reliability").line.text()
    assert "Error that" not in plot(opened, "confidence", "reliability").line.text()
    assert table(opened, "confidence").rowCount() == 2


def test_a_report_of_another_version_leaves_what_is_shown(opened, metrics, messages) -> None:
    before = opened.report
    show(opened, {k: v for k, v in metrics.items() if k != "sets"})
    assert opened.report is before
    assert "evaluate again" in opened.problem.text()
    assert opened.problem.text() == messages[0]
    assert opened.pages.isVisible()
    show(opened, metrics)
    assert opened.problem.isHidden()


def test_text_of_the_data_is_no_markup(opened, metrics) -> None:
    show(opened, metrics | {"warnings": ["<b>bold</b> is a file's name"]})
    labels = opened.pages.stack.currentWidget().findChildren(QLabel)
    (label,) = [found for found in labels if "bold" in found.text()]
    assert label.textFormat() == Qt.TextFormat.PlainText
