"""Pictures of the cells one should look at: one sheet of tiles, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.datasets import Record
from cytodiffusion.evaluation.cells import ScoredCells
from cytodiffusion.evaluation.stored import COLUMNS, tile_of
from cytodiffusion.evaluation.windows import Frames

#: Tiles of each kind.
TILES = 24


@dataclass(frozen=True, eq=False)
class Montage:
    """Tiles on one sheet.

    Attributes
    ----------
    sheet : (Y, X, 3) uint8 array
        Tiles in rows of `COLUMNS`, white where there is none.
    tile : int
        Side of a tile in pixels.
    window_um : float
        The same in micrometres.
    groups : dict
        ``hardest`` and ``anomalous``: a list of entries with the number of the ``tile`` and
        ``path``, ``label``, ``predicted``, ``confidence``, ``p_true``, ``anomaly_score``,
        ``anomaly``.
    """

    sheet: NDArray[np.uint8]
    tile: int
    window_um: float
    groups: dict[str, list[dict[str, Any]]]

    def record(self) -> dict[str, Any]:
        """Return what ``metrics.json`` says about the sheet."""
        return {
            "file": "montage.png",
            "tile": self.tile,
            "window_um": self.window_um,
            "columns": COLUMNS,
            **self.groups,
        }

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Return one tile."""
        return tile_of(self.sheet, self.tile, number)


def make_montage(
    model: Any,
    frames: Frames,
    scored: ScoredCells,
    judged: ScoredCells,
    *,
    tiles: int = TILES,
) -> Montage:
    """Show the hardest cells (least probable true class) and the most anomalous ones."""
    groups: dict[str, list[dict[str, Any]]] = {}
    chosen: list[Record] = []
    for name, part, rows in (
        ("hardest", scored, hardest(scored, tiles)),
        ("anomalous", judged, most_anomalous(judged, tiles)),
    ):
        groups[name] = []
        for row in rows:
            groups[name].append({"tile": len(chosen), **describe(part, row)})
            chosen.append(part.records[row])
    read = frames.cut(chosen, model.input_size, model.window_um)
    size = model.input_size
    height = max(1, -(-len(chosen) // COLUMNS))
    sheet = np.full((height * size, COLUMNS * size, 3), 255, np.uint8)
    position = {id(record): number for number, record in enumerate(chosen)}
    for record, pixels in zip(read.records, read.pixels, strict=True):
        tile_of(sheet, size, position[id(record)])[:] = pixels
    # the same cell may be in both groups
    for number, record in enumerate(chosen):
        if position[id(record)] != number:
            tile_of(sheet, size, number)[:] = tile_of(sheet, size, position[id(record)])
    return Montage(sheet, size, float(model.window_um), groups)


def hardest(scored: ScoredCells, tiles: int) -> list[int]:
    """Rows of the cells whose true class the classifier thinks least of, the worst first."""
    true = scored.result.posterior[np.arange(len(scored)), scored.labels]
    return [int(row) for row in np.argsort(true, kind="stable")[:tiles]]


def most_anomalous(scored: ScoredCells, tiles: int) -> list[int]:
    """Rows of the cells with the highest anomaly scores, the highest first."""
    return [int(row) for row in np.argsort(-scored.result.anomaly_score, kind="stable")[:tiles]]


def describe(scored: ScoredCells, row: int) -> dict[str, Any]:
    """Return what is known of one cell."""
    result, record, label = scored.result, scored.records[row], int(scored.labels[row])
    return {
        "path": str(record.path),
        "label": record.label,
        "predicted": result.class_names[result.predicted[row]],
        "confidence": float(result.confidence[row]),
        "p_true": float(result.posterior[row, label]) if label >= 0 else None,
        "anomaly_score": float(result.anomaly_score[row]),
        "anomaly": bool(result.anomaly[row]),
    }
