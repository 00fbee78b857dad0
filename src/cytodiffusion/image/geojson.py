"""Cells as GeoJSON that QuPath opens: outlines with classes, colours and measurements.

QuPath takes the corner of the first pixel for (0, 0), so that its centre is at (0.5, 0.5). Outlines
run between the centres of the pixels of a cell and those around it: filled again, a polygon has
exactly the pixels of its cell.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.files.writers import final_names
from cytodiffusion.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

#: A closed ring: x, y of its corners in pixels, the first one again at the end.
Ring = list[list[float]]

#: Columns of the table of cells as QuPath's measurements.
MEASUREMENTS = {
    "label": "Label",
    "area_um2": "Area \u00b5m^2",
    "confidence": "Confidence",
    "entropy": "Entropy",
    "margin": "Margin",
    "anomaly_score": "Anomaly score",
    "anomaly": "Anomaly",
    "review": "For review",
    "contradiction": "Contradiction",
    "by_prior": "By the prior",
    "no_class_fits": "No class fits",
    "touches_border": "Touches border",
    "trials": "Trials",
    "finer_confidence": "Confidence of the finer class",
}

#: What is said of a cell in words, as QuPath's metadata: the other level of its class, attributes.
WORDS = {"coarse": "Coarse class", "finer": "Finer class"}

#: Label ids up to this number are looked up directly; larger ones are renumbered first.
_MOST_DIRECT = 4_000_000

#: Names of ids that do not change from one export to the next.
_NAMESPACE = uuid.UUID("6d3c9b0e-5e0b-5a7e-9a53-2f0a2f5d7c11")


class HasColour(Protocol):
    """A class with a name and a colour ``#rrggbb``."""

    @property
    def name(self) -> str:
        """Name."""

    @property
    def color(self) -> str:
        """``#rrggbb``."""


def write_geojson(
    path: str | Path,
    labels: NDArray[np.integer],
    frame: pd.DataFrame,
    classes: Sequence[HasColour],
    *,
    name: str = "",
    progress: Progress = silent,
) -> Path:
    """Write classified cells as a GeoJSON FeatureCollection for QuPath.

    Parameters
    ----------
    labels : (Y, X) integer array
        At the full size of the image; 0 is background.
    frame : DataFrame
        One row a cell with the columns of ``cells.csv``; labels it lacks are left out.
    classes : sequence
        With ``name`` and ``color``.
    name : str
        Of the image: the ids of cells of several images differ by it.
    progress : callable
        May raise ``Cancelled``.
    """
    target = Path(path)
    if target.suffix.lower() not in (".geojson", ".json"):
        raise InputError(f"The outlines are GeoJSON: {target.name} should end in .geojson.")
    with atomic_file(target) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[')
        between = "\n"
        for feature in cell_features(labels, frame, classes, name=name, progress=progress):
            file.write(between)
            json.dump(feature, file, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            between = ",\n"
        file.write("\n]}\n")
    return target


def cell_features(
    labels: NDArray[np.integer],
    frame: pd.DataFrame,
    classes: Sequence[HasColour],
    *,
    name: str = "",
    progress: Progress = silent,
) -> Iterator[dict[str, Any]]:
    """Yield the feature of each classified cell, in the order of the table."""
    colors = {c.name: [int(c.color.lstrip("#")[i : i + 2], 16) for i in (0, 2, 4)] for c in classes}
    columns = {column: said for column, said in MEASUREMENTS.items() if column in frame}
    columns |= {c: f"Probability: {c[2:]}" for c in frame.columns if c.startswith("p_")}
    measured = {column: frame[column].to_numpy(np.float64) for column in columns}
    words = {column: said for column, said in WORDS.items() if column in frame}
    words |= {c: c[5:].replace("_", " ") for c in frame.columns if c.startswith("attr_")}
    told = {column: frame[column].tolist() for column in words}
    final, ids = final_names(frame).tolist(), frame["label"].tolist()
    places = _places(np.asarray(labels))
    for row, label in enumerate(ids):
        progress(row / len(ids), f"outlined {row:,} of {len(ids):,} cells")
        place = places(int(label))
        if place is None:
            continue
        polygons = outlines(*place)
        values = {said: float(measured[column][row]) for column, said in columns.items()}
        several = len(polygons) > 1
        metadata = {said: told[column][row] for column, said in words.items() if told[column][row]}
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(_NAMESPACE, f"{name}/{label}/{polygons[0][0][0]}")),
            "geometry": {
                "type": "MultiPolygon" if several else "Polygon",
                "coordinates": polygons if several else polygons[0],
            },
            "properties": {
                "objectType": "detection",
                "classification": {
                    "name": final[row],
                    "color": colors.get(final[row], [128, 128, 128]),
                },
                "measurements": {
                    said: int(value) if value.is_integer() else float(f"{value:.7g}")
                    for said, value in values.items()
                    if np.isfinite(value)
                },
                **({"metadata": metadata} if metadata else {}),
            },
        }
    progress(1.0, f"outlined {len(ids):,} cells")


def outlines(mask: NDArray[np.bool_], top: int = 0, left: int = 0) -> list[list[Ring]]:
    """Return the pieces of a cell as polygons: the outer ring of each, then its holes.

    Pixels that touch at a corner belong to one piece.

    Parameters
    ----------
    mask : (Y, X) bool array
        At least one pixel is set.
    top, left : int
        Where the mask lies in the image.
    """
    from scipy import ndimage
    from skimage.measure import find_contours

    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    polygons = []
    for number in range(1, count + 1):
        padded = np.pad(pieces == number, 1).astype(np.float32)
        rings = [_corners(ring) for ring in find_contours(padded, 0.5, fully_connected="high")]
        rings.sort(key=_area, reverse=True)
        # the pad moves everything by one pixel, QuPath's origin by half a pixel back
        shift = np.array([left - 0.5, top - 0.5])
        polygons.append([(ring[:, ::-1] + shift).tolist() for ring in rings])
    return polygons


def _corners(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the points of a closed ring at which it goes straight on."""
    open_ring = ring[:-1]
    step = np.diff(ring, axis=0)
    before = np.roll(step, 1, axis=0)
    turns = step[:, 0] * before[:, 1] != step[:, 1] * before[:, 0]
    kept = open_ring[turns]
    return np.concatenate([kept, kept[:1]])


def _area(ring: NDArray[np.float64]) -> float:
    y, x = ring[:, 0], ring[:, 1]
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2)


def _places(labels: NDArray[np.integer]) -> Any:
    """Return a function that gives the mask of a label and where it lies, or None."""
    from scipy import ndimage

    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise InputError("Cells are outlined in a two-dimensional image of whole numbers.")
    if labels.size and int(labels.max()) > _MOST_DIRECT:
        ids, flat = np.unique(labels, return_inverse=True)
        rows = flat.reshape(labels.shape).astype(np.int32) + 1  # 0 would be left out
        row_of = {int(label): row + 1 for row, label in enumerate(ids)}
    else:
        rows, row_of = labels.astype(np.int32, copy=False), None
    boxes = ndimage.find_objects(rows)

    def place(label: int) -> tuple[NDArray[np.bool_], int, int] | None:
        row = label if row_of is None else row_of.get(label, 0)
        box = boxes[row - 1] if 0 < row <= len(boxes) else None
        if box is None:
            return None
        return rows[box] == row, box[0].start, box[1].start

    return place
