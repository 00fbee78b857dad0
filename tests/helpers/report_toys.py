"""Ways into a report widget, and made-up figures that only a long evaluation has."""

from __future__ import annotations

from typing import Any

from cytodiffusion.evaluation.stored import StoredReport
from napari_cytodiffusion.evaluate.plots import ReportPlot
from napari_cytodiffusion.evaluate.table import ReportTable
from napari_cytodiffusion.evaluate.widget import ReportWidget

NAMES = ("blue", "green", "red")


def table(widget: ReportWidget, section: str, number: int = 0) -> ReportTable:
    """Go to a section, return one of its tables."""
    widget.pages.show_section(section)
    return widget.pages.tables()[number]


def column(found: ReportTable, title: str) -> list[str]:
    """First lines of a column, by its header."""
    headers = [found.horizontalHeaderItem(i).text() for i in range(found.columnCount())]
    return [text.split("\n")[0] for text in found.texts(headers.index(title))]


def plot(widget: ReportWidget, section: str, key: str) -> ReportPlot:
    widget.pages.show_section(section)
    return next(p for p in widget.pages.plots() if p.key == key)


def show(widget: ReportWidget, metrics: dict[str, Any]) -> None:
    widget.show_report(StoredReport(widget.report.folder, metrics, None, None))


def made_up_hierarchy() -> dict[str, Any]:
    scores = {"accuracy": 0.6, "balanced_accuracy": 0.5}
    row = {
        "n": 5,
        "recall_strict": 0.4,
        "recall_tolerant": 0.7,
        "precision_strict": 0.3,
        "precision_tolerant": 0.8,
        "group": "warm",
    }
    return {
        "title": "Colours",
        "neighbours": [["red", "orange"]],
        "strict": scores,
        "tolerant": scores | {"balanced_accuracy": 0.75},
        "groups": scores | {"recall": {"warm": 0.9}},
        "per_class": {"red": row},
    }


def made_up_anomaly() -> dict[str, Any]:
    scores = {
        "score": {"auc": 0.9, "sensitivity": 0.8, "specificity": 0.9, "sensitivity_here": 0.7},
        "zeta": {"auc": 0.7, "sensitivity": None, "specificity": None, "sensitivity_here": 0.1},
    }
    return {
        "auc": 0.9,
        "sensitivity": 0.8,
        "specificity": 0.9,
        "intervals": {"auc": [0.85, 0.95]},
        "roc": {"false_alarms": [0, 0.1, 1], "sensitivity": [0, 0.8, 1]},
        "why": None,
        "left_out": "red",
        "trained_for_it": True,
        "n_known": 10,
        "n_unknown": 5,
        "threshold": 1.5,
        "false_alarms": 0.02,
        "score_name": "combined",
        "scores": scores,
    }


def made_up_psychometric() -> dict[str, Any]:
    line = {"index": [0, 1], "accuracy": [0.2, 0.9], "low": [0.1, 0.8], "high": [0.3, 1]}
    model = {
        "n": 60,
        "accuracy": 0.8,
        "threshold": 0.4,
        "width": 1.0,
        "lapse": 0.02,
        "intervals": {"threshold": [0.3, 0.5], "width": [0.8, 1.2], "lapse": [0.0, 0.05]},
        "curve": line,
        "points": [{"index": 0.5, "accuracy": 0.6, "n": 5}],
        "cautions": [],
    }
    return {
        "index": {"kind": "labels", "stated": "confidence of the labels"},
        "guess_rate": 0.1,
        "threshold_at": 0.8,
        "observers": {"model": model, "somebody": {"n": 5, "accuracy": 0.6, "why": "few cells"}},
    }
