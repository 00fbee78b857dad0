"""A synthetic smear as an exercise: the learner counts, then the truth is laid beside the answer.

The range of a count is the exact binomial one that Rümke (1979) tabulated for differential counts:
what a share may be, with a probability of 95 %, when so few cells were counted.
"""

from __future__ import annotations

import base64
import binascii
import csv
import difflib
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cytodiffusion.errors import InputError
from cytodiffusion.files.writers import final_names, to_json
from cytodiffusion.metrics.intervals import Interval, exact_interval
from cytodiffusion.taxonomy import READY, load_taxonomy, plain, white_classes

if TYPE_CHECKING:
    from cytodiffusion.smear.synthetic import Smear

#: File that keeps the truth from being read by accident.
HIDDEN = "truth.hidden"
#: Tables to fill in: a class for each white cell, or a number for each class.
BY_CELL, BY_CLASS = "answer-cells.csv", "answer-counts.csv"
_FORMAT = 1
#: Numbers of counted cells for which the range of a share is told.
_FEW, _MANY = 100, 400


@dataclass(frozen=True)
class ClassRow:
    """One class of the table of truth and answer.

    Attributes
    ----------
    name : str
    truth, answer : int
        Cells.
    true_share, share : float
        Of all white cells of the field, and of all that were counted; NaN of none.
    interval : (float, float)
        What the share may be by chance, as so few cells were counted (95 %, exact).
    """

    name: str
    truth: int
    answer: int
    true_share: float
    share: float
    interval: Interval

    @property
    def difference(self) -> float:
        """Answer less truth, as a share."""
        return self.share - self.true_share

    @property
    def within(self) -> bool:
        """Whether the truth is in the range of the answer."""
        return self.interval[0] <= self.true_share <= self.interval[1]


@dataclass(frozen=True)
class ExerciseResult:
    """Truth against answer.

    Attributes
    ----------
    rows : tuple of ClassRow
        White classes that occur or were answered, the most frequent first.
    wrong : tuple of (int, str, str) or None
        Label, true class and answered class of each cell that was answered wrongly; None where
        only numbers were given.
    answered : int
        Cells that were counted.
    white : int
        White cells of the field.
    """

    rows: tuple[ClassRow, ...]
    wrong: tuple[tuple[int, str, str], ...] | None
    answered: int
    white: int

    def table(self) -> pd.DataFrame:
        """Return the rows as a table, shares in percent."""
        return pd.DataFrame(
            {
                "class": [row.name for row in self.rows],
                "truth": [row.truth for row in self.rows],
                "truth_percent": [round(100 * row.true_share, 1) for row in self.rows],
                "answer": [row.answer for row in self.rows],
                "answer_percent": [round(100 * row.share, 1) for row in self.rows],
                "difference_points": [round(100 * row.difference, 1) for row in self.rows],
                "range_from": [round(100 * row.interval[0], 1) for row in self.rows],
                "range_to": [round(100 * row.interval[1], 1) for row in self.rows],
                "truth_in_range": [row.within for row in self.rows],
            }
        )

    def remarks(self) -> list[str]:
        """Return what there is to say of the answer, a sentence each."""
        said = []
        if self.answered != self.white:
            said.append(
                f"{self.answered} cells were counted; the field has {self.white} white cells."
            )
        if self.wrong is not None:
            right = self.answered - len(self.wrong)
            said.append(f"{right} of {self.answered} cells were given their true class.")
        off = [row.name for row in self.rows if not row.within]
        if off:
            said.append(
                f"More than chance explains: the truth is outside the range of {', '.join(off)}."
            )
        elif any(row.truth != row.answer for row in self.rows):
            said.append(
                "Every white cell of the field was counted: what differs was taken for another "
                "class. In a patient, chance alone could make such a difference."
                if self.answered == self.white
                else "The differences are no larger than so few counted cells allow by chance."
            )
        first = self.rows[0]
        few, many = (exact_interval(round(first.true_share * n), n) for n in (_FEW, _MANY))
        said.append(
            f"The range is that of a count of {self.answered} cells. A share of "
            f"{first.true_share:.0%} may be counted as {few[0]:.0%} to {few[1]:.0%} with {_FEW} "
            f"cells, and as {many[0]:.0%} to {many[1]:.0%} with {_MANY}."
        )
        return said

    def record(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "answered": self.answered,
            "white_cells": self.white,
            "classes": self.table().to_dict("records"),
            "wrong": None
            if self.wrong is None
            else [
                {"label": label, "truth": true, "answer": said} for label, true, said in self.wrong
            ],
            "remarks": self.remarks(),
        }


