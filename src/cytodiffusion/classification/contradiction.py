"""Where the class of a cell contradicts what the segmentation saw of it: a nucleus, or none.

Methods that tell nuclei, red cells and platelets apart say so in `Segmentation.kinds`. A red cell
or platelet has no nucleus, so it is no lymphocyte, whatever its colours remind the classifier of:
one of the two is wrong, and a person should look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.result import Classification
from cytodiffusion.segmentation.result import PLATELET, RED
from cytodiffusion.taxonomy import READY, load_taxonomy

#: Known classes without a nucleus, or of which that cannot be said.
_NO_NUCLEUS = frozenset(
    ("red cell", "platelet", "artefact", "smudge cell", "not identifiable", "other cell")
)


@cache
def has_nucleus(name: str) -> bool:
    """Whether a class is known to be of cells with a nucleus; an unknown one is not."""
    found = [category for t in READY if (category := load_taxonomy(t).find(name)) is not None]
    return bool(found) and all(category.name not in _NO_NUCLEUS for category in found)


def mark_contradictions(
    result: Classification, ids: NDArray[np.integer], kinds: NDArray[np.uint8] | None
) -> Classification:
    """Return a classification that knows which of its cells contradict their kinds.

    Parameters
    ----------
    ids : (N,) integer
        Labels of the cells.
    kinds : (M,) uint8, optional
        `Segmentation.kinds`: what label ``i + 1`` is. Without it, and for labels beyond it, nothing
        is contradicted.
    """
    if kinds is None:
        return result
    rows = np.asarray(ids, np.int64) - 1
    known = (rows >= 0) & (rows < len(kinds))
    bare = np.zeros(len(rows), bool)
    bare[known] = np.isin(np.asarray(kinds)[rows[known]], (RED, PLATELET))
    nucleated = np.array([has_nucleus(name) for name in result.class_names])
    return replace(result, contradiction=bare & nucleated[result.predicted])


def contradiction_sentence(counts: Mapping[str, int]) -> str | None:
    """Return a sentence on the cells that contradict, by class; None without any."""
    found = sorted(((n, name) for name, n in counts.items() if n), key=lambda c: (-c[0], c[1]))
    total = sum(n for n, _ in found)
    if not total:
        return None
    cells = "cell that was" if total == 1 else "cells that were"
    classes = ", ".join(f"{n:,} {name}" for n, name in found)
    return (
        f"{total:,} {cells} outlined without a nucleus got a class of cells with one ({classes}): "
        "for review. Check them before you count."
    )
