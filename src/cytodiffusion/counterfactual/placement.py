"""Where a crop lies in its image, and how what was found in it comes back to the image's pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cytodiffusion.cells.crops import window_bounds
from cytodiffusion.counterfactual.heatmap import Heatmap
from cytodiffusion.errors import InputError
from cytodiffusion.image.pixels import check_pixel_size


@dataclass(frozen=True)
class Placement:
    """The window of a crop in its image.

    Attributes
    ----------
    top, left, side : float
        In pixels of the image; the first pixel reaches from 0 to 1.
    size : int
        Side of the crop in its own pixels.
    """

    top: float
    left: float
    side: float
    size: int

    @classmethod
    def of_cell(
        cls, centre: ArrayLike, pixel_size_um: float, window_um: float, size: int
    ) -> Placement:
        """Place the crop that `cytodiffusion.cells.crops` cuts around ``centre``."""
        window = max(1.0, window_um / check_pixel_size(pixel_size_um))
        return cls(*window_bounds(centre, window, size), size)

    def to_image(
        self, values: NDArray[np.floating], shape: tuple[int, int]
    ) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """Resample what belongs to a crop to the pixels of its image.

        Parameters
        ----------
        values : (S, S) array
        shape : (Y, X)
            Of the image; what lies outside it is left out.
        """
        given = np.asarray(values, np.float64)
        if given.shape != (self.size, self.size):
            raise InputError(
                f"Values of a crop of {self.size} x {self.size} pixels were expected, not of "
                f"the shape {given.shape}."
            )
        step = self.size / self.side  # crop pixels a pixel of the image
        if step > 1:  # the image is coarser: average what falls together
            given = ndimage.gaussian_filter(given, 0.5 * math.sqrt(step**2 - 1), mode="nearest")
        rows, columns = (self._pixels(*v) for v in ((self.top, shape[0]), (self.left, shape[1])))
        if not len(rows) or not len(columns):
            raise InputError("The window of the cell lies outside the image.")
        y = (rows + 0.5 - self.top) * step - 0.5
        x = (columns + 0.5 - self.left) * step - 0.5
        grid = np.meshgrid(y, x, indexing="ij")
        found = ndimage.map_coordinates(given, grid, order=1, mode="nearest")
        return found.astype(np.float32), (int(rows[0]), int(columns[0]))

    def from_image(self, values: NDArray[Any], fill: Any = 0) -> NDArray[Any]:
        """Return what an image ``(Y, X)`` of labels or masks has at the crop's pixels, ``(S, S)``.

        The nearest pixel counts; outside the image it is ``fill``.
        """
        step = self.side / self.size
        middle = (np.arange(self.size) + 0.5) * step
        y = np.floor(self.top + middle).astype(int)
        x = np.floor(self.left + middle).astype(int)
        inside_y, inside_x = (
            (index >= 0) & (index < length)
            for index, length in zip((y, x), values.shape, strict=True)
        )
        found = np.full((self.size, self.size), fill, values.dtype)
        found[np.ix_(inside_y, inside_x)] = values[np.ix_(y[inside_y], x[inside_x])]
        return found

    def paint(
        self,
        rgb: NDArray[np.uint8],
        original: NDArray[np.uint8],
        made: NDArray[np.uint8],
        keep: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """Lay what was changed in a crop over the image it was cut from, at the image's pixels.

        Pixels where nothing was changed are exactly those of the image.

        Parameters
        ----------
        rgb : (Y, X, 3) uint8
            The image.
        original, made : (S, S, 3) uint8
            The crop, and its version.
        keep : (Y, X) bool array, optional
            Pixels that stay whatever lies beside them, such as other cells.

        Returns
        -------
        pixels : (y, x, 3) uint8
            The part of the image that the crop shows.
        origin : (int, int)
            Row and column of its first pixel.
        """
        change = made.astype(np.float32) - original
        planes = [self.to_image(change[..., colour], rgb.shape[:2]) for colour in range(3)]
        moved, (top, left) = np.stack([plane for plane, _ in planes], axis=2), planes[0][1]
        here = slice(top, top + moved.shape[0]), slice(left, left + moved.shape[1])
        if keep is not None:
            moved[keep[here]] = 0
        painted = np.clip(np.rint(rgb[here] + moved), 0, 255).astype(np.uint8)
        return painted, (top, left)

    def _pixels(self, start: float, length: int) -> NDArray[np.int64]:
        """Pixels of the image whose middle is inside the window, along one axis."""
        first = max(0, math.ceil(start - 0.5))
        last = min(length, math.ceil(start + self.side - 0.5))
        return np.arange(first, max(first, last))


def heatmap_on_image(
    heatmap: Heatmap, placement: Placement, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Heatmap at the pixels of an image, see `Placement.to_image`.

    Parameters
    ----------
    placement : Placement
        Of its crop.
    shape : (Y, X)
        Of the image.
    """
    return placement.to_image(heatmap.values, shape)