def white_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the white cells of a table of truth, from the top of the field to its bottom."""
    names = cells["class"].astype(str).tolist()
    white = cells[white_classes(names)] if names else cells
    return white.sort_values(["y", "x"]).reset_index(drop=True)


def score_cells(truth: pd.DataFrame, answers: Mapping[int, str]) -> ExerciseResult:
    """Lay the classes that were given to single cells beside the truth.

    Parameters
    ----------
    truth : DataFrame
        ``label``, ``class``, ``y`` and ``x`` of every cell.
    answers : mapping
        Class of a white cell by its label; cells that nobody named are not counted.
    """
    white = white_cells(truth)
    true = dict(zip(white["label"].astype(int), white["class"].astype(str), strict=True))
    names = list(true.values())
    given = {label: _meant(name, names) for label, name in answers.items() if label in true}
    if not given:
        raise InputError("No white cell of this exercise has been given a class yet.")
    wrong = [(label, true[label], name) for label, name in given.items() if true[label] != name]
    return _result(Counter(true.values()), Counter(given.values()), tuple(sorted(wrong)))


def score_counts(truth: pd.DataFrame, counts: Mapping[str, int]) -> ExerciseResult:
    """Lay a differential count beside the truth; ``counts`` are cells of each class."""
    true = white_cells(truth)["class"].astype(str).tolist()
    said: Counter[str] = Counter()
    for name, count in counts.items():
        meant = _meant(name, true)
        if count and not white_classes([meant])[0]:
            raise InputError(f"A differential counts white cells only, and {meant} is none.")
        said[meant] += count
    said += Counter()  # without those of which none was counted
    if not said:
        raise InputError("No cell has been counted yet.")
    return _result(Counter(true), said, None)


def _result(
    truth: Counter[str], answer: Counter[str], wrong: tuple[tuple[int, str, str], ...] | None
) -> ExerciseResult:
    white, answered = truth.total(), answer.total()
    if not white:
        raise InputError("There is no white cell on this field to count.")
    names = sorted(truth.keys() | answer.keys(), key=lambda name: (-truth[name], name))
    rows = tuple(
        ClassRow(
            name,
            truth[name],
            answer[name],
            truth[name] / white,
            answer[name] / answered,
            exact_interval(answer[name], answered),
        )
        for name in names
    )
    return ExerciseResult(rows, wrong, answered, white)


def _meant(name: str, truth: Sequence[str]) -> str:
    """Return the class that a word of a learner means; a finer class counts as the coarser one."""
    own = {plain(true): true for true in truth}
    if plain(name) in own:
        return own[plain(name)]
    taxonomy = load_taxonomy(READY[0])
    found = taxonomy.find(name)
    if found is None:
        known = [c.name for c in taxonomy.classes]
        near = difflib.get_close_matches(plain(name), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
        raise InputError(f"There is no class {name!r}: {hint}")
    return found.parent or found.name


# -- on disk --------------------------------------------------------------------------------------


def hidden_text(smear: Smear, record: Mapping[str, Any]) -> str:
    """Return the truth of a smear as text that nobody reads by accident; it is no secret."""
    content = {"format": _FORMAT, "cells": smear.cells.to_dict("records"), "record": record}
    return base64.encodebytes(zlib.compress(to_json(content).encode())).decode()


def read_truth(folder: Path) -> pd.DataFrame:
    """Return the truth of an exercise, or of a smear that was not made as one."""
    plainly, hidden = folder / "truth.csv", folder / HIDDEN
    try:
        if hidden.is_file():
            content = json.loads(zlib.decompress(base64.decodebytes(hidden.read_bytes())))
            return _checked(pd.DataFrame(content["cells"]), hidden)
        if plainly.is_file():
            return _checked(pd.read_csv(plainly), plainly)
    except (OSError, ValueError, KeyError, TypeError, binascii.Error, zlib.error) as error:
        raise InputError(f"The truth of the exercise in {folder} is damaged.") from error
    raise InputError(
        f"{folder} holds no exercise: neither {HIDDEN} nor truth.csv, which cytodiffusion smear "
        "writes."
    )


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    if not {"label", "class", "y", "x"} <= set(frame.columns):
        raise InputError(f"{path} lacks the columns label, class, y and x.")
    return frame


def blank_answers(smear: Smear) -> dict[str, pd.DataFrame]:
    """Return the tables to fill in, by their file names."""
    cells = white_cells(smear.cells)[["label", "y", "x"]].round({"y": 1, "x": 1})
    taxonomy = load_taxonomy(READY[0])
    names = [c.name for c in taxonomy.classes if not c.parent]
    white = [name for name, is_white in zip(names, white_classes(names), strict=True) if is_white]
    return {
        BY_CELL: cells.assign(**{"class": ""}),
        BY_CLASS: pd.DataFrame({"class": white, "count": 0}),
    }


def score_file(folder: Path, answer: Path) -> ExerciseResult:
    """Score a table of answers: ``class`` and ``count``, or ``label`` and ``class``.

    The table of cells of a classified smear will do as well (``label`` and ``predicted``, and
    ``human`` where a person said something).
    """
    truth = read_truth(folder)
    try:
        frame = pd.read_csv(answer, sep=None, engine="python", dtype=str, keep_default_na=False)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"The answers {answer} cannot be read: they are no table.") from error
    frame.columns = [str(name).strip().casefold() for name in frame.columns]
    columns = set(frame.columns)
    if {"class", "count"} <= columns:
        return score_counts(truth, _counts(frame, answer))
    if "label" in columns and columns & {"class", "predicted"}:
        names = frame["class"] if "class" in columns else final_names(frame)
        return score_cells(truth, _labels(frame["label"].tolist(), names.tolist(), answer))
    raise InputError(
        f"{answer.name} needs the columns class and count, or label and class: it has "
        f"{', '.join(sorted(columns)) or 'none'}."
    )


def _counts(frame: pd.DataFrame, path: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, text in zip(frame["class"], frame["count"], strict=True):
        value = str(text).strip() or "0"
        if not value.isdecimal():
            raise InputError(f"{path.name}: {text!r} is no number of cells of {name}.")
        if str(name).strip():
            counts[str(name)] = counts.get(str(name), 0) + int(value)
    return counts


def _labels(labels: Sequence[str], names: Sequence[str], path: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for label, name in zip(labels, names, strict=True):
        if not str(name).strip():
            continue
        if not str(label).strip().isdecimal():
            raise InputError(f"{path.name}: {label!r} is no number of a cell.")
        if found.get(int(label), name) != name:
            raise InputError(f"{path.name} gives the cell {label} two classes.")
        found[int(label)] = str(name)
    return found
