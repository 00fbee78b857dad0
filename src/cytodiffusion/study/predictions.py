"""What models say of the cells of a study, one answer a model, version and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cytodiffusion.errors import InputError
from cytodiffusion.files.record import circumstances
from cytodiffusion.files.writers import to_json
from cytodiffusion.settings import WINDOW_UM
from cytodiffusion.study.classes import ModelClass, add_classes
from cytodiffusion.study.database import Database

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.classification.result import Classification
    from cytodiffusion.classification.settings import ClassifySettings

#: Columns of tables of cells that are no answer of a model: they belong to the cell, or to what
#: people say of it.
NO_ANSWERS = (
    *("image", "path", "label", "y", "x", "area_um2", "touches_border"),
    *("human", "observer", "effective", "effective_source"),
)

#: The last used run that has an answer for a cell.
CHOSEN = (
    "p.run = (SELECT q.run FROM predictions q JOIN runs r ON r.id = q.run WHERE q.cell = c.id "
    "ORDER BY r.used DESC LIMIT 1)"
)


class Model(Protocol):
    """A model of whatever kind."""

    def record(self) -> dict[str, Any]:
        """Return what a result says about the model it came from."""


@dataclass(frozen=True)
class Run:
    """A model of some version, with some settings.

    Attributes
    ----------
    id : int
    model, version, sha256 : str
    classes : tuple of str
        Names, in the order of the posterior.
    settings : dict
    used : int
        Of several answers for a cell, that with the highest counts.
    source : str
        Where the model was loaded from; empty where that was not noted.
    window_um : float
        Side of the window around a cell that the model saw.
    """

    id: int
    model: str
    version: str
    sha256: str
    classes: tuple[str, ...]
    settings: dict[str, Any]
    used: int
    source: str = ""
    window_um: float = WINDOW_UM


def run_key(model: Model, settings: ClassifySettings) -> str:
    """Return what makes two runs the same: the model's files, and settings that change numbers."""
    known = model.record()
    wanted = {name: known[name] for name in ("name", "version", "sha256")}
    values = settings.model_dump(mode="json", exclude={"batch_size"})
    text = json.dumps([wanted, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_run(database: Database, model: Model, settings: ClassifySettings) -> Run | None:
    """Return the run of a model with these settings, if there is one."""
    key = run_key(model, settings)
    number = database.one("SELECT id FROM runs WHERE key = ?", (key,))
    return next((run for run in all_runs(database) if run.id == number), None)


def all_runs(database: Database) -> list[Run]:
    """Return all runs, the last used first."""
    rows = database.rows(
        "SELECT id, model, version, sha256, classes, settings, used, made FROM runs "
        "ORDER BY used DESC"
    )
    return [_run(row) for row in rows]


def _run(row: Sequence[Any]) -> Run:
    number, model, version, sha, names, settings, used, made = row
    known = json.loads(made)
    return Run(
        *(number, model, version, sha, tuple(json.loads(names)), json.loads(settings), used),
        source=str(known.get("source") or ""),
        window_um=float(known.get("window_um") or WINDOW_UM),
    )


def use_run(database: Database, run: int) -> None:
    """Let the answers of a run count, also where a later one has others."""
    with database.transaction() as connection:
        changed = connection.execute(
            "UPDATE runs SET used = 1 + (SELECT max(used) FROM runs) WHERE id = ?", (run,)
        )
        if not changed.rowcount:
            raise InputError(f"There is no run {run} in the study {database.name}.")


def open_run(
    database: Database,
    model: Model,
    classes: Sequence[ModelClass],
    settings: ClassifySettings,
) -> int:
    """Return the number of a run, which is added where it is new; it counts from now on."""
    known = model.record()
    key = run_key(model, settings)
    with database.transaction() as connection:
        add_classes(database, classes)
        number = database.one("SELECT id FROM runs WHERE key = ?", (key,))
        if number is None:
            number = connection.execute(
                "INSERT INTO runs (key, model, version, sha256, classes, settings, made, used) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    *(key, known["name"], known["version"], known["sha256"]),
                    *(json.dumps([c.name for c in classes]), to_json(settings.model_dump())),
                    to_json(
                        {
                            **circumstances(),
                            "device": known.get("device", ""),
                            "source": known.get("source", ""),
                            "window_um": getattr(model, "window_um", WINDOW_UM),
                        }
                    ),
                ),
            ).lastrowid
        use_run(database, int(number or 0))
    return int(number or 0)


def insert_predictions(
    database: Database,
    run: int,
    image: int,
    frame: pd.DataFrame,
    result: Classification | None = None,
) -> None:
    """Add what a run says of the cells of an image, in the place of what it said before.

    Parameters
    ----------
    frame : DataFrame
        With the columns of ``cells.csv``; cells that the study does not have are an error.
    result : Classification, optional
        Of the same cells, in the order of their labels.
    """
    cells = dict(
        database.rows("SELECT label, id FROM cells WHERE image = ? AND gone IS NULL", (image,))
    )
    labels = [int(label) for label in frame["label"]]
    unknown = [label for label in labels if label not in cells]
    if unknown:
        raise InputError(f"The image has no cell {unknown[0]}, of which a model says something.")
    names = [n for n in map(str, frame.columns) if n not in (*NO_ANSWERS, "predicted")]
    columns = [frame[name].tolist() for name in names]
    details = [to_json(dict(zip(names, v, strict=True))) for v in zip(*columns, strict=True)]
    predicted = frame["predicted"].astype(str).tolist()
    numbers = [cells[label] for label in labels]
    evidence = None
    if result is not None:
        import numpy as np

        from cytodiffusion.study.evidence import pack

        evidence = pack(np.array(sorted_by(numbers, labels), np.int64), result)
    with database.transaction() as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO predictions VALUES (?, ?, ?, ?)",
            [(run, *row) for row in zip(numbers, predicted, details, strict=True)],
        )
        if evidence is not None:
            connection.execute(
                "INSERT OR REPLACE INTO evidence VALUES (?, ?, ?)", (run, image, evidence)
            )


def sorted_by(values: Sequence[int], keys: Sequence[int]) -> list[int]:
    """Return values in the order of their keys."""
    return [value for _, value in sorted(zip(keys, values, strict=True))]


def details_of(rows: Sequence[str | None]) -> list[Mapping[str, Any]]:
    """Return the columns that are kept as JSON, one dictionary a row."""
    found: list[Mapping[str, Any]] = json.loads(f"[{','.join(row or '{}' for row in rows)}]")
    return found
