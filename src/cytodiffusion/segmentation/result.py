"""The result every segmentation method returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What the pixel size of a segmentation rests on.
PIXEL_SIZE_SOURCES = ("given", "estimated", "assumed")

#: Names of the values in :attr:`Segmentation.kinds`, by value.
KIND_NAMES = ("unknown", "red", "white", "platelet")
UNKNOWN, RED, WHITE, PLATELET = range(4)


@dataclass(frozen=True)
class Segmentation:
    """Cells of one image.

    Attributes
    ----------
    labels : (Y, X) int32
        0 is background, cells are numbered 1..N without gaps.
    pixel_size_um : float
        Micrometres per pixel of ``labels``.
    pixel_size_source : str
        ``"given"`` by the caller, ``"file"``, ``"estimated"`` from the image or ``"assumed"``.
    method : str
        Name of the method, such as ``"watershed"``.
    settings : mapping
        Everything needed to repeat the segmentation, JSON serialisable.
    warnings : tuple of str
        Sentences the user should read; empty when nothing is suspicious.
    kinds : (N,) uint8 or None
        Coarse kind of label ``i + 1`` as an index into `KIND_NAMES`: a by-product of methods that
        tell nuclei, red cells and platelets apart, useful for measuring them. It is a rough guess
        and no substitute for the classifier. None where the method does not say.
    """

    labels: NDArray[np.int32]
    pixel_size_um: float
    pixel_size_source: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    kinds: NDArray[np.uint8] | None = None

    @property
    def n_cells(self) -> int:
        """Number of labels, N."""
        return int(self.labels.max(initial=0))
