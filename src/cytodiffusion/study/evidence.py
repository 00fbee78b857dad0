"""A classification as bytes: all its arrays, so that a study can go on with it later.

The format is that of safetensors, which nothing is run to read; what is no array is JSON in it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cytodiffusion.classification.result import Classification
from cytodiffusion.errors import InputError
from cytodiffusion.files.writers import to_json
from cytodiffusion.study.database import Database
from cytodiffusion.traits import Trait

#: Entries with what is no array, and with the numbers of the cells.
_REST, _CELLS = "rest", "cells"
#: What people said is in the annotations of a study, and nowhere else.
_LEFT_OUT = ("human", "observer", "human_class")

#: The runs that classified an image, the last used first, or a certain one of them.
_RUNS_OF_IMAGE = (
    "SELECT e.run FROM evidence e JOIN runs r ON r.id = e.run "
    "WHERE e.image = ? AND (? IS NULL OR r.id = ?) ORDER BY r.used DESC LIMIT 1"
)


def pack(cells: NDArray[np.int64], result: Classification) -> bytes:
    """Return a classification of cells ``(N,)`` as bytes."""
    arrays: dict[str, NDArray[Any]] = {_CELLS: np.asarray(cells, np.int64)}
    rest = _flatten(result, "", arrays)
    arrays[_REST] = np.frombuffer(to_json(rest).encode(), np.uint8)
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def unpack(content: bytes) -> tuple[NDArray[np.int64], Classification]:
    """Return the numbers of the cells and their classification; InputError for other bytes."""
    try:
        arrays = load(content)
        rest = json.loads(arrays.pop(_REST).tobytes())
        cells = arrays.pop(_CELLS)
        return cells, _restore(rest, "", arrays)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError("A classification in the study is damaged: classify again.") from error


def evidence_run(database: Database, image: int) -> int:
    """Return the run whose classification of an image is read where none is asked for."""
    return int(database.one(_RUNS_OF_IMAGE, (image, None, None)))


def read_evidence(
    database: Database, image: int, run: int | None = None
) -> tuple[NDArray[np.int64], Classification] | None:
    """Return what a run said of an image, without cells that changed since or are gone."""
    number = database.one(_RUNS_OF_IMAGE, (image, run, run))
    if number is None:
        return None
    found = database.one("SELECT arrays FROM evidence WHERE image = ? AND run = ?", (image, number))
    cells, result = unpack(found)
    rows = database.rows(
        "SELECT c.id FROM cells c JOIN predictions p ON p.cell = c.id AND p.run = ? "
        "WHERE c.image = ? AND c.gone IS NULL",
        (number, image),
    )
    there = np.isin(cells, [row[0] for row in rows])
    return cells[there], result[there]


def _flatten(result: Classification, prefix: str, arrays: dict[str, NDArray[Any]]) -> Any:
    rest: dict[str, Any] = {}
    for one in fields(result):
        value, name = getattr(result, one.name), prefix + one.name
        if one.name in _LEFT_OUT or value is None:
            continue
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, Classification):
            rest[one.name] = _flatten(value, f"{name}.", arrays)
        elif one.name == "anomaly_scores":
            arrays.update({f"{name}.{key}": scores for key, scores in value.items()})
        elif one.name == "traits":
            rest[one.name] = [asdict(trait) for trait in value]
        else:
            rest[one.name] = value
    return rest


def _restore(rest: dict[str, Any], prefix: str, arrays: dict[str, NDArray[Any]]) -> Classification:
    values: dict[str, Any] = dict(rest)
    for one in fields(Classification):
        if prefix + one.name in arrays:
            values[one.name] = arrays[prefix + one.name]
    start = f"{prefix}anomaly_scores."
    values["anomaly_scores"] = {
        name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)
    }
    values["class_names"] = tuple(rest["class_names"])
    if values.get("anomaly_threshold") is None:  # JSON has no infinity
        values["anomaly_threshold"] = float("inf")
    values["traits"] = tuple(_trait(trait) for trait in rest.get("traits", ()))
    if isinstance(coarse := rest.get("coarse"), dict):
        values["coarse"] = _restore(coarse, f"{prefix}coarse.", arrays)
    return Classification(**values)


def _trait(content: dict[str, Any]) -> Trait:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
    }
    return Trait(**values)
