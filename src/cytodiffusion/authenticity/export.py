"""A result on disk: ``result.json``, tables, a figure and a page that shows them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from cytodiffusion import __version__
from cytodiffusion.authenticity.plots import save_figure, svg_figure
from cytodiffusion.authenticity.result import AuthenticityResult
from cytodiffusion.files.atomic import staged_folder
from cytodiffusion.files.writers import to_json, write_cells_csv

RESULT, ANSWERS, PARTICIPANTS, CELLS = (
    *("result.json", "answers.csv", "participants.csv", "cells.csv"),
)
FIGURE, PAGE = "figure.png", "result.html"


def save_result(folder: Path, result: AuthenticityResult) -> Path:
    """Write all files of a result; all of them appear together or none."""
    with staged_folder(folder) as staging:
        text = to_json({"version": __version__, **result.figures}, indent=1)
        (staging / RESULT).write_text(text + "\n", encoding="utf-8")
        write_cells_csv(staging / ANSWERS, result.answers)
        write_cells_csv(staging / PARTICIPANTS, participants_table(result.figures))
        write_cells_csv(staging / CELLS, result.cells)
        save_figure(staging / FIGURE, result.figures, result.answers)
        (staging / PAGE).write_text(render(result), encoding="utf-8")
    return folder


def participants_table(figures: Mapping[str, Any]) -> pd.DataFrame:
    """One row a participant, the pooled answers last: the figures that fit a table."""
    everyone = {**figures["participants"], "all answers": figures["pooled"]}
    return pd.DataFrame([{"participant": name, **_row(f)} for name, f in everyone.items()])


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"answers": found["n"], "p_chance": found["p_chance"]}
    for key in ("accuracy", "hits", "false_alarms"):
        row |= _columns(key, found[key])
    low, high = found["dprime_interval"] or (None, None)
    row |= {"dprime": found["dprime"], "dprime_low": low, "dprime_high": high}
    row["criterion"] = found["criterion"]
    agreement = found["class_agreement"] or {}
    for key in ("all", "real", "synthetic"):
        if agreement:
            row |= _columns(f"class_agreement_{key}", agreement[key])
    for key in ("all", "right", "wrong"):
        row[f"median_seconds_{key}"] = found["seconds"][key]["median"]
    return row


def _columns(key: str, share: Mapping[str, Any]) -> dict[str, Any]:
    low, high = share["interval"] or (None, None)
    return {key: share["value"], f"{key}_low": low, f"{key}_high": high}


def render(result: AuthenticityResult) -> str:
    """Return the result as one HTML page that loads nothing from anywhere; names are escaped."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"share": _share, "number": _number, "p": _p}
    template = resources.files("cytodiffusion.authenticity") / "templates" / "result.html"
    svg = svg_figure(result.figures, result.answers)
    uri = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    f = result.figures
    everyone = dict(f["participants"])
    if len(everyone) > 1:
        everyone["all answers"] = f["pooled"]
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        f=f, everyone=everyone, figure=uri, version=__version__
    )


def _share(found: Mapping[str, Any] | None) -> str:
    """Write a share with its interval."""
    if not found or found["value"] is None:
        return "\u2013"
    low, high = found["interval"]
    return f"{found['value']:.3f} ({low:.3f}\u2013{high:.3f})"


def _number(value: float | None, digits: int = 2) -> str:
    return "\u2013" if value is None else f"{value:.{digits}f}".replace("-", "\u2212")


def _p(value: float | None) -> str:
    if value is None:
        return "\u2013"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
