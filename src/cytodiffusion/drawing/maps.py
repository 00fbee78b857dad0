"""Maps and tables that show a classification: one ``uint8`` image per question asked of the cells.

A label image has one number a cell; what is shown is one small number a *pixel* (class,
uncertainty, outline of the unusual). The numbers of all cells go into a look-up table, and
painting is ``table[labels]``: a few milliseconds a megapixel, whatever the number of cells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from cmap import Colormap
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cytodiffusion.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

#: Perceptually uniform map of the uncertainty, from sure (dark) to unsure (bright).
UNCERTAINTY_COLORMAP = "viridis"

#: Label ids up to this number index the tables directly; larger ones are renumbered first.
_MAX_DIRECT_ID = 4_000_000

#: What the outline of a cell for review is multiplied by.
REVIEW = 3

#: And that of a cell whose class a person gave.
HUMAN = 4

#: Numbers in a map of outlines.
_OUTLINED = {n * kind for kind in (1, REVIEW, HUMAN) for n in (1, 2)}

#: Names of saved maps, and of what napari makes of them: "cells class [1]", "cells class copy".
_SAVED_NAME = re.compile(
    r"(?:^|[ _])(class|uncertainty|anomalies)(?: copy)*(?: ?\[\d+\])*(?: copy)*$", re.IGNORECASE
)

#: Classes a ``uint8`` map can tell apart, 0 being "no cell or not classified yet".
MAX_CLASSES = 254


class CellMaps:
    """Class, uncertainty and outline maps of one label image, filled in as cells are classified.

    The three maps are arrays that keep their identity: `paint` writes into them, so that a viewer
    that shows them only has to redraw.

    Parameters
    ----------
    labels : (Y, X) integer
        The cells; 0 is background. Ids may have gaps and be as large as they like.
    n_classes : int
        Number of classes, at most `MAX_CLASSES`.
    outline_px : int
        Thickness in pixels of the outline drawn inside an unusual cell, at least 2.

    Attributes
    ----------
    class_map : (Y, X) uint8
        Index of the class + 1; 0 where there is no cell, or none classified so far.
    uncertainty_map : (Y, X) uint8
        1 (certain) to 255 (all classes equally likely), from the entropy; 0 as above.
    outline_map : (Y, X) uint8
        Outline of the cells that are flagged as anomalies: 2 on its outer half, 1 on its inner
        half, so that two colours make it visible on any stain; `REVIEW` times as much for other
        cells that are for review, `HUMAN` times for those that a person gave a class; else 0.
    """

    def __init__(self, labels: ArrayLike, n_classes: int, outline_px: int = 2) -> None:
        cells = np.asarray(labels)
        if cells.ndim != 2 or cells.size == 0 or cells.dtype.kind not in "iu":
            raise InputError(
                "Cells are shown from a two-dimensional image of whole numbers, "
                f"not from {cells.dtype} of shape {cells.shape}."
            )
        if not 1 <= n_classes <= MAX_CLASSES:
            raise InputError(f"Maps show 1 to {MAX_CLASSES} classes, not {n_classes}.")
        self.n_classes, self.outline_px = n_classes, outline_px
        self._rows, self._ids = _row_image(cells)
        n_rows = len(self._ids) if self._ids is not None else int(self._rows.max()) + 1
        self._predicted = np.zeros(n_rows, np.uint8)
        self._uncertainty = np.zeros(n_rows, np.uint8)
        self._anomaly = np.zeros(n_rows, bool)
        self._review = np.zeros(n_rows, bool)
        self._human = np.zeros(n_rows, bool)
        self._outlined = (True, True)
        self._shown = np.ones(n_classes + 1, bool)
        self._gaps: NDArray[np.bool_] | None = None
        self._edges = cell_edges(self._rows, (outline_px + 1) // 2)
        self._edges += cell_edges(self._rows, max(2, outline_px))
        self.class_map = np.zeros(cells.shape, np.uint8)
        self.uncertainty_map = np.zeros(cells.shape, np.uint8)
        self.outline_map = np.zeros(cells.shape, np.uint8)

    @property
    def labels(self) -> NDArray[np.integer]:
        """The label image (Y, X) as it was when the maps were made."""
        return self._rows if self._ids is None else self._ids[self._rows]

    def put(
        self,
        ids: ArrayLike,
        predicted: ArrayLike,
        entropy: ArrayLike,
        anomaly: ArrayLike,
        review: ArrayLike | None = None,
        human: ArrayLike | None = None,
    ) -> None:
        """Enter classified cells into the tables; `paint` shows them.

        Parameters
        ----------
        ids : (N,) integer
            Label ids; ids that are not in the image are ignored.
        predicted : (N,) integer
            Index of the class.
        entropy : (N,) float
            Entropy of the posterior in nats.
        anomaly : (N,) bool
            Whether the cell is flagged as an anomaly.
        review : (N,) bool, optional
            Whether it is too unsure to be accepted; none is by default.
        human : (N,) bool, optional
            Whether a person gave it a class; of none by default.
        """
        rows, known = self._rows_of(np.asarray(ids, np.int64))
        self._predicted[rows] = np.asarray(predicted)[known] + 1
        self._uncertainty[rows] = uncertainty_levels(entropy, self.n_classes)[known]
        self._anomaly[rows] = np.asarray(anomaly, bool)[known]
        self._review[rows] = False if review is None else np.asarray(review, bool)[known]
        self._human[rows] = False if human is None else np.asarray(human, bool)[known]

    def widen(self, n_classes: int) -> None:
        """Take in more classes than before, which are shown."""
        if not self.n_classes <= n_classes <= MAX_CLASSES:
            raise InputError(f"Maps show {self.n_classes} to {MAX_CLASSES} classes here.")
        self._shown = np.append(self._shown, np.ones(n_classes - self.n_classes, bool))
        self.n_classes = n_classes

    def show(self, shown: Sequence[bool]) -> None:
        """Choose which classes (K,) appear in the uncertainty and outline maps."""
        self._shown[1 : len(shown) + 1] = shown

    def outline(self, anomalies: bool, review: bool) -> None:
        """Choose which cells have an outline."""
        self._outlined = (anomalies, review)

    def separate(self, apart: bool) -> None:
        """Choose whether cells that touch have a gap of a pixel between them.

        Outlines that a viewer draws around equal numbers then go around each cell.
        """
        self._gaps = _borders(self._rows) if apart else None

    def paint(self) -> None:
        """Write the tables into the three maps. Safe to call from another thread."""
        # the class map stays whole: hidden classes are hidden by their colour, not by their absence
        np.take(self._predicted, self._rows, out=self.class_map, mode="clip")
        shown = self._shown[self._predicted]
        np.take(self._uncertainty * shown, self._rows, out=self.uncertainty_map, mode="clip")
        gaps = self._gaps
        if gaps is not None:
            for shown_map in (self.class_map, self.uncertainty_map):
                shown_map[gaps] = 0
        anomalies, review = self._outlined
        outlined = np.where(self._anomaly & anomalies, 1, REVIEW * (self._review & review))
        outlined = np.where(self._human, HUMAN, outlined) * shown
        np.take(outlined.astype(np.uint8), self._rows, out=self.outline_map, mode="clip")
        self.outline_map *= self._edges

    def _rows_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Table rows of label ids, and which of the ids are in the image at all."""
        if self._ids is None:
            known = (ids > 0) & (ids < len(self._predicted))
            return ids[known], known
        rows = np.searchsorted(self._ids, ids)
        known = (rows < len(self._ids)) & (ids > 0)
        known[known] = self._ids[rows[known]] == ids[known]
        return rows[known], known


