"""The report folder: ``metrics.json``, ``report.html``, ``cells.csv``, ``montage.png``."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from PIL import Image as Picture

from cytodiffusion import __version__
from cytodiffusion.drawing.style import adaptive
from cytodiffusion.evaluation.figures import CONTRACT
from cytodiffusion.evaluation.montage import Montage
from cytodiffusion.evaluation.plots import all_plots
from cytodiffusion.evaluation.report_content import (
    SPLITS,
    interval,
    key_figures,
    limits_of,
    number,
    share,
    signed,
)
from cytodiffusion.files.atomic import staged_folder
from cytodiffusion.files.writers import to_json, write_cells_csv, write_png

#: Version of ``metrics.json``.
FORMAT = 1

METRICS, PAGE, CELLS, SHEET = "metrics.json", "report.html", "cells.csv", "montage.png"


@dataclass(eq=False)
class Evaluation:
    """Everything a report is written from.

    Attributes
    ----------
    metrics : dict
        What becomes ``metrics.json``.
    cells : DataFrame
        One row a cell and set.
    montage : Montage
    """

    metrics: dict[str, Any]
    cells: pd.DataFrame
    montage: Montage


def write_report(folder: Path, evaluation: Evaluation) -> Path:
    """Write all files of a report; all of them appear together or none."""
    metrics = complete(evaluation.metrics)
    page = render(metrics, evaluation.montage)
    with staged_folder(folder) as staging:
        (staging / METRICS).write_text(to_json(metrics, indent=1) + "\n", encoding="utf-8")
        (staging / PAGE).write_text(page, encoding="utf-8")
        write_cells_csv(staging / CELLS, evaluation.cells)
        write_png(staging / SHEET, evaluation.montage.sheet)
    return folder


def complete(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Order the keys, the contract first, and add the format and the limits."""
    first = {key: metrics[key] for key in (*CONTRACT, "baselines")}
    return {"format": FORMAT, **first, **metrics, "limits": limits_of(metrics)}


def render(metrics: Mapping[str, Any], montage: Montage) -> str:
    """Return the report as one HTML page that loads nothing from anywhere.

    Everything that comes from data (class names, paths) is escaped by the template engine.
    """
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "share": share,
        "number": number,
        "interval": interval,
        "signed": signed,
    }
    template = resources.files("cytodiffusion.evaluation") / "templates" / "report.html"
    plots = {name: _svg_uri(adaptive(svg)) for name, svg in all_plots(metrics).items()}
    pictures = {
        entry["tile"]: _jpeg_uri(montage, entry["tile"])
        for group in montage.groups.values()
        for entry in group
    }
    everyone = {"model": metrics, **metrics["baselines"]}
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        m=metrics,
        key_figures=key_figures(metrics),
        splits=SPLITS,
        plots=plots,
        pictures=pictures,
        everyone=everyone,
        version=__version__,
    )


def _svg_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _jpeg_uri(montage: Montage, tile: int) -> str:
    stream = io.BytesIO()
    Picture.fromarray(montage.picture(tile)).save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
