"""Small pictures of cells, cut out of their images when they are wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.cells.crops import crops_at
from cytodiffusion.image.block_reader import BlockReader
from cytodiffusion.image.image import as_source
from cytodiffusion.settings import WINDOW_UM

#: Images in memory at most, and bytes of them at most; one is kept however large it is.
KEPT, KEPT_BYTES = 8, 600_000_000


class CellPictures:
    """Cuts pictures of cells out of images, and keeps the images that were used last.

    One thread at a time uses it.

    Parameters
    ----------
    open_image : callable
        Returns the pixels of an image by its index: an array, a lazy one, or a path to a file.
    """

    def __init__(self, open_image: Callable[[int], Any]) -> None:
        self._open = open_image
        self._images: OrderedDict[int, NDArray[np.uint8] | BlockReader] = OrderedDict()

    def cut(
        self,
        image: int,
        centres: NDArray[np.float64],
        pixel_size_um: float,
        side: int,
        window_um: float = WINDOW_UM,
    ) -> NDArray[np.uint8]:
        """Return pictures ``(N, side, side, 3)`` around places of an image.

        Parameters
        ----------
        image : int
            Its index.
        centres : (N, 2) array
            y, x in pixels.
        pixel_size_um : float
        side : int
            Of a picture in pixels.
        window_um : float
            What a picture shows, in micrometres a side.

        Raises
        ------
        InputError
            If the image cannot be opened.
        """
        return crops_at(self._source(image), centres, pixel_size_um, side, window_um)

    def _source(self, image: int) -> NDArray[np.uint8] | BlockReader:
        found = self._images.pop(image, None)
        if found is None:
            opened = as_source(self._open(image))
            found = opened if isinstance(opened, np.ndarray) else BlockReader(opened)
            while self._images and (len(self._images) >= KEPT or self._bytes() > KEPT_BYTES):
                self._images.popitem(last=False)
        self._images[image] = found
        return found

    def _bytes(self) -> int:
        return sum(one.nbytes for one in self._images.values() if isinstance(one, np.ndarray))