def _row_image(
    cells: NDArray[np.integer],
) -> tuple[NDArray[np.integer], NDArray[np.int64] | None]:
    """Image of table rows, and the ids of the rows where these are not the ids themselves."""
    if int(cells.min()) >= 0 and int(cells.max()) <= _MAX_DIRECT_ID:
        # a copy: the layer may be painted on while the maps are in use
        return cells.astype(np.int32), None
    ids, rows = np.unique(np.maximum(cells, 0), return_inverse=True)
    ids = ids.astype(np.int64)
    rows = rows.reshape(cells.shape).astype(np.int32)
    if ids[0] != 0:
        ids, rows = np.concatenate([[0], ids]), rows + 1
    return rows, ids


def _borders(rows: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels of cells whose right or lower neighbour is of another cell."""
    found = np.zeros(rows.shape, bool)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        one, other = rows[here], rows[there]
        found[here] |= (one != other) & (one > 0) & (other > 0)
    return found


def cell_edges(labels: NDArray[np.integer], thickness: int = 2) -> NDArray[np.uint8]:
    """Pixels of cells within ``thickness`` of another label, the background or the image border.

    Parameters
    ----------
    labels : (Y, X) integer
        The cells; 0 is background.
    thickness : int
        Thickness in pixels, at least 1.

    Returns
    -------
    (Y, X) uint8
        1 on the inner rim of each cell, else 0.
    """
    inner = labels != 0
    padded = np.pad(labels, 1, constant_values=0)
    centre = padded[1:-1, 1:-1]
    for other in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        inner &= centre == other
    for _ in range(max(1, thickness) - 1):
        wide = np.pad(inner, 1, constant_values=False)
        inner = inner & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    edges: NDArray[np.uint8] = ((labels != 0) & ~inner).astype(np.uint8)
    return edges


def uncertainty_levels(entropy: ArrayLike, n_classes: int) -> NDArray[np.uint8]:
    """Entropies in nats as 1 (certain) to 255 (all ``n_classes`` equally likely)."""
    highest = np.log(max(n_classes, 2))
    share = np.clip(np.asarray(entropy, float) / highest, 0.0, 1.0)
    levels: NDArray[np.uint8] = (1 + np.rint(254 * np.nan_to_num(share, nan=1.0))).astype(np.uint8)
    return levels


def uncertainty_colors() -> NDArray[np.float32]:
    """Colours (256, 4) RGBA in 0..1 of the uncertainty map; row 0 (no cell) is transparent."""
    colors = np.zeros((256, 4), np.float32)
    colors[1:] = Colormap(UNCERTAINTY_COLORMAP)(np.linspace(0.0, 1.0, 255))
    return colors


def class_colors(colors: Sequence[str], shown: Sequence[bool] | None = None) -> NDArray[np.float32]:
    """Colours (K + 1, 4) RGBA in 0..1 of the class map from ``#rrggbb``; row 0 is transparent."""
    table = np.zeros((len(colors) + 1, 4), np.float32)
    for row, color in enumerate(colors, start=1):
        table[row, :3] = [int(color.lstrip("#")[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        table[row, 3] = 1.0 if shown is None or shown[row - 1] else 0.0
    return table


def kind_of_map(labels: ArrayLike, name: str) -> str | None:
    """Say what a label image with no cells in it shows, by its name and its numbers.

    Maps that were saved by a program that keeps pixels only come back as label images. Their
    numbers are classes, levels or parts of outlines, never those of cells.

    Parameters
    ----------
    labels : (Y, X) integer
    name : str
        Of the layer or file, such as ``smear cells class``.

    Returns
    -------
    str or None
        ``"class"``, ``"uncertainty"``, ``"anomalies"``; None where they are cells.
    """
    named = _SAVED_NAME.search(name)
    array = np.asarray(labels)
    if named is None or array.ndim != 2 or array.size == 0 or array.dtype.kind not in "iu":
        return None
    kind = named[1].lower()
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 255:
        return None
    counts = np.bincount(array.ravel())
    numbers = np.flatnonzero(counts)[1 if counts[0] else 0 :]
    if kind == "anomalies":
        return kind if set(numbers.tolist()) <= _OUTLINED else None
    if kind == "uncertainty" or not len(numbers):
        return kind
    pieces = ndimage.label(array > 0)[1]
    return kind if high <= MAX_CLASSES and pieces > len(numbers) else None


def features_table(frame: pd.DataFrame, max_id: int) -> pd.DataFrame:
    """Table of cells as a label layer wants it: row i describes label i, row 0 the background."""
    first = [name for name in ("predicted", "confidence", "prediction_set") if name in frame]
    rest = [name for name in frame.columns if name not in first]
    table = frame[[*first, *rest]]
    if max_id > 4 * len(frame) + 100_000:
        import pandas as pd

        background = pd.DataFrame([{"label": 0}])
        sparse = pd.concat([background, table], ignore_index=True)[table.columns]
        return _plain(sparse.assign(index=sparse["label"].astype(int)))
    table = table.set_index("label", drop=False).reindex(range(max_id + 1))
    table["label"] = np.arange(max_id + 1)
    return _plain(table.reset_index(drop=True))


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Replace what an empty row turns into (objects, NaN in text) by plain columns."""
    words = ("predicted", "prediction_set", "finer", "coarse")
    for name in map(str, table.columns):
        column = table[name]
        flags = ("anomaly", "review", "contradiction", "by_prior", "touches_border")
        if name in (*flags, "no_class_fits"):
            table[name] = column.where(column.notna(), False).astype(bool)
        elif name in words or name.startswith("attr_"):
            table[name] = column.where(column.notna(), "").astype(str)
        elif name == "trials":
            table[name] = column.fillna(0).astype(int)
    return table
