"""Which cells are compared with which class: clicked, numbered, drawn around, or of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cytodiffusion.errors import InputError
from napari_cytodiffusion.layers.results import CellRecord, Results
from napari_cytodiffusion.layers.views import CellViews

#: Chooses the cells inside drawn shapes; those with given numbers.
SHAPES, NUMBERS = "shapes", "numbers"


@dataclass(frozen=True)
class TargetChoice:
    """One cell and the class it is compared with.

    Attributes
    ----------
    label : int
    y, x : float
        Centroid in pixels of the image.
    predicted, target : int
    """

    label: int
    y: float
    x: float
    predicted: int
    target: int


def ranking(record: CellRecord, results: Results) -> list[int]:
    """Classes other than the predicted one, the likeliest first; of a white cell white ones first.

    A red cell or an artefact says nothing that a person would ask of a white cell.
    """
    order = [int(k) for k in np.argsort(-record.posterior, kind="stable") if k != record.predicted]
    if not results.white[record.predicted]:
        return order
    return sorted(order, key=lambda k: not results.white[k])


def asked_of(record: CellRecord, results: Results, target: int | None) -> TargetChoice | None:
    """Compare a cell with a class; with the first of `ranking` where that is None or its own.

    None where the model knows one class only.
    """
    others = ranking(record, results)
    if not others:
        return None
    chosen = target if target in others else others[0]
    return TargetChoice(record.label, record.y, record.x, record.predicted, chosen)


def asked_of_many(
    results: Results, labels: Sequence[int], target: int | None, most: int
) -> list[TargetChoice]:
    """Compare cells that are not of the target class already, at most so many of them."""
    records = [record for label in labels if (record := results.record(label)) is not None]
    if not records:
        raise InputError("There is no such cell: choose others.")
    others = [record for record in records if record.predicted != target][:most]
    asked = [one for record in others if (one := asked_of(record, results, target)) is not None]
    if not asked:
        raise InputError(
            f"The chosen cells are all taken for {results.class_names[target or 0]} already: "
            "choose another target."
        )
    return asked


def parse_numbers(text: str, results: Results) -> list[int]:
    """Read numbers of cells such as ``3, 7, 12-15``."""
    found: list[int] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, _, last = part.partition("-")
        if not (first.strip().isdigit() and (last.strip() or first.strip()).isdigit()):
            raise InputError(f"'{part}' is no number of a cell: write them like 3, 7, 12-15.")
        low, high = int(first), int(last or first)
        here = [n for n in range(low, high + 1) if n in results] if high - low < 10**6 else []
        if not here:
            raise InputError(f"There is no classified cell {part}.")
        found += [n for n in here if n not in found]
    if not found:
        raise InputError("Write the numbers of the cells first, like 3, 7, 12-15.")
    return found


def inside_shapes(views: CellViews, layers: Sequence[Any], labels: Sequence[int]) -> list[int]:
    """Cells whose middle lies in a closed shape of one of the Shapes layers."""
    from matplotlib.path import Path

    records = [record for label in labels if (record := views.coarse.record(label)) is not None]
    world = [views.labels.data_to_world((record.y, record.x)) for record in records]
    inside = np.zeros(len(records), bool)
    drawn = 0
    for layer in layers:
        points = np.array([layer.world_to_data(point)[-2:] for point in world]).reshape(-1, 2)
        for corners, kind in zip(layer.data, layer.shape_type, strict=True):
            if kind in ("line", "path"):
                continue
            drawn += 1
            outline = np.asarray(corners)[:, -2:]
            if kind == "ellipse":
                inside |= _in_ellipse(points, outline)
            else:
                inside |= Path(outline).contains_points(points)
    if not drawn:
        raise InputError("Draw a shape around the cells first, in a new Shapes layer.")
    found = [record.label for record, within in zip(records, inside, strict=True) if within]
    if not found:
        raise InputError("No classified cell has its middle inside the drawn shapes.")
    return found


def _in_ellipse(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Which points (N, 2) lie in the ellipse that fills a box of four corners."""
    sides = np.stack([corners[1] - corners[0], corners[3] - corners[0]], axis=1)
    within = (points - corners.mean(axis=0)) @ np.linalg.pinv(sides).T
    return np.hypot(*within.T) <= 0.5
