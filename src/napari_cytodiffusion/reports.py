"""Reports of evaluations for the window: what is read, asked for and shown, without Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cytodiffusion.progress import Progress
from napari_cytodiffusion.imports import import_engine

#: What stands where nothing was measured.
NOTHING = "\u2013"


@dataclass(frozen=True)
class EvaluateRequest:
    """What *Evaluate* asks for."""

    model: str
    data: Path
    output: Path
    shift: Path | None = None
    split: str = "test"
    limit: int | None = None
    pixel_size_um: float | None = None
    device: str = "auto"
    allow_download: bool = False


def read_body(path: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields a `cytodiffusion.evaluation.stored.StoredReport`."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.evaluation.stored import read_report

        yield read_report(path)

    return body


def evaluate_body(request: EvaluateRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that evaluates and yields the report."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        import_engine()
        from cytodiffusion.evaluation.run import evaluate
        from cytodiffusion.evaluation.settings import EvaluateSettings
        from cytodiffusion.evaluation.stored import read_report

        shift = {} if request.shift is None else {request.shift.stem: request.shift}
        settings = EvaluateSettings(
            model=request.model,
            data=request.data,
            output=request.output,
            shift=shift,
            split=request.split,
            limit=request.limit,
            pixel_size_um=request.pixel_size_um,
            device=request.device,
            allow_download=request.allow_download,
        )
        yield read_report(evaluate(settings, report))

    return body


def image_body(path: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields an image of a cell as (Y, X, 3) uint8."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.image import open_image

        yield open_image(path).rgb()

    return body


# -- tables ---------------------------------------------------------------------------------------

#: One cell of a table: what is shown, and what it is sorted by.
Cell = tuple[str, Any]


@dataclass(frozen=True)
class Table:
    """Header and rows of a table; ``main`` are the rows of the model itself."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    main: tuple[int, ...] = ()


def figure(value: float | None, digits: int = 3) -> Cell:
    """Return a number as a cell of a table."""
    if value is None or np.isnan(value):
        return NOTHING, float("-inf")
    return f"{value:.{digits}f}", float(value)


def ranged(value: float | None, ends: Any, digits: int = 3) -> Cell:
    """Return a number with its interval, where it has a width, as a cell of a table."""
    text, key = figure(value, digits)
    if ends is None or any(e is None for e in ends) or ends[0] == ends[1] or text == NOTHING:
        return text, key
    return f"{text}  ({ends[0]:.{digits}f}\u2013{ends[1]:.{digits}f})", key


def short(name: str, most: int = 20) -> str:
    """Return a name that fits into the legend of a plot."""
    return name if len(name) <= most else f"{name[: most - 1]}\u2026"


def classifiers(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and figures of the model and of each baseline."""
    return [(str(metrics["model"]["name"]), metrics), *metrics["baselines"].items()]


_KEY_FIGURES = (
    ("Cells", "n"),
    ("Balanced accuracy", "balanced_accuracy"),
    ("Accuracy", "accuracy"),
    ("Macro F1", "macro_f1"),
    ("Calibration error (ECE)", "ece"),
    ("Area under risk (AURC)", "aurc"),
    ("Coverage of the sets", "coverage"),
    ("Mean size of the sets", "set_size"),
    ("Trials a cell", "trials_mean"),
    ("Milliseconds a cell", "ms_per_cell"),
    ("Anomaly AUC", "auc"),
    ("Anomaly sensitivity", "sensitivity"),
    ("Anomaly specificity", "specificity"),
)
_DIGITS = {"aurc": 4, "set_size": 2, "trials_mean": 2, "ms_per_cell": 1}


def key_table(metrics: Mapping[str, Any]) -> Table:
    """Key figures as rows, classifiers as columns."""
    everyone = classifiers(metrics)
    rows = []
    for title, key in _KEY_FIGURES:
        cells: list[Cell] = [(title, title)]
        for _, found in everyone:
            source = found["anomaly"] if key in ("auc", "sensitivity", "specificity") else found
            value, ends = source.get(key), (source.get("intervals") or {}).get(key)
            digits = _DIGITS.get(key, 3)
            cells.append((f"{value:,}", value) if key == "n" else ranged(value, ends, digits))
        rows.append(tuple(cells))
    return Table(("", *(name for name, _ in everyone)), tuple(rows))


def class_table(metrics: Mapping[str, Any]) -> Table:
    """One row a class."""
    rows = []
    for name, row in metrics["per_class"].items():
        keys = ("recall", "precision", "f1", "coverage")
        rows.append(
            (
                (name, name),
                (f"{row['n']:,}", row["n"]),
                *(figure(row[key]) for key in keys),
                figure(row["set_size"], 2),
            )
        )
    header = ("class", "cells", "recall", "precision", "F1", "coverage", "set size")
    return Table(header, tuple(rows))


def compare_table(metrics: Mapping[str, Any]) -> Table:
    """One row a set of data and classifier: at home first, then each other laboratory."""
    rows: list[tuple[Cell, ...]] = []
    main = []
    for name, found in classifiers(metrics):
        main += [len(rows)] if found is metrics else []
        rows.append(_compared("this data", name, found, None))
    for other in metrics["shift"]:
        for name, found in classifiers(metrics):
            main += [len(rows)] if found is metrics else []
            shift = found["shift"][other]
            rows.append(_compared(other, name, shift, shift["shared_balanced_accuracy"]))
    header = ("data", "classifier", "balanced", "shared open", "accuracy", "ECE", "cells")
    return Table(header, tuple(rows), tuple(main))


def _compared(
    data: str, name: str, found: Mapping[str, Any], shared: float | None
) -> tuple[Cell, ...]:
    return (
        (data, data),
        (short(name), name),
        figure(found["balanced_accuracy"]),
        figure(shared),
        figure(found["accuracy"]),
        figure(found["ece"]),
        (f"{found['n']:,}", found["n"]),
    )


def caption(entry: Mapping[str, Any]) -> str:
    """Lines under the picture of a cell: its class, what else it was taken for, its anomaly."""
    right = entry["label"] == entry["predicted"]
    said = "" if right else f"\u2192 {entry['predicted']} "
    mark = " \u25b2" if entry["anomaly"] else ""
    return (
        f"{entry['label']}\n{said}{entry['confidence']:.2f}\n"
        f"anomaly {entry['anomaly_score']:.1f}{mark}"
    )


def headline(metrics: Mapping[str, Any]) -> str:
    """Say in a line what was evaluated."""
    model, data = metrics["model"], metrics["data"]
    return (
        f"{model['name']} {model['version']}: {metrics['n']:,} cells of "
        f"{Path(data['path']).name} ({data['split']}), {str(metrics['created'])[:10]}"
    )
