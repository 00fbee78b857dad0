"""What *Inspect cell* says of a cell, in plain words, without Qt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_cytodiffusion.layers.results import CellRecord, percent

#: A share of less than this is not worth its number.
_LITTLE = 0.005

#: What is known of a cell beside its class: heading, and what it means.
TERMS: dict[str, tuple[str, str]] = {
    "entropy": (
        "Undecided (entropy)",
        "How divided the answer is: 0 % where one class has it all, 100 % where all classes are "
        "equally probable. The entropy of the probabilities as a share of the highest there is.",
    ),
    "margin": (
        "Lead (margin)",
        "How far the most probable class is ahead of the next one.",
    ),
    "trials": (
        "Looks (trials)",
        "How often the network has looked at the cell; where the class is clear it stops early.",
    ),
    "anomaly": (
        "Strangeness (anomaly score)",
        "How badly the cell fits everything in the training. Above the limit it is outlined, "
        "which by design happens to a few ordinary cells in a hundred, too.",
    ),
    "area": ("Area", "Of the outline of the cell."),
    "scale": ("Scale", "Micrometres a pixel at which the cell was classified."),
    "place": ("Place", "Centre of the cell in pixels of the image, from its upper left corner."),
}

#: Said of a cell that is not the one that was classified.
CHANGED = "<b>Changed since the classification</b>: Classify cells brings it up to date."

#: Heading of the plot of errors, and what it means.
ERRORS = (
    "How badly each class fits, by amount of noise",
    "The network removes noise from the cell once for every class; the class under which it is "
    "least wrong fits best. From left to right there is more noise: first details of the cell "
    "decide, then its coarse shape and colour. 0 is the best class at that amount of noise.",
)


def runner_up(record: CellRecord, names: Sequence[str]) -> str:
    """Say which class comes next; empty where there is no other."""
    if len(names) < 2:
        return ""
    order = np.argsort(-np.asarray(record.posterior), kind="stable")
    second = next(int(k) for k in order if k != record.predicted)
    share = float(record.posterior[second])
    if share < _LITTLE:
        return "every other class less than 1 %"
    return f"next {names[second]} {percent(share)}"


def fitting(record: CellRecord, names: Sequence[str]) -> str:
    """Say which classes the cell may be of: the prediction set."""
    members = [int(k) for k in np.flatnonzero(record.prediction_set)]
    order = sorted(members, key=lambda k: -float(record.posterior[k]))
    if not order:
        return "No class fits well enough."
    if len(order) == len(names):
        return "No class can be ruled out."
    if len(order) == 1:
        return f"Only {names[order[0]]} fits; the others are ruled out."
    listed = ", ".join(names[k] for k in order[:-1])
    return f"May be {listed} or {names[order[-1]]}; the others are ruled out."


def strangeness(record: CellRecord) -> str:
    """Say whether a cell is like those of the training."""
    if record.anomaly:
        return "Unlike anything in the training."
    return "Not unusual: like cells in the training."


def border(record: CellRecord) -> str:
    """Warn of a cell that the border of the image cuts."""
    if not record.touches_border:
        return ""
    return "The border of the image cuts this cell: judge with care."


def details(record: CellRecord, n_classes: int, pixel_size_um: float) -> dict[str, str]:
    """Return the figures of a cell by the keys of `TERMS`."""
    highest = float(np.log(max(n_classes, 2)))
    return {
        "entropy": f"{100 * record.entropy / highest:.0f} % ({record.entropy:.2f})",
        "margin": f"{100 * record.margin:.0f} %",
        "trials": f"{record.trials}",
        "anomaly": f"{record.anomaly_score:.3g}, limit {record.anomaly_threshold:.3g}",
        "area": f"{record.area_um2:.1f} \u00b5m\u00b2",
        "scale": f"{pixel_size_um:.3g} \u00b5m/px",
        "place": f"y {record.y:,.0f}, x {record.x:,.0f} px",
    }


def review(record: CellRecord) -> str:
    """Say whether a cell is accepted, and by what."""
    if record.accept_above is None:
        return ""
    limit = f"{100 * record.accept_above:.2f}\u00a0%"
    if record.review and record.by_prior:
        return "<b>For review</b>: it has its class from the mixture of cells that is expected."
    if record.review:
        return f"<b>For review</b>: its confidence is not above {limit}."
    return f"Accepted: its confidence is above {limit}."
