"""What came of a lesson: scores of learners, what was taken for what, which cells are hard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.lessons.answers import LessonAnswers, answers_beside
from cytodiffusion.lessons.lesson_file import Lesson
from cytodiffusion.lessons.session import confusion
from cytodiffusion.metrics.intervals import wilson_interval

_QUERY = """
SELECT s.id, s.participant, s.mode, s.started, a.position + 1, a.cell, a.said, a.correct,
    a.seconds, a.at
FROM answers a JOIN sittings s ON s.id = a.sitting ORDER BY s.rowid, a.position
"""


@dataclass(frozen=True, eq=False)
class LessonResult:
    """The answers of all learners, and what they add up to.

    Attributes
    ----------
    lesson : Lesson
    answers : DataFrame
        One row an answer: ``learner``, ``mode``, ``attempt`` (which time of this learner in this
        mode, from 1), ``trial``, ``cell`` (from 1), ``class``, ``said``, ``right``, ``first``
        (the first answer of this attempt to the cell), ``seconds`` and ``answered_at``.
    scores : DataFrame
        One row an attempt: ``right`` of ``cells`` at the first answer, ``score`` with its
        95 % interval (Wilson 1927) ``score_low`` to ``score_high``, ``answers`` in all,
        ``finished``, and the median ``seconds``.
    confusion : (K, K) int64 array
        First answers: rows are what cells are, columns what was said.
    cells : DataFrame
        One row a cell that was answered, the hardest first: ``wrong`` of ``answers`` at the first
        answer, ``difficulty``, their share, ``mostly_said``, what it was taken for most often
        when wrong, and ``answers_until_right``, their mean in practise mode.
    notes : tuple of str
    """

    lesson: Lesson
    answers: pd.DataFrame
    scores: pd.DataFrame
    confusion: NDArray[np.int64]
    cells: pd.DataFrame
    notes: tuple[str, ...]

    def sentence(self) -> str:
        """Say in a line what came of it."""
        right, n = int(self.scores["right"].sum()), int(self.scores["cells"].sum())
        learners = self.scores["learner"].nunique()
        who = "1 learner" if learners == 1 else f"{learners} learners"
        return f"{who}, {right} of {n} first answers right ({100 * right / n:.0f} %)"


def read_results(
    lesson: Lesson, paths: Sequence[Path] = (), *, mode: str | None = None
) -> LessonResult:
    """Read the answers to a lesson.

    Parameters
    ----------
    paths : sequence of Path
        Files of answers, such as those of several computers; that beside the lesson by default.
    mode : str, optional
        Only the answers of ``"practise"`` or of ``"test"``.
    """
    parts: dict[str, pd.DataFrame] = {}
    left: dict[str, bool] = {}
    for path in paths or (answers_beside(lesson.path),):
        if not path.is_file():
            raise InputError(f"Nobody has answered this lesson yet: there is no {path.name}.")
        with LessonAnswers(lesson, path, writable=False) as answers:
            finished = {s.id: answers.is_finished(s) for s in answers.sittings()}
            for sitting, rows in _table(answers).groupby("sitting", sort=False):
                known = parts.get(str(sitting))
                if known is None or len(rows) > len(known):  # another copy, made later
                    parts[str(sitting)], left[str(sitting)] = rows, finished[str(sitting)]
    some = [rows for rows in parts.values() if mode in (None, rows["mode"].iat[0])]
    if not some:
        said = "" if mode is None else f" in {mode} mode"
        raise InputError(f"Nobody has answered this lesson yet{said}.")
    table = _numbered(pd.concat(some, ignore_index=True))
    scores = _scores(table, left)
    open_ = scores[~scores["finished"]]
    notes = [
        f"{row['learner']} has not finished: {row['cells']} of {len(lesson)} cells answered."
        for row in open_.to_dict("records")
    ]
    firsts = table[table["first"]]
    pairs = list(zip(firsts["class"].astype(str), firsts["said"].astype(str), strict=True))
    return LessonResult(
        lesson,
        table.drop(columns="sitting"),
        scores,
        confusion(lesson.content.class_names, pairs),
        _cells(table, lesson),
        tuple(notes),
    )


def _table(answers: LessonAnswers) -> pd.DataFrame:
    columns = [
        *("sitting", "learner", "mode", "started", "trial", "cell", "said", "right", "seconds"),
        "answered_at",
    ]
    table = pd.DataFrame(answers.rows(_QUERY), columns=columns)
    cells = answers.lesson.content.cells
    table["right"] = table["right"].astype(bool)
    table["class"] = [cells[int(cell)].class_name for cell in table["cell"]]
    table["cell"] = table["cell"].astype(np.int64) + 1
    table["first"] = ~table.duplicated(["sitting", "cell"])
    return table


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Add which attempt of a learner each answer belongs to, and put the columns in order."""
    begun = table.drop_duplicates("sitting").sort_values("started")
    who = begun["learner"].str.casefold()
    attempt = dict(zip(begun["sitting"], begun.groupby([who, "mode"]).cumcount() + 1, strict=True))
    table["attempt"] = table["sitting"].map(attempt)
    order = ["sitting", "learner", "mode", "attempt", "trial", "cell", "class", "said", "right"]
    return table[[*order, "first", "seconds", "answered_at"]]


def _scores(table: pd.DataFrame, finished: dict[str, bool]) -> pd.DataFrame:
    rows = []
    for sitting, own in table.groupby("sitting", sort=False):
        first = own[own["first"]]
        right, n = int(first["right"].sum()), len(first)
        low, high = wilson_interval(right, n)
        rows.append(
            {
                "learner": own["learner"].iat[0],
                "mode": own["mode"].iat[0],
                "attempt": int(str(own["attempt"].iat[0])),
                "right": right,
                "cells": n,
                "score": right / n,
                "score_low": low,
                "score_high": high,
                "answers": len(own),
                "finished": finished[str(sitting)],
                "seconds": float(own["seconds"].median()),
            }
        )
    return pd.DataFrame(rows)


def _cells(table: pd.DataFrame, lesson: Lesson) -> pd.DataFrame:
    rows = []
    practised = table[table["mode"] == "practise"]
    tries = practised.groupby(["cell", "sitting"], as_index=False).agg(n=("trial", "size"))
    until = dict(tries.groupby("cell")["n"].mean().items())
    for cell, own in table[table["first"]].groupby("cell"):
        wrong = own[~own["right"]]["said"]
        number = int(str(cell))
        rows.append(
            {
                "cell": number,
                "class": own["class"].iat[0],
                "source": lesson.content.cells[number - 1].source,
                "answers": len(own),
                "wrong": len(wrong),
                "difficulty": len(wrong) / len(own),
                "mostly_said": wrong.mode().iat[0] if len(wrong) else "",
                "answers_until_right": until.get(number, float("nan")),
            }
        )
    return pd.DataFrame(rows).sort_values(
        ["difficulty", "answers", "cell"], ascending=[False, False, True], ignore_index=True
    )
