"""The figures of a report as SVG, from the numbers in ``metrics.json`` alone.

Matplotlib's object interface is used without pyplot: no global state, no window, any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from cytodiffusion.drawing.style import (
    CHART,
    GREY,
    GRID,
    INK,
    PAPER,
    SERIES,
    SHADE,
    adaptive,
    to_svg,
)

#: Colours of the model and of the baselines beside it.
MODEL_COLOUR, *OTHER_COLOURS = SERIES

#: Numbers on the squares of the confusion matrix, which look the same in every theme.
_ON_DEEP, _ON_PALE = "#fdfdfd", "#1d2733"

#: Bins with fewer cells are drawn hollow.
FEW_IN_BIN = 10

_STYLE: Any = CHART | {
    "font.size": 9.5,
    # the page behind shows through, whatever its theme
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def all_plots(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Every plot that the figures allow, as SVG text by name."""
    found: dict[str, str] = {}
    for name, plot, there in _PLOTS:
        if there(metrics):
            with _figure(metrics, name) as figure:
                plot(figure, metrics)
                found[name] = to_svg(figure)
    return found


def confusion_svg(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix small, true classes in rows, as SVG text in both themes."""
    table = np.array(counts)
    there = np.flatnonzero(table.sum(axis=0) + table.sum(axis=1))
    shown = {"classes": [names[int(k)] for k in there], "counts": table[np.ix_(there, there)]}
    with rc_context(_STYLE):
        size = (1.7 + 0.36 * len(there), 1.3 + 0.32 * len(there))
        figure = Figure(figsize=size, layout="constrained")
        confusion_plot(figure, {"confusion": shown})
        return adaptive(to_svg(figure))


@contextmanager
def _figure(metrics: Mapping[str, Any], name: str) -> Iterator[Figure]:
    with rc_context(_STYLE):
        k = len(metrics["confusion"]["classes"])
        size = {
            "confusion": (min(9.0, 2.6 + 0.4 * k), min(8.4, 1.9 + 0.4 * k)),
            "shift": (6.4, 3.4),
            "psychometric": (5.6, 4.4),
        }.get(name, (4.6, 3.7))
        yield Figure(figsize=size, layout="constrained")


def rivals(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    """Name, figures and colour of the model and each baseline."""
    names = [(str(metrics["model"]["name"]), metrics, MODEL_COLOUR)]
    for number, (name, found) in enumerate(metrics["baselines"].items()):
        names.append((name, found, OTHER_COLOURS[number % len(OTHER_COLOURS)]))
    return names


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of ``n`` (Wilson 1927)."""
    z = 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(centre - half), float(centre + half)


def confusion_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """Draw the counts; the colour is the share of the true class."""
    names = metrics["confusion"]["classes"]
    counts = np.array(metrics["confusion"]["counts"])
    rows = np.flatnonzero(counts.sum(axis=1))
    columns = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    part = counts[np.ix_(rows, columns)]
    shares = part / part.sum(axis=1, keepdims=True)
    axes = figure.add_subplot()
    # by the square root: one error in fifty cells is to be seen
    filled = np.ma.masked_equal(shares, 0)  # the page shows through where there are no cells
    axes.imshow(filled, cmap="Blues", norm=PowerNorm(0.5, 0, 1), aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.7)
    for i, j in np.argwhere(part > 0):
        ink = _ON_DEEP if shares[i, j] > 0.3 else _ON_PALE
        axes.text(j, i, f"{part[i, j]:,}", ha="center", va="center", color=ink, fontsize=8.5)
    axes.set_xticks(range(len(columns)), [names[j] for j in columns], rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [names[i] for i in rows])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    axes.tick_params(which="both", length=0)


def reliability_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """Accuracy, with 95 % intervals, of each bin of confidence; below, how many cells it has."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    everyone = rivals(metrics)
    for number, (name, found, colour) in enumerate(everyone):
        points = found["reliability"]
        y = np.array([p["accuracy"] for p in points])
        ends = np.array([wilson(p["accuracy"], p["n"]) for p in points]).T
        # side by side, as the confidences of rivals lie upon each other
        aside = 0.008 * (number - (len(everyone) - 1) / 2)
        x = [p["confidence"] + aside for p in points]
        spread = np.maximum(np.stack([y - ends[0], ends[1] - y]), 0)
        upper.errorbar(x, y, yerr=spread, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.6)
        inside = [colour if p["n"] >= FEW_IN_BIN else PAPER for p in points]
        upper.scatter(x, y, s=22, c=inside, edgecolors=colour, zorder=3)
        upper.plot([], [], "o", color=colour, label=f"{name}, ECE {found['ece']:.3f}")
        if found is metrics:
            lows = [p["low"] for p in points]
            widths = [p["high"] - p["low"] for p in points]
            counts = [p["n"] for p in points]
            # from half a cell up, as a logarithm has no zero and not every reader of SVG clips
            heights = [n - 0.5 for n in counts]
            lower.bar(lows, heights, widths, 0.5, align="edge", color=colour, edgecolor=PAPER)
    upper.set_ylabel("accuracy")
    upper.set_ylim(-0.04, 1.04)
    figure.legend(loc="outside upper left", fontsize=8.5)
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.5)
    lower.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    lower.set_ylabel("cells")
    lower.set_xlabel("confidence")
    lower.set_xlim(0, 1.01)


def risk_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """Errors among the most confident share of the cells."""
    axes = figure.add_subplot()
    for name, found, colour in rivals(metrics):
        curve = found["risk_coverage"]
        axes.plot(
            curve["coverage"],
            curve["risk"],
            color=colour,
            linewidth=1.6,
            label=f"{name}, AURC {found['aurc']:.4f}",
        )
    axes.set_xlabel("share of cells decided, most confident first")
    axes.set_ylabel("error among them")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")
    _percent(axes)


def sets_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """Coverage that was asked for against coverage that was found."""
    axes = figure.add_subplot()
    low = min(row["asked"] for row in metrics["sets"])
    axes.plot([low, 1], [low, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    for name, found, colour in rivals(metrics):
        x = [row["asked"] for row in found["sets"]]
        axes.plot(x, [row["coverage"] for row in found["sets"]], "o-", color=colour, label=name)
        if found is metrics:
            for row in found["sets"]:
                axes.annotate(
                    f"{row['size']:.2f}",
                    (row["asked"], row["coverage"]),
                    textcoords="offset points",
                    xytext=(6, -11),
                    ha="left",
                    fontsize=8,
                    color=colour,
                )
    asked = [row["asked"] for row in metrics["sets"]]
    axes.set_xticks(asked, [f"{level:g}" for level in asked])
    axes.set_xlabel("coverage asked for")
    axes.set_ylabel("coverage found")
    axes.margins(y=0.15)
    axes.legend(loc="lower right")


def roc_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """ROC of the anomaly score, with the stated threshold marked."""
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    for name, found, colour in rivals(metrics):
        anomaly = found["anomaly"]
        if anomaly["auc"] is None:
            continue
        curve = anomaly["roc"]
        label = f"{name}, AUC {anomaly['auc']:.3f}"
        axes.plot(curve["false_alarms"], curve["sensitivity"], color=colour, label=label)
        axes.plot(1 - anomaly["specificity"], anomaly["sensitivity"], "o", color=colour)
    axes.set_xlabel("false alarms (known cells)")
    axes.set_ylabel("sensitivity (unknown class)")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="lower right")


def shift_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """Balanced accuracy on the evaluated data and on the data of each other laboratory."""
    axes = figure.add_subplot()
    names = list(metrics["shift"])
    kinds = ("all classes", "shared classes")
    groups = ["this data", *(f"{name}\n{kind}" for name in names for kind in kinds)]
    everyone = rivals(metrics)
    width = 0.8 / len(everyone)
    for number, (name, found, colour) in enumerate(everyone):
        values, ranges = [found["balanced_accuracy"]], [found["intervals"]["balanced_accuracy"]]
        for other in names:
            shift = found["shift"][other]
            for key in ("balanced_accuracy", "shared_balanced_accuracy"):
                values.append(shift[key])
                ranges.append(shift["intervals"][key])
        x = np.arange(len(values)) + (number - (len(everyone) - 1) / 2) * width
        axes.bar(x, values, 0.92 * width, color=colour, label=name)
        error = np.abs(np.array(ranges).T - np.array(values))
        axes.errorbar(x, values, yerr=error, fmt="none", ecolor=INK, elinewidth=0.8)
        for at, value, (_, high) in zip(x, values, ranges, strict=True):
            axes.text(at, max(value, high) + 0.015, f"{value:.2f}", ha="center", fontsize=8)
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0, 1.08)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("balanced accuracy")
    figure.legend(loc="outside upper right", ncols=3)


def trials_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """Accuracy after each number of trials; bars: cells that took so many."""
    axes = figure.add_subplot()
    points = metrics["trials"]["points"]
    x = [p["trials"] for p in points]
    counts = axes.twinx()
    bars = metrics["trials"]["histogram"]
    counts.bar([b["trials"] for b in bars], [b["n"] for b in bars], color=SHADE, width=0.8)
    counts.set_ylabel("cells that took so many")
    counts.grid(visible=False)
    counts.spines["right"].set_visible(True)
    axes.set_zorder(counts.get_zorder() + 1)
    axes.patch.set_visible(False)
    key = "balanced_accuracy"
    axes.plot(x, [p[key] for p in points], "o-", color=MODEL_COLOUR, markersize=4)
    axes.set_xlabel("trials")
    axes.set_xticks(range(1, len(x) + 1, max(1, len(x) // 12)))
    axes.set_ylabel("balanced accuracy, none stopped early")
    # a tenth at least, else the last thousandth looks like a cliff
    values = [p[key] for p in points]
    top = min(1.005, max(values) + 0.02)
    axes.set_ylim(min(top - 0.1, min(values) - 0.01), top)


def low_data_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """Balanced accuracy against labelled cells a class; bars: standard deviation of the seeds."""
    axes = figure.add_subplot()
    colours = (MODEL_COLOUR, *OTHER_COLOURS)
    for number, (name, points) in enumerate(metrics["low_data"]["curves"].items()):
        axes.errorbar(
            [p["cells"] for p in points],
            [p["balanced_accuracy"] for p in points],
            yerr=[p["sd"] for p in points],
            color=colours[number % len(colours)],
            marker="o",
            capsize=3,
            label=name,
        )
    axes.set_xscale("log")
    ticks = sorted({p["cells"] for c in metrics["low_data"]["curves"].values() for p in c})
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("labelled cells a class")
    axes.set_ylabel("balanced accuracy")
    axes.legend(loc="lower right")


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    def there(metrics: Mapping[str, Any]) -> bool:
        value: Any = metrics
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return bool(value)

    return there


def _has_auc(metrics: Mapping[str, Any]) -> bool:
    return any(found["anomaly"]["auc"] is not None for _, found, _ in rivals(metrics))


#: Line styles tell observers apart where colours run out.
_DASHES = ("-", (0, (5, 2)), (0, (2, 2)))


def psychometric_plot(figure: Figure, metrics: Mapping[str, Any]) -> None:
    """Draw answers as dots (larger for more cells), curves, and the band of the model's.

    The thresholds are marked on the axis with their credible intervals.
    """
    axes, colours = figure.add_subplot(), OTHER_COLOURS
    part = metrics["psychometric"]
    for number, (name, found) in enumerate(part["observers"].items()):
        if "curve" not in found:
            continue
        colour = MODEL_COLOUR if name == "model" else colours[(number - 1) % len(colours)]
        dashes = _DASHES[(max(number - 1, 0) // len(colours)) % len(_DASHES)]
        label = str(metrics["model"]["name"]) if name == "model" else name
        curve = found["curve"]
        if name == "model":
            axes.fill_between(
                curve["index"], curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0
            )
        axes.plot(curve["index"], curve["accuracy"], color=colour, linestyle=dashes, label=label)
        sizes = np.array([p["n"] for p in found["points"]], float)
        axes.scatter(
            [p["index"] for p in found["points"]],
            [p["accuracy"] for p in found["points"]],
            s=8 + 60 * sizes / sizes.max(),
            color=colour,
            alpha=0.6,
            linewidths=0,
        )
        low, high = np.clip(found["intervals"]["threshold"], 0, 1)
        height = -0.03 - 0.02 * number
        axes.plot([low, high], [height, height], color=colour, linewidth=2, clip_on=False)
    axes.axhline(part["guess_rate"], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.05 - 0.02 * len(part["observers"]), 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlabel(f"index of difficulty, easy to the right ({part['index']['kind']})")
    axes.set_ylabel("share of right answers")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8)


def has_curve(metrics: Mapping[str, Any]) -> bool:
    """Whether there is any curve to draw."""
    observers = metrics.get("psychometric", {}).get("observers", {})
    return any("curve" in found for found in observers.values())


_PLOTS: Sequence[
    tuple[str, Callable[[Figure, Mapping[str, Any]], None], Callable[[Mapping[str, Any]], bool]]
] = (
    ("confusion", confusion_plot, _has("confusion")),
    ("reliability", reliability_plot, _has("reliability")),
    ("risk", risk_plot, _has("risk_coverage", "coverage")),
    ("sets", sets_plot, _has("sets")),
    ("anomaly", roc_plot, _has_auc),
    ("shift", shift_plot, _has("shift")),
    ("trials", trials_plot, _has("trials", "points")),
    ("low_data", low_data_plot, _has("low_data", "curves")),
    ("psychometric", psychometric_plot, has_curve),
)
