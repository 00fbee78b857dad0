"""The log of a training run: ``training.csv`` in its folder, and TensorBoard where it is wanted."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file

log = logging.getLogger(__name__)

#: Name of the file in the folder of the run.
LOG_FILE = "training.csv"

#: Columns that every row has; the parts of the loss and the validation figures follow.
FIRST = ("step", "seconds", "learning_rate")


class TrainingLog:
    """A table of a run, to which rows are appended while it trains.

    Parameters
    ----------
    folder
        Folder of the run; the table is ``training.csv`` in it.
    step
        Steps that are done already: rows of later ones, which a killed run left, are dropped.

    Raises
    ------
    InputError
        If an earlier table cannot be read or replaced. Later on a table that cannot be written,
        such as one that is open in a spreadsheet, does not end the training: rows wait.
    """

    def __init__(self, folder: Path, step: int = 0):
        self.path = folder / LOG_FILE
        text, self._columns, rows = _read(self.path)
        kept = [row for row in rows if _number(row.get("step", "")) <= step]
        self._before = _number(kept[-1].get("seconds", "")) if kept else 0.0
        self._started = time.monotonic()
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counted = 0
        self._waiting: list[dict[str, str]] = []
        if not kept:
            self._columns = []
        if self._table(kept) != text:
            self._rewrite(kept)

    def add(self, parts: Mapping[str, float]) -> None:
        """Count the parts of the loss of a step; the next row has their mean."""
        for name, value in parts.items():
            self._sums[name] += value
        self._counted += 1

    def write(
        self, step: int, learning_rate: float, validation: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Append a row with what was counted since the last one, and return its figures.

        Parameters
        ----------
        step
            Steps that are done.
        learning_rate
            That of the last of them.
        validation
            Figures on validation cells, by name, where they were measured at this step.
        """
        figures = {"learning_rate": learning_rate}
        figures |= {name: total / self._counted for name, total in self._sums.items()}
        figures |= validation or {}
        figures = {name.replace(" ", "_"): value for name, value in figures.items()}
        self._sums.clear()
        self._counted = 0
        seconds = self._before + time.monotonic() - self._started
        row = {"step": str(step), "seconds": f"{seconds:.1f}"}
        row |= {name: f"{value:.6g}" for name, value in figures.items()}
        self._waiting.append(row)
        wanted = dict.fromkeys([*FIRST, *(name for each in self._waiting for name in each)])
        missing = [name for name in wanted if name not in self._columns]
        self._columns += missing
        try:
            if missing:  # such as the first validation: the table gets a wider heading
                self._rewrite([*_read(self.path)[2], *self._waiting])
            else:
                with self.path.open("a", encoding="utf-8", newline="") as file:
                    file.write(self._text(self._waiting))
        except (OSError, InputError) as error:
            if len(self._waiting) == 1:
                log.warning("%s cannot be written now, which is tried again: %s", self.path, error)
            self._columns = self._columns[: len(self._columns) - len(missing)]
        else:
            self._waiting.clear()
        return figures

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with atomic_file(self.path) as part:
            part.write_text(self._table(rows), encoding="utf-8", newline="")

    def _table(self, rows: list[dict[str, str]]) -> str:
        heading = {name: name for name in self._columns}
        return self._text([heading, *rows]) if self._columns else ""

    def _text(self, rows: list[dict[str, str]]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._columns, restval="", lineterminator="\n").writerows(rows)
        return text.getvalue()


def _read(path: Path) -> tuple[str, list[str], list[dict[str, str]]]:
    """Text, heading and whole rows of a table; a row that a kill cut short is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "", [], []
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read; remove it to go on without it.") from error
    whole = text[: text.rfind("\n") + 1]
    heading, *lines = list(csv.reader(io.StringIO(whole))) or [[]]
    rows = [dict(zip(heading, line, strict=True)) for line in lines if len(line) == len(heading)]
    return text, heading, rows


def _number(text: str) -> float:
    """Return the number that a cell of the table holds; infinite where it holds none."""
    try:
        return float(text)
    except ValueError:
        return float("inf")


def check_tracker(tracker: str) -> None:
    """Raise InputError where the package of a tracker is missing."""
    if tracker != "tensorboard":
        return
    from accelerate.utils import is_tensorboard_available

    if not is_tensorboard_available():
        raise InputError(
            "The tracker tensorboard needs the package tensorboard: install it with pip install "
            "tensorboard, or train with tracker=none; training.csv is written in any case."
        )


def start_tracker(accelerator: Any, tracker: str, step: int) -> None:
    """Begin to log to a tracker from ``step`` on; what it has of later steps is hidden."""
    if tracker != "none":
        accelerator.init_trackers(tracker, init_kwargs={tracker: {"purge_step": step + 1}})
