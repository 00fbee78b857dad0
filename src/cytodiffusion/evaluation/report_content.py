"""What a report says in words and headline figures: on its page, in the window, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_Metrics = Mapping[str, Any]

#: Fewer cells of a class than this make its figures uncertain.
FEW = 50

#: What the parts of a data set are called.
SPLITS = {
    "train": "training split of ",
    "val": "validation split of ",
    "test": "test split of ",
    "all": "all splits of ",
}


@dataclass(frozen=True)
class KeyFigure:
    """One of the figures that a report begins with, as text."""

    title: str
    value: str
    note: str


def key_figures(metrics: _Metrics) -> list[KeyFigure]:
    """Return the figures that a report begins with; a dash where one was not measured."""
    ends = metrics.get("intervals", {})
    found = [
        KeyFigure(title, share(metrics.get(key)), interval(ends.get(key)))
        for title, key in (
            ("Balanced accuracy", "balanced_accuracy"),
            ("Accuracy", "accuracy"),
            ("Calibration error", "ece"),
        )
    ]
    asked = metrics.get("settings", {}).get("coverage")
    anomaly = metrics["anomaly"]
    measured = anomaly.get("auc") is not None
    device = metrics.get("model", {}).get("device", "this computer")
    return [
        *found,
        KeyFigure(
            "Coverage of the sets" if asked is None else f"{100 * asked:g} % set coverage",
            share(metrics.get("coverage")),
            f"mean size {share(metrics.get('set_size'), 2)}",
        ),
        KeyFigure(
            "Anomaly AUC",
            share(anomaly.get("auc")),
            str(anomaly.get("left_out", "")) if measured else "not measured",
        ),
        KeyFigure(
            "Trials a cell",
            share(metrics.get("trials_mean"), 2),
            f"{number(metrics.get('ms_per_cell'), 1)} ms on {device}",
        ),
    ]


def title_of(metrics: _Metrics) -> str:
    """Say in a line what was evaluated."""
    model, data = metrics.get("model", {}), metrics.get("data", {})
    name = f"{model.get('name', 'model')} {model.get('version', '')}".strip()
    of = f"{SPLITS.get(data.get('split', ''), '')}{Path(data.get('path', 'data')).name}"
    return f"{name}: {metrics['n']:,} cells, {of}, {str(metrics.get('created', ''))[:10]}"


def summary(metrics: _Metrics) -> str:
    """Return the key figures in a line, and below it a line a laboratory and baseline."""
    low, high = metrics["intervals"]["balanced_accuracy"]
    ends = f" ({low:.3f} to {high:.3f})" if low < high else ""
    text = (
        f"{metrics['n']:,} cells: balanced accuracy {metrics['balanced_accuracy']:.3f}{ends}, "
        f"accuracy {metrics['accuracy']:.3f}, ECE {metrics['ece']:.3f}, "
        f"coverage {metrics['coverage']:.3f} with sets of {metrics['set_size']:.2f}, "
        f"{metrics['trials_mean']:.2f} trials a cell"
    )
    if metrics["anomaly"]["auc"] is not None:
        text += f", anomaly AUC {metrics['anomaly']['auc']:.3f}"
    return "\n".join([text, *finer_lines(metrics), *comparisons(metrics)])


def finer_lines(metrics: _Metrics) -> list[str]:
    """Return a line for each class whose finer classes were scored, and one for all of them."""
    fine = metrics.get("fine", {})
    found = []
    for name, row in fine.get("classes", {}).items():
        recalls = [f"{value} {share(one['recall'])}" for value, one in row["recall"].items()]
        found.append(
            f"Finer classes of {name}, {number(row['n'], 0)} cells: accuracy "
            f"{share(row['accuracy'])} ({', '.join(recalls)})"
        )
    if "accuracy" in fine:
        found.append(
            f"All classes on the fine level: accuracy {share(fine['accuracy'])}, balanced accuracy "
            f"{share(fine['balanced_accuracy'])}, sets of {share(fine['set_size'], 2)} hold the "
            f"true one in {share(fine['coverage'])}"
        )
    return found


def comparisons(metrics: _Metrics) -> list[str]:
    """Return a line for each other laboratory and each baseline."""
    return [
        f"{name}, {number(found.get('n'), 0)} cells: balanced accuracy "
        f"{share(found.get('balanced_accuracy'))}, "
        f"{share(found.get('shared_balanced_accuracy'))} with its classes only"
        for name, found in metrics["shift"].items()
    ] + [
        f"{name} beside it: balanced accuracy {share(found.get('balanced_accuracy'))}"
        for name, found in metrics.get("baselines", {}).items()
    ]


def limits_of(metrics: _Metrics) -> list[str]:
    """Return sentences about what a reader should keep in mind."""
    found = ["For research and teaching; not a medical device, not for diagnosis."]
    data = metrics["data"]
    if data["split"] == "train":
        found.append("These are training images: the figures are better than on new cells.")
    elif data["split"] == "all":
        found.append(
            "All splits of the data were used: where the model was trained on some of them, the "
            "figures are better than on new cells."
        )
    elif data["split"] == "val":
        found.append(
            "The validation split also calibrates models: coverage, calibration and false alarms "
            "look better here than on new cells."
        )
    if not data["groups"]:
        found.append(
            "The data name no patients or slides: cells of one patient may be in training and "
            "here, and the intervals treat cells as independent, so they are too narrow."
        )
    few = [name for name, row in metrics["per_class"].items() if row["n"] < FEW]
    if few:
        found.append(f"Fewer than {FEW} cells: {', '.join(few)}; mind the intervals.")
    if not metrics["shift"]:
        found.append(
            "No other laboratory's cells were tested: expect lower figures with another stain or "
            "camera."
        )
    if metrics["anomaly"]["auc"] is None:
        found.append(f"Anomaly detection was not measured: {metrics['anomaly']['why']}.")
    elif metrics["anomaly"]["trained_for_it"]:
        found.append(
            f"Anomalies were measured with a copy trained without {metrics['anomaly']['left_out']}"
            "; the model itself knows that class."
        )
    if not metrics["baselines"]:
        found.append("No baseline stands beside the model: name one with --baseline.")
    found.append(
        "All figures come from one model trained with one seed; the intervals (95 %, bootstrap "
        "over cells) do not include what another training run would change."
    )
    return found


def share(value: float | None, digits: int = 3) -> str:
    """Write a figure between 0 and 1; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def number(value: float | None, digits: int = 2) -> str:
    """Write any figure."""
    return "–" if value is None or value != value else f"{value:,.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference with its sign, a true minus."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def interval(ends: tuple[float, float] | None, digits: int = 3) -> str:
    """Write an interval; nothing where resampling saw no spread, as that is no certainty."""
    if ends is None or any(end is None or end != end for end in ends) or ends[0] == ends[1]:
        return ""
    return f"{ends[0]:.{digits}f}–{ends[1]:.{digits}f}"
