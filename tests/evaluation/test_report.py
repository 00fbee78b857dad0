"""The page of a report: what it shows of figures that only a long evaluation has, and its plots."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from report_toys import (
    made_up_anomaly,
    made_up_hierarchy,
    made_up_low_data,
    made_up_psychometric,
)
from toys import PIXEL_SIZE_UM, tiny_baseline, write_discs

from cytodiffusion.drawing import style
from cytodiffusion.drawing.style import ON_DARK
from cytodiffusion.evaluation.montage import Montage
from cytodiffusion.evaluation.plots import all_plots
from cytodiffusion.evaluation.report import render
from cytodiffusion.evaluation.report_content import comparisons, key_figures, limits_of
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import StoredReport, read_report
from cytodiffusion.model.testing import tiny_bundle

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> StoredReport:
    folder = tmp_path_factory.mktemp("report")
    data = write_discs(folder / "data", {"test": 4})
    settings = EvaluateSettings(
        model=str(tiny_bundle(folder / "tiny", NAMES)),
        data=data,
        output=folder / "r",
        baselines=(tiny_baseline(folder / "rival", NAMES),),
        shift={"elsewhere": data},
        pixel_size_um=PIXEL_SIZE_UM,
        resamples=20,
        trial_cells=6,
    )
    return read_report(evaluate(settings))


@pytest.fixture(scope="module")
def full(report: StoredReport) -> dict[str, Any]:
    """Figures of an evaluation in which everything was measured."""
    extra = {"anomaly": made_up_anomaly(), "hierarchy": made_up_hierarchy()}
    intervals = {name: [0.1, 0.9] for name in ("auc", "sensitivity", "specificity")}
    extra["anomaly"]["intervals"] |= intervals
    rival = report.metrics["baselines"]["rival"] | extra
    return {
        **report.metrics,
        **extra,
        "baselines": {"rival": rival},
        "psychometric": made_up_psychometric(),
        "low_data": made_up_low_data(),
    }


def page_of(report: StoredReport, metrics: dict[str, Any]) -> str:
    assert report.sheet is not None
    groups = {key: metrics["montage"][key] for key in ("hardest", "anomalous")}
    return render(metrics, Montage(report.sheet, metrics["montage"]["tile"], 20.0, groups))


def test_every_part_of_a_full_report_is_on_the_page(report, full) -> None:
    page = page_of(report, full)
    headings = re.findall(r'<h2 id="([\w-]+)"', page)
    assert {"hierarchy", "psychometric", "low-data", "anomalies", "cells", "limits"} <= set(
        headings
    )
    assert set(re.findall(r'href="#([\w-]+)"', page)) == set(headings)
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    for words in (
        "combined (its own) 0.900 0.800 0.900 0.700",
        "Colours. Strict scores",
        "somebody 5 0.600 few cells",
        "diffusion 10 0.600 0.010 5",
        "this data tiny",
    ):
        assert words in text, words


def test_the_page_begins_with_the_key_figures_and_ends_with_all_limits(report, full) -> None:
    page = page_of(report, full)
    tiles = re.findall(r'class="tile"><span>(.*?)</span><b>(.*?)</b><span>(.*?)</span>', page)
    assert tiles == [(f.title, f.value, f.note) for f in key_figures(full)]
    assert ("Anomaly AUC", "0.900", "red") in tiles
    limits = limits_of(report.metrics)
    assert report.metrics["limits"] == limits
    assert all(page.partition('id="limits"')[2].count(sentence) for sentence in limits)


def test_rows_of_classes_sort_and_cells_enlarge(report) -> None:
    assert report.page is not None
    page = report.page.read_text(encoding="utf-8")
    sortable = re.findall(r'<table class="sort">(.*?)</table>', page, re.DOTALL)
    assert sum("blue" in table for table in sortable) >= 2
    entries = [e for k in ("hardest", "anomalous") for e in report.metrics["montage"][k]]
    assert page.count('<button type="button"><img') == len(entries)


def test_all_plots_are_drawn_and_are_sound(full) -> None:
    plots = all_plots(full)
    assert set(plots) == {
        *("confusion", "reliability", "risk", "sets", "anomaly"),
        *("shift", "trials", "low_data", "psychometric"),
    }
    assert all_plots(full) == plots
    for svg in plots.values():
        root = ElementTree.fromstring(svg)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        # not every reader of SVG clips: nothing reaches out of the picture
        for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+) ", _without_glyphs(svg)):
            assert -1 <= float(x) <= width + 1
            assert -1 <= float(y) <= height + 1


def _without_glyphs(svg: str) -> str:
    return re.sub(r"<defs>.*?</defs>", "", svg, flags=re.DOTALL)


def test_plots_have_the_colours_of_the_theme(report) -> None:
    assert len(report.plots) == len(set(p.caption for p in report.plots)) >= 6
    for plot in report.plots:
        light, dark = plot.svg(False), plot.svg(True)
        assert not plot.on_white
        for svg in (light, dark):
            ElementTree.fromstring(svg)
            assert "var(" not in svg
            assert "prefers-color-scheme" not in svg
        assert "prefers-color-scheme: dark" in plot.text
        there = [colour for colour in ON_DARK if colour in light]
        assert there
        for colour in there:
            assert colour not in dark or colour in ON_DARK.values()
            assert dark.count(ON_DARK[colour]) >= light.count(colour)


def test_a_report_keeps_the_colours_that_it_was_made_with(monkeypatch) -> None:
    svg = style.adaptive('<svg><path style="stroke: #2b2f36; fill: #123456"/></svg>')
    monkeypatch.setattr(style, "ON_DARK", {})
    assert style.fixed(svg, True) == '<svg><path style="stroke: #e6e8eb; fill: #123456"/></svg>'
    assert style.fixed(svg, False) == '<svg><path style="stroke: #2b2f36; fill: #123456"/></svg>'


def test_a_page_of_an_earlier_version_keeps_its_plots(tmp_path: Path, report) -> None:
    (tmp_path / "metrics.json").write_text((report.folder / "metrics.json").read_text())
    svg = '<svg><path id="D-3" transform="scale(1)"/><use xlink:href="#D-3" x="1"/><g/></svg>'
    source = base64.b64encode(svg.encode()).decode()
    page = f'<img alt="A &amp; B" src="data:image/svg+xml;base64,{source}"><img src="x.png">'
    (tmp_path / "report.html").write_text(page)
    (plot,) = read_report(tmp_path).plots
    assert plot.caption == "A & B"
    assert plot.on_white
    assert plot.svg(True) == plot.svg(False) == "<svg><g/></svg>"
    (tmp_path / "report.html").write_bytes(b"\xff\xfe no page")
    assert read_report(tmp_path).plots == ()


def test_fewer_figures_still_make_a_headline() -> None:
    least = {"n": 3, "accuracy": 0.5, "balanced_accuracy": None, "anomaly": {}, "shift": {"a": {}}}
    values = {found.title: found.value for found in key_figures(least)}
    assert values["Accuracy"] == "0.500"
    assert values["Balanced accuracy"] == values["Anomaly AUC"] == "–"
    assert comparisons(least)[0].startswith("a, ")
