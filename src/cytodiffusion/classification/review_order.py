"""In which order a person looks at classified cells, and which of them are small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Smaller objects (um2) are platelets and debris: a red cell has 40 to 50, a small lymphocyte 40.
SMALL_UM2 = 20.0


def review_order(
    strangeness: NDArray[np.floating],
    ids: NDArray[np.integer],
    white: NDArray[np.bool_],
    touches_border: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return the cells ``(N,)`` in the order in which a look at them is worth most.

    White cells first and the others after them, each with the strangest first. Cells that the
    border cuts come last, whatever they are: nobody can tell what a fragment is.

    Parameters
    ----------
    strangeness : (N,) array
        What to sort by, such as the entropy.
    ids : (N,) array
        Decides where all else is alike.
    """
    return np.lexsort((ids, -np.asarray(strangeness), ~white, touches_border))


def small_objects(areas_um2: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which objects ``(N,)`` are too small for a red or white cell."""
    return np.asarray(areas_um2) < SMALL_UM2
