"""The figure of a result, from the numbers in ``result.json`` and the table of answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cytodiffusion.drawing.style import CHART, GREY, SERIES, to_svg

#: Colours of participants; after the last they begin anew.
COLOURS = SERIES
#: Participants that have a line of their own.
MOST = 24
_STYLE: Any = CHART | {"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left"}
#: The four ways to answer, in the order of the plot of times.
ANSWERS = (
    ("real called real", False, False),
    ("real called synthetic", False, True),
    ("synthetic called real", True, False),
    ("synthetic called synthetic", True, True),
)


def save_figure(path: Path, figures: Mapping[str, Any], answers: pd.DataFrame) -> None:
    """Write the figure as PNG of 200 dots an inch."""
    with rc_context(_STYLE):
        _draw(figures, answers).savefig(path, format="png", dpi=200, metadata={"Software": None})


def svg_figure(figures: Mapping[str, Any], answers: pd.DataFrame) -> str:
    """Return the figure as SVG text."""
    with rc_context(_STYLE):
        return to_svg(_draw(figures, answers))


def _draw(figures: Mapping[str, Any], answers: pd.DataFrame) -> Figure:
    curves = figures["psychometric"].get("observers", {})
    drawn = any("curve" in found for found in curves.values())
    people, classes = len(_people(figures)), len(figures["pooled"]["classes"])
    rows: list[Any] = [["people", "sensitivity"], ["classes", "times"]]
    heights = [max(5, people + 2), classes + 2]
    if drawn:
        rows.append(["curves", "curves"])
        heights.append(9)
    figure = Figure(figsize=(10, 1.2 + 0.36 * sum(heights)), layout="constrained")
    axes = figure.subplot_mosaic(rows, height_ratios=heights)
    _forest(axes["people"], _people(figures), "Accuracy of each participant")
    _detection(axes["sensitivity"], figures)
    shares = [(name, found["accuracy"]) for name, found in figures["pooled"]["classes"].items()]
    _forest(axes["classes"], shares, "Accuracy of each class, all participants")
    _times(axes["times"], answers)
    if drawn:
        _curves(axes["curves"], figures["psychometric"])
    return figure


def _people(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    found = figures["participants"]
    rows = [(name, found[name]["accuracy"]) for name in list(found)[:MOST]]
    return rows + ([("all answers", figures["pooled"]["accuracy"])] if len(found) > 1 else [])


def _forest(axes: Axes, rows: list[tuple[str, Mapping[str, Any]]], title: str) -> None:
    """Shares with their intervals, one a line, and the line of guessing."""
    for number, (_, found) in enumerate(rows):
        low, high = found["interval"]
        axes.plot([low, high], [number, number], color=COLOURS[0], linewidth=1.6)
        axes.plot(found["value"], number, "o", color=COLOURS[0], markersize=5)
        axes.annotate(
            f"{found['value']:.2f}", (1.02, number), va="center", fontsize=8, annotation_clip=False
        )
    axes.axvline(0.5, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_yticks(range(len(rows)), [_short(name) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of right answers; dashed: guessing")
    axes.set_title(title)


def _detection(axes: Axes, figures: Mapping[str, Any]) -> None:
    """Hits against false alarms of each participant: how sensitive, and how biased."""
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    for number, (name, found) in enumerate(list(figures["participants"].items())[:MOST]):
        if found["hits"]["value"] is None or found["false_alarms"]["value"] is None:
            continue
        axes.plot(
            found["false_alarms"]["value"],
            found["hits"]["value"],
            "o",
            color=COLOURS[number % len(COLOURS)],
            label=f"{_short(name)}, d' {found['dprime']:.2f}",
        )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("real taken for synthetic: false alarms")
    axes.set_ylabel("hits: synthetic cells that were recognised")
    axes.set_title("Sensitivity; dashed: guessing")
    if len(figures["participants"]) <= 8 and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=7.5)


def _times(axes: Axes, answers: pd.DataFrame) -> None:
    clean = answers[answers["showings"] == 1]
    groups = [
        clean[(clean["synthetic"] == made) & (clean["said_synthetic"] == said)]["seconds"]
        for _, made, said in ANSWERS
    ]
    axes.boxplot([g.to_numpy() for g in groups], orientation="horizontal", showfliers=False)
    labels = [
        name.replace(" called", ",\ncalled") + f" ({len(g)})"
        for (name, _, _), g in zip(ANSWERS, groups, strict=True)
    ]
    axes.set_yticks(range(1, 5), labels)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds to the answer")
    axes.set_title("Answer times")


def _curves(axes: Axes, part: Mapping[str, Any]) -> None:
    number = 0
    for name, found in part["observers"].items():
        if "curve" not in found:
            continue
        colour, curve = COLOURS[number % len(COLOURS)], found["curve"]
        axes.plot(curve["index"], curve["accuracy"], color=colour, label=_short(name))
        axes.fill_between(curve["index"], curve["low"], curve["high"], color=colour, alpha=0.15)
        sizes = np.array([p["n"] for p in found["points"]], float)
        axes.scatter(
            [p["index"] for p in found["points"]],
            [p["accuracy"] for p in found["points"]],
            s=8 + 50 * sizes / sizes.max(),
            color=colour,
            alpha=0.6,
            linewidths=0,
        )
        number += 1
    axes.axhline(part["guess_rate"], color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    axes.set(xlim=(-0.02, 1.02), ylim=(0.2, 1.02))
    axes.set_xlabel(f"easy to the right: {part['index']['stated']}")
    axes.set_ylabel("share of right answers")
    axes.set_title("Psychometric functions")
    axes.legend(fontsize=8, loc="lower right")


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\u2026"
