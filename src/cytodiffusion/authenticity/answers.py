"""The answers of all participants of one or several tests as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cytodiffusion.authenticity.store import AuthenticityTest
from cytodiffusion.errors import InputError

#: Columns of the table and of ``answers.csv``.
COLUMNS = (
    "participant", "mode", "test", "trial", "cell", "synthetic", "class", "said_synthetic",
    "right", "said_class", "class_right", "seconds", "showings", "answered_at", "confidence",
    "source",
)  # fmt: skip
_QUERY = """
SELECT s.id AS sitting, s.participant, s.mode, a.position + 1 AS trial, a.cell, c.synthetic,
    c.class, a.said_synthetic, a.said_class, a.seconds, a.at AS answered_at, c.confidence, c.source,
    (SELECT count(*) FROM showings w WHERE w.sitting = s.id AND w.position = a.position) AS showings
FROM answers a JOIN sittings s ON s.id = a.sitting JOIN cells c ON c.id = a.cell
ORDER BY s.rowid, a.position
"""


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered.

    Attributes
    ----------
    table : DataFrame
        One row an answer, the columns of `COLUMNS`; ``participant`` is unique to a sitting.
    trials : dict
        Trials of each participant's test.
    asks_class : bool
        Whether any of the tests asks for the class.
    notes : tuple of str
        What there is to say, such as who has not finished.
    """

    table: pd.DataFrame
    trials: dict[str, int]
    asks_class: bool
    notes: tuple[str, ...]

    @property
    def participants(self) -> list[str]:
        """Their names, in the order of the files."""
        return list(self.trials)


def read_answers(paths: Sequence[Path], mode: str = "blind") -> Answers:
    """Read the answers in the files of tests, copies of one test or different tests."""
    parts: list[pd.DataFrame] = []
    names: dict[str, str] = {}
    trials: dict[str, int] = {}
    asks = False
    notes: list[str] = []
    for path in dict.fromkeys(Path(p).resolve() for p in paths):
        with AuthenticityTest(path, writable=False) as test:
            asks = asks or test.asks_class
            found = _table(test)
            found = found[found["mode"] == mode]
            for sitting, rows in found.groupby("sitting", sort=False):
                earlier = next(
                    (i for i, p in enumerate(parts) if p["sitting"].iat[0] == sitting), None
                )
                if earlier is None:
                    name = _unique(str(rows["participant"].iat[0]), path, set(names.values()))
                    names[str(sitting)], trials[name] = name, len(test)
                    parts.append(rows)
                elif len(rows) > len(parts[earlier]):  # another copy, made later
                    parts[earlier] = rows
    if not parts:
        listed = ", ".join(Path(p).name for p in paths)
        raise InputError(f"Nobody has answered yet in {mode} mode: {listed}.")
    table = pd.concat(parts, ignore_index=True)
    table["participant"] = table["sitting"].map(names)
    answered = table["participant"].value_counts()
    for who, n in trials.items():
        if answered[who] < n:
            notes.append(f"{who} has answered {answered[who]} of {n} trials.")
    return Answers(table[list(COLUMNS)], trials, asks, tuple(notes))


def _unique(name: str, path: Path, taken: set[str]) -> str:
    """Tell participants of the same name in different tests apart."""
    if name not in taken:
        return name
    name = f"{name} ({path.stem})"
    number, base = 1, name
    while name in taken:
        number += 1
        name = f"{base} {number}"
    return name


def _table(test: AuthenticityTest) -> pd.DataFrame:
    columns = [
        *("sitting", "participant", "mode", "trial", "cell", "synthetic", "class"),
        *("said_synthetic", "said_class", "seconds", "answered_at", "confidence", "source"),
        "showings",
    ]
    table = pd.DataFrame(test.rows(_QUERY), columns=columns)
    table["test"] = test.id
    for name in ("synthetic", "said_synthetic"):
        table[name] = table[name].astype(bool)
    table["right"] = table["synthetic"] == table["said_synthetic"]
    said = table["said_class"].notna()
    agreed = (table["said_class"] == table["class"]).astype(object)
    table["class_right"] = agreed.where(said, None)
    table["confidence"] = pd.to_numeric(table["confidence"]).astype(float)
    table["seconds"] = table["seconds"].astype(float)
    table["cell"] = table["cell"].astype(np.int64)
    return table
