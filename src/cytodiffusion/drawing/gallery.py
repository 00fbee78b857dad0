"""A gallery: synthetic cells as tiles of one image, with the names of their classes in it.

The names, and that the cells are synthetic, are part of the pixels: they stay in whatever is saved
of the image, by whichever program.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from cytodiffusion.errors import InputError

#: Grey of the empty slide between the tiles, of what is written on it, and of the frame of a tile
#: that is marked.
PAPER, INK, MARK = 235, (40, 40, 40), (200, 40, 40)

#: More tiles than this are not shown: the image would not fit into a graphics card's texture.
MOST = 1600

_ASPECT = 1.5

_SMALLEST_FONT = 9


class Gallery:
    """Tiles in rows, grouped as the cells are ordered; a class is named where it begins.

    Parameters
    ----------
    names : sequence of str
        Class of each cell, in the order of the cells.
    colors : mapping
        Colour ``#rrggbb`` of each class.
    size : int
        Side of a cell's picture in pixels.
    headline : str
        Sentences above the tiles; the last ones are left out where there is no room.
    most : int
        With more cells, so many of them are shown, evenly spread over all.

    Attributes
    ----------
    image : (Y, X, 3) uint8
        Empty tiles at first; `put` fills them.
    labels : (Y, X) int32
        Tile i has the value i + 1, what is between tiles 0.
    shown : (M,) int64
        Number of the cell in each tile.
    """

    def __init__(
        self,
        names: Sequence[str],
        colors: Mapping[str, str],
        size: int,
        headline: str,
        most: int = MOST,
    ) -> None:
        if not names:
            raise InputError("There are no cells to show.")
        if size < 1:
            raise InputError(f"The pictures of cells must have pixels, not a side of {size}.")
        self.size = size
        self._colors = dict(colors)
        n = min(len(names), max(1, most))
        self.shown = np.linspace(0, len(names) - 1, n).round().astype(np.int64)
        self.names = [names[i] for i in self.shown]
        self._tiles = {int(number): tile for tile, number in enumerate(self.shown)}
        self._gap = max(2, size // 12)
        self._strip = max(12, round(0.19 * size))
        self.columns = columns_for(self.names, (size + self._strip) / (size + self._gap))
        self._make()
        self.title(headline)

    def _make(self) -> None:
        n, step = len(self.names), self.size + self._gap
        rows = math.ceil(n / self.columns)
        self._top = self._strip + 2 * self._gap
        height = self._top + rows * (step + self._strip)
        width = self._gap + self.columns * step
        self.image = np.full((height, width, 3), PAPER, np.uint8)
        self.labels = np.zeros((height, width), np.int32)
        for tile in range(n):
            y, x = self.corner(tile)
            self.labels[y : y + self.size, x : x + self.size] = tile + 1
        named = [t for t in range(n) if t % self.columns == 0 or self._begins(t)]
        rooms = [(self.names[tile], self._room(tile)) for tile in named]
        # one size of letters for all names
        size = min(_fitting(text, x1 - x0, self._font_size) for text, (x0, _, x1, _) in rooms)
        for tile, (text, box) in zip(named, rooms, strict=True):
            self._chip(tile)
            self._write(text, box, size)

    def title(self, headline: str) -> None:
        """Write another headline."""
        right = self.image.shape[1] - self._gap
        box = (self._gap, self._gap, right, self._gap + self._strip)
        sentences = headline.split(". ")
        font = _font(self._font_size)
        while len(sentences) > 1 and font.getlength(". ".join(sentences)) > right - self._gap:
            sentences.pop()
        text = ". ".join(sentences)
        self._write(text, box, _fitting(text, right - self._gap, self._font_size))

    def corner(self, tile: int) -> tuple[int, int]:
        """Row and column of the upper left pixel of a tile."""
        row, column = divmod(tile, self.columns)
        step = self.size + self._gap
        y = self._top + row * (step + self._strip) + self._strip
        return y, self._gap + column * step

    def put(self, numbers: ArrayLike, cells: NDArray[np.uint8]) -> None:
        """Show ``cells (n, S, S, 3)``, given their ``numbers (n,)``."""
        for number, cell in zip(np.asarray(numbers).tolist(), cells, strict=True):
            tile = self._tiles.get(number)
            if tile is not None:
                y, x = self.corner(tile)
                self.image[y : y + self.size, x : x + self.size] = cell

    def mark(self, numbers: Sequence[int]) -> None:
        """Draw a red frame around the tiles of cells, given by their numbers."""
        wide = max(1, self._gap // 3)
        for tile in (self._tiles[n] for n in map(int, numbers) if n in self._tiles):
            y, x = self.corner(tile)
            y1, x1 = y + self.size, x + self.size
            self.image[y - wide : y, x - wide : x1 + wide] = MARK
            self.image[y1 : y1 + wide, x - wide : x1 + wide] = MARK
            self.image[y:y1, x - wide : x] = MARK
            self.image[y:y1, x1 : x1 + wide] = MARK

    @property
    def _font_size(self) -> int:
        return max(_SMALLEST_FONT, round(0.68 * self._strip))

    def _begins(self, tile: int) -> bool:
        """Whether a class begins with a tile."""
        return tile == 0 or self.names[tile] != self.names[tile - 1]

    @property
    def _chip_size(self) -> int:
        return round(0.45 * self._strip)

    def _chip(self, tile: int) -> None:
        """Paint the colour of a class above a tile."""
        y, x = self.corner(tile)
        chip = self._chip_size
        top = y - self._strip + (self._strip - chip) // 2
        color = self._colors.get(self.names[tile], "#888888").lstrip("#")
        rgb = [int(color[i : i + 2], 16) for i in (0, 2, 4)]
        self.image[top : top + chip, x : x + chip] = rgb

    def _room(self, tile: int) -> tuple[int, int, int, int]:
        """Box (x0, y0, x1, y1) for the name above a tile; like ones beside it leave it more."""
        y, x = self.corner(tile)
        until = tile + 1
        while until % self.columns and until < len(self.names) and not self._begins(until):
            until += 1
        right = x + (until - tile) * (self.size + self._gap) - self._gap
        # a frame around the tile needs the lowest rows
        bottom = y - max(1, self._gap // 3)
        return x + self._chip_size + max(2, self._chip_size // 2), y - self._strip, right, bottom

    def _write(self, text: str, box: tuple[int, int, int, int], size: int) -> None:
        """Write a line into a box, cut off where it does not fit."""
        x0, y0, x1, y1 = box
        font = _font(size)
        while len(text) > 1 and font.getlength(text) > x1 - x0:
            text = f"{text.rstrip('.')[:-1]}."  # the embedded font has no ellipsis
        part = Image.new("RGB", (x1 - x0, y1 - y0), (PAPER,) * 3)
        ImageDraw.Draw(part).text((0, (y1 - y0) / 2), text, fill=INK, font=font, anchor="lm")
        self.image[y0:y1, x0:x1] = np.asarray(part)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def _fitting(text: str, width: int, size: int) -> int:
    """Return the largest size of letters, `size` at most, in which a text fits."""
    while size > _SMALLEST_FONT and _font(size).getlength(text) > width:
        size -= 1
    return size


def columns_for(names: Sequence[str], tall: float) -> int:
    """Tiles a row: a picture somewhat wider than high, in which classes begin alike if they can."""
    n = len(names)
    ideal = min(n, math.sqrt(n * _ASPECT * tall))
    runs = [i for i in range(n) if i == 0 or names[i] != names[i - 1]]
    lengths = {b - a for a, b in zip(runs, [*runs[1:], n], strict=True)}
    length = lengths.pop() if len(lengths) == 1 else 0

    def badness(columns: int) -> float:
        aligned = length and (columns % length == 0 or length % columns == 0)
        empty = (-n % columns) / n
        return abs(math.log(columns / ideal)) + empty + (0.0 if aligned else 0.3)

    return min(range(1, n + 1), key=badness)
