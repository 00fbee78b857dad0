"""Psychometric curves of all observers in one plot, from the numbers in ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

#: Line styles tell observers apart where colours run out.
_DASHES = ("-", (0, (5, 2)), (0, (2, 2)))


def psychometric_plot(
    figure: Figure, metrics: Mapping[str, Any], model_colour: str, colours: tuple[str, ...]
) -> None:
    """Draw answers as dots (larger for more cells), curves, and the band of the model's.

    The thresholds are marked on the axis with their credible intervals.
    """
    axes = figure.add_subplot()
    part = metrics["psychometric"]
    for number, (name, found) in enumerate(part["observers"].items()):
        if "curve" not in found:
            continue
        colour = model_colour if name == "model" else colours[(number - 1) % len(colours)]
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
    axes.axhline(part["guess_rate"], color="#8a8f98", linewidth=1, linestyle=(0, (4, 3)))
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
