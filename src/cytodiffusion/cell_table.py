"""Where the cells of a label image are."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytodiffusion.errors import InputError


@dataclass(frozen=True, eq=False)
class CellTable:
    """Where the cells of a label image are, one row a label id, sorted by id.

    Attributes
    ----------
    ids : (N,) int64
        Label ids; gaps are allowed.
    centroids : (N, 2) float64
        y, x in pixels; the centre of the first pixel is (0, 0).
    areas_um2 : (N,) float64
    touches_border : (N,) bool
        The label has pixels in the first or last row or column of the image.
    bboxes : (N, 4) int64
        y0, x0, y1, x1 in pixels, the last two exclusive.
    """

    ids: NDArray[np.int64]
    centroids: NDArray[np.float64]
    areas_um2: NDArray[np.float64]
    touches_border: NDArray[np.bool_]
    bboxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> CellTable:
        return CellTable(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def select(self, ids: ArrayLike) -> CellTable:
        """Return the rows of `ids`, in that order; InputError for an unknown id."""
        wanted = np.atleast_1d(np.asarray(ids))
        if wanted.size == 0:
            return self[:0]
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise InputError("The ids of the cells to cut out must be a list of whole numbers.")
        where = np.minimum(np.searchsorted(self.ids, wanted), len(self) - 1)
        missing = wanted[self.ids[where] != wanted]
        if missing.size:
            raise InputError(f"There is no cell with the label {missing[0]} in the label image.")
        return self[where]
