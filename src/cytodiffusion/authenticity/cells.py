"""A cell of a test, before and after it has become an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Window:
    """Pixels around a cell as they were found, before they are made alike.

    Attributes
    ----------
    pixels : (Y, X, 3) uint8
    pixel_size_um : float
    centre : (y, x)
        Of the cell, in pixels.
    background : (3,) float32
        Colour of the empty slide, 0 to 255.
    class_name : str
    source : str
        Where it comes from: a path, or the seed and the number of a sample.
    """

    pixels: NDArray[np.uint8]
    pixel_size_um: float
    centre: tuple[float, float]
    background: NDArray[np.float32]
    class_name: str
    source: str

    @property
    def reach_um(self) -> float:
        """Side of the largest window around the cell that lies within the image."""
        height, width = self.pixels.shape[:2]
        y, x = self.centre
        half = min(y + 0.5, x + 0.5, height - 0.5 - y, width - 0.5 - x)
        return float(2 * half * self.pixel_size_um)


@dataclass(frozen=True, eq=False)
class TestCell:
    """A cell as the file of a test keeps it.

    Attributes
    ----------
    image : bytes
        JPEG, see `presenting.present`.
    synthetic : bool
    class_name : str
    source : str
    confidence : float or None
        The model's posterior of ``class_name``: how clear the class is. None where no model was
        asked.
    """

    __test__ = False  # not a test of pytest's

    image: bytes
    synthetic: bool
    class_name: str
    source: str
    confidence: float | None = None
