"""A result on disk: tables of answers, scores, confusion and cells, and a page with the cells."""

from __future__ import annotations

import base64
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from cytodiffusion import __version__
from cytodiffusion.files.atomic import staged_folder
from cytodiffusion.files.writers import write_cells_csv
from cytodiffusion.lessons.lesson_file import Lesson
from cytodiffusion.lessons.result import LessonResult

ANSWERS, SCORES, CONFUSION, CELLS = (*("answers.csv", "scores.csv", "confusion.csv", "cells.csv"),)
PAGE = "report.html"

#: Hardest cells that the page shows.
HARDEST = 24


def save_result(folder: Path, result: LessonResult) -> Path:
    """Write all files of a result; all of them appear together or none."""
    with staged_folder(folder) as staging:
        write_cells_csv(staging / ANSWERS, result.answers)
        write_cells_csv(staging / SCORES, result.scores)
        write_cells_csv(staging / CONFUSION, confusion_table(result))
        write_cells_csv(staging / CELLS, result.cells)
        (staging / PAGE).write_text(render(result), encoding="utf-8")
    return folder


def confusion_table(result: LessonResult) -> pd.DataFrame:
    """Return what cells are, a row each, and how often each class was said at first."""
    names = list(result.lesson.content.class_names)
    table = pd.DataFrame(result.confusion, columns=[f"said {name}" for name in names])
    table.insert(0, "class", names)
    return table


def render(result: LessonResult) -> str:
    """Return the result as one HTML page that loads nothing from anywhere; names are escaped."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    template = resources.files("cytodiffusion.lessons") / "templates" / "report.html"
    content = result.lesson.content
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        content=content,
        sentence=result.sentence(),
        notes=result.notes,
        scores=result.scores.to_dict("records"),
        names=content.class_names,
        confusion=result.confusion.tolist(),
        cells=_hardest(result),
        version=__version__,
    )


def _hardest(result: LessonResult) -> list[dict[str, Any]]:
    """Return the cells that were wrong most often, with their pictures."""
    found = result.cells[result.cells["wrong"] > 0].head(HARDEST)
    rows: list[dict[str, Any]] = found.to_dict("records")  # type: ignore[assignment]
    return [{**row, **_shown(result.lesson, row["cell"] - 1)} for row in rows]


def _shown(lesson: Lesson, cell: int) -> dict[str, Any]:
    one = lesson.content.cells[cell]
    return {
        "picture": _data_uri(lesson, one.picture),
        "synthetic": one.synthetic,
        "truth": one.truth.text,
        "hint": one.hint,
    }


def _data_uri(lesson: Lesson, name: str) -> str:
    return "data:image/png;base64," + base64.b64encode(lesson.png(name)).decode()
