"""Which cells of a label image were painted, deleted or added since it was looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STRIP_PIXELS = 1 << 22  # label images are compared in strips of about this many pixels


@dataclass(frozen=True)
class CellChanges:
    """Label ids, each set sorted.

    Attributes
    ----------
    changed : tuple of int
        In both label images, with other pixels.
    added : tuple of int
        In the later one only.
    removed : tuple of int
        In the earlier one only.
    """

    changed: tuple[int, ...] = ()
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.added or self.removed)

    @property
    def to_classify(self) -> tuple[int, ...]:
        """Cells that are there and whose class is not known."""
        return tuple(sorted((*self.changed, *self.added)))


def changed_cells(before: Any, after: Any) -> CellChanges:
    """Compare two states of a label image, pixel by pixel.

    Parameters
    ----------
    before, after : (Y, X) integer
        0 is background. Of images of unlike shape every cell that is in both has changed.
    """
    before, after = np.asarray(before), np.asarray(after)
    then, now = _ids(before), _ids(after)
    touched = _touched(before, after) if before.shape == after.shape else then | now
    return CellChanges(
        changed=tuple(sorted(touched & then & now)),
        added=tuple(sorted(now - then)),
        removed=tuple(sorted(then - now)),
    )


def same_cells(before: Any, after: Any, ids: Iterable[int]) -> dict[int, int]:
    """Find cells of one label image in another one, by their pixels.

    Parameters
    ----------
    before, after : (Y, X) integer
        Of one image.
    ids : iterable of int
        Cells of the first.

    Returns
    -------
    dict of int
        Cells of the second by those of the first, where they overlap by more than half of both
        together; no other cell can then.
    """
    before, after = np.asarray(before), np.asarray(after)
    wanted = sorted(set(ids))
    if before.shape != after.shape or not wanted:
        return {}
    inside = np.isin(before, wanted)
    pairs, both = np.unique(
        np.stack([before[inside], after[inside]]).astype(np.int64), axis=1, return_counts=True
    )
    sizes = dict(zip(*np.unique(before[inside], return_counts=True), strict=True))
    others = dict(zip(*np.unique(after[np.isin(after, pairs[1])], return_counts=True), strict=True))
    found = {}
    for (one, other), shared in zip(pairs.T.tolist(), both.tolist(), strict=True):
        if other and shared > (sizes[one] + others[other] - shared) / 2:
            found[one] = other
    return found


def _touched(before: NDArray[Any], after: NDArray[Any]) -> set[int]:
    """Ids with a pixel that is another one's in the other image."""
    found: set[int] = set()
    rows = max(1, _STRIP_PIXELS // max(1, before.shape[1]))
    for top in range(0, before.shape[0], rows):
        one, other = before[top : top + rows], after[top : top + rows]
        differ = one != other
        if differ.any():
            found |= _ids(one[differ]) | _ids(other[differ])
    return found


def _ids(labels: NDArray[Any]) -> set[int]:
    return set(np.unique(labels).tolist()) - {0}
