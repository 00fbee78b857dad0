"""Figures that only a long evaluation has, made up for the page and the window."""

from __future__ import annotations

from typing import Any

NAMES = ("blue", "green", "red")


def texts(widget: Any) -> list[str]:
    """Everything that a report widget says below its buttons."""
    from qtpy.QtWidgets import QApplication, QLabel

    QApplication.processEvents()  # what was just put in shows only then
    return [label.text() for label in widget.page.findChildren(QLabel) if label.isVisible()]


def made_up_low_data() -> dict[str, Any]:
    points = [
        {"cells": n, "balanced_accuracy": 0.5 + n / 100, "sd": 0.01, "seeds": 5} for n in (10, 20)
    ]
    return {"curves": {"diffusion": points}, "split": "test"}


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
