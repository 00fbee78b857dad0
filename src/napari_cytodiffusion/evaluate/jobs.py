"""Reports of evaluations for the window: what is read, asked for and shown, without Qt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine

#: What stands where nothing was measured.
NOTHING = "\u2013"

#: Options of the command line and the fields of *Evaluate* that they are here.
_FIELDS = {
    "--leave-out-model": "Without it",
    "--leave-out": "Leave out",
    "--baseline": "Baselines",
    "--low-data": "Few labels",
    "--error-rate": "Error rate",
    "--annotations": "Annotators",
    "--shift": "Other labs",
    "--split": "Split",
    "--limit": "Images",
}

_OPTION = re.compile(rf"({'|'.join(_FIELDS)})(?![\w-])")


def in_window(sentence: str) -> str:
    """Return a sentence of the engine with the window's names of options."""
    return _OPTION.sub(lambda found: f"\u201c{_FIELDS[found[1]]}\u201d", sentence)


@dataclass(frozen=True)
class EvaluateRequest:
    """What *Evaluate* asks for; the engine's `EvaluateSettings` say what each of it means."""

    model: str
    data: Path
    output: Path
    shift: Mapping[str, Path] = field(default_factory=dict)
    shift_pixel_size_um: float | None = None
    baselines: tuple[Path, ...] = ()
    leave_out: str | None = None
    leave_out_model: tuple[Path, ...] = ()
    annotations: Path | None = None
    error_rate: float | None = None
    low_data: tuple[int, ...] = ()
    split: str = "test"
    limit: int | None = None
    pixel_size_um: float | None = None
    device: str = "auto"
    allow_download: bool = False

    @property
    def trains(self) -> bool:
        """Whether something is trained on the way, which stays when the evaluation is stopped."""
        copies = 0 if self.leave_out is None else 1 + len(self.baselines)
        return bool(self.low_data) or copies > len(self.leave_out_model)


def read_body(engine: Engine, path: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields a `cytodiffusion.evaluation.stored.StoredReport`."""

    def body(report: Progress) -> Iterator[Any]:
        yield engine.read_report(path)

    return body


def evaluate_body(engine: Engine, request: EvaluateRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that evaluates and yields the report."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        engine.prepare()
        from cytodiffusion.classification.settings import ClassifySettings
        from cytodiffusion.evaluation.settings import EvaluateSettings
        from cytodiffusion.settings import make_settings

        values = {f.name: getattr(request, f.name) for f in fields(request)}
        error_rate = values.pop("error_rate")
        values["classify"] = make_settings(ClassifySettings, {"error_rate": error_rate})
        yield engine.evaluate(make_settings(EvaluateSettings, values), report)

    return body


def image_body(path: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields an image of a cell as (Y, X, 3) uint8."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.image.image import open_image

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


def caption(entry: Mapping[str, Any]) -> str:
    """Lines under the picture of a cell: its class, what else it was taken for, its anomaly."""
    right = entry["label"] == entry["predicted"]
    said = "" if right else f"\u2192 {entry['predicted']} {entry['confidence']:.2f}\n"
    true = "unknown" if entry.get("p_true") is None else f"{entry['p_true']:.2f}"
    mark = " \u25b2" if entry["anomaly"] else ""
    return f"{entry['label']} {true}\n{said}anomaly {entry['anomaly_score']:.1f}{mark}"


def legend(metrics: Mapping[str, Any], group: str) -> str:
    """Say what stands under the pictures of a group of cells, such as ``anomalous``."""
    anomaly, width = metrics["anomaly"], metrics["montage"].get("window_um")
    text = (
        "True class and the probability the model gives it; \u2192 what it said instead, with its "
        "confidence; \u25b2 above the threshold"
    )
    if group == "anomalous":
        threshold = anomaly.get("threshold")
        text += "" if threshold is None else f" of {threshold:.1f}"
        if anomaly["auc"] is not None and anomaly.get("trained_for_it"):
            text += (
                f". Here all of this is what the copy says that was trained without "
                f"{anomaly['left_out']}, not the model itself, which knows that class"
            )
    wide = "" if width is None else f" Pictures are {width:.0f} \u00b5m wide."
    return f"{text}.{wide} A click opens the image as a layer."


def headline(metrics: Mapping[str, Any]) -> str:
    """Say in a line what was evaluated."""
    model, data = metrics["model"], metrics["data"]
    return (
        f"{model['name']} {model['version']}: {metrics['n']:,} cells of "
        f"{Path(data['path']).name} ({data['split']}), {str(metrics['created'])[:10]}"
    )
