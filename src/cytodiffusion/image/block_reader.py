"""Reading parts of images that stay on disk."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray


class BlockReader:
    """Reads rectangles of a lazy image through a cache of square blocks.

    Computing a lazy array costs milliseconds however small the part; neighbouring cells share
    blocks, so each is computed about once and at most `keep` of them are in memory.

    Parameters
    ----------
    image : (Y, X, 3) uint8
        A dask array or anything that is sliced and then turned into numpy.
    block : int
        Side of a block in pixels.
    keep : int
        Blocks in memory at most: 3 MB each at 1024 pixels.
    """

    def __init__(self, image: Any, block: int = 1024, keep: int = 64) -> None:
        self.image = image
        self.block = block
        self.keep = keep
        self._blocks: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()

    @property
    def shape(self) -> tuple[int, ...]:
        """Y, X, 3."""
        return tuple(int(n) for n in self.image.shape)

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[np.uint8]:
        rows, columns = window
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start, 3), np.uint8)
        for by in range(rows.start // self.block, (rows.stop - 1) // self.block + 1):
            for bx in range(columns.start // self.block, (columns.stop - 1) // self.block + 1):
                self._copy(out, (rows.start, columns.start), by, bx)
        return out

    def order(self, centres: NDArray[np.float64]) -> list[int]:
        """Return the order in which to read around `centres` (N, 2): block by block."""
        blocks = centres // self.block
        return [int(i) for i in np.lexsort((blocks[:, 1], blocks[:, 0]))]

    def _copy(self, out: NDArray[np.uint8], start: tuple[int, int], by: int, bx: int) -> None:
        source = self._get(by, bx)
        top, left = by * self.block - start[0], bx * self.block - start[1]
        y0, x0 = max(0, top), max(0, left)
        y1, x1 = top + source.shape[0], left + source.shape[1]
        part = source[y0 - top :, x0 - left :]
        out[y0:y1, x0:x1] = part[: out.shape[0] - y0, : out.shape[1] - x0]

    def _get(self, by: int, bx: int) -> NDArray[np.uint8]:
        found = self._blocks.pop((by, bx), None)
        if found is None:
            y, x = by * self.block, bx * self.block
            found = np.asarray(self.image[y : y + self.block, x : x + self.block])
            while len(self._blocks) >= self.keep:
                self._blocks.popitem(last=False)
        self._blocks[by, bx] = found
        return found
