"""One picture of generated cells, with their classes, that says what they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cytodiffusion.drawing.legend import FAINT, INK, PAPER, font_for
from cytodiffusion.generation.cells import GeneratedCells

#: Cells in a line, and lines of a class at most.
COLUMNS, LINES = 10, 2
_GAP, _MARGIN = 4, 20
#: Frame of cells that the classifier takes for something else.
_DENIED = (213, 94, 0)


@dataclass(frozen=True)
class _Block:
    """The cells of one class that are shown, and how many there are."""

    name: str
    colour: str
    rows: NDArray[np.int64]
    made: int

    @property
    def lines(self) -> int:
        return -(-len(self.rows) // COLUMNS)


def shown(cells: GeneratedCells) -> NDArray[np.int64]:
    """Rows of the cells that the sheet has room for: the first of each class."""
    seen: Counter[str] = Counter()
    rows = []
    for row, name in enumerate(cells.classes):
        if seen[name] < COLUMNS * LINES:
            rows.append(row)
        seen[name] += 1
    return np.array(rows, np.int64)


def contact_sheet(cells: GeneratedCells, made: Counter[str] | None = None) -> NDArray[np.uint8]:
    """Draw the first cells of each class in lines, below a title that calls them synthetic.

    Returns
    -------
    (Y, X, 3) uint8
        Cells keep their pixels. Those that the classifier does not accept are framed.
    """
    made = made or Counter(cells.classes)
    blocks = _blocks(cells, made)
    side = cells.pixels.shape[1]
    size = max(13, side // 8)
    labels = max((_width(block.name, size) for block in blocks), default=0) + size + 3 * _GAP
    columns = max((min(len(block.rows), COLUMNS) for block in blocks), default=1)
    title, remark = _title(cells), _remark(cells)
    inner = max(
        labels + columns * (side + _GAP), _width(title, round(1.3 * size)), _width(remark, size)
    )
    top = _MARGIN + round(4.2 * size)
    height = top + sum(block.lines * (side + _GAP) + 2 * _GAP for block in blocks) + _MARGIN
    canvas = Image.new("RGB", (inner + 2 * _MARGIN, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    big = round(1.3 * size)
    draw.text((_MARGIN, _MARGIN), title, fill=INK, font=font_for(title, big))
    draw.text((_MARGIN, _MARGIN + 1.7 * size), remark, fill=FAINT, font=font_for(remark, size))
    y = top
    for block in blocks:
        _label(draw, block, (_MARGIN, y + side // 2), size)
        for place, row in enumerate(block.rows):
            left = _MARGIN + labels + place % COLUMNS * (side + _GAP)
            above = y + place // COLUMNS * (side + _GAP)
            canvas.paste(Image.fromarray(cells.pixels[row]), (left, above))
            if not cells.accepted[row]:
                box = (left - 2, above - 2, left + side + 1, above + side + 1)
                draw.rectangle(box, outline=_DENIED, width=2)
        y += block.lines * (side + _GAP) + 2 * _GAP
    return np.asarray(canvas)


def _blocks(cells: GeneratedCells, made: Counter[str]) -> list[_Block]:
    rows, names = shown(cells), np.array(cells.classes)
    return [
        _Block(name, cells.colors.get(name, "#808080"), rows[names[rows] == name], made[name])
        for name in dict.fromkeys(cells.classes)
    ]


def _title(cells: GeneratedCells) -> str:
    mixed = f", towards {cells.towards.text()}" if cells.towards else ""
    return f"Synthetic cells: drawn by a program, not photographs{mixed}"


def _remark(cells: GeneratedCells) -> str:
    s = cells.settings
    made = f"{cells.model.get('name', '')} {cells.model.get('version', '')}".strip()
    said = f"{made}, seed {s.seed}, guidance {s.guidance:g}, {s.steps} steps"
    if not cells.accepted.all():
        said += ", framed: not accepted by the classifier"
    return said


def _label(draw: ImageDraw.ImageDraw, block: _Block, at: tuple[int, int], size: int) -> None:
    """Draw a swatch, the name of the class, and how many cells there are of it."""
    x, y = at
    draw.rectangle((x, y - size // 2, x + size - 1, y - size // 2 + size - 1), fill=block.colour)
    left = x + size + _GAP + 2
    draw.text((left, y), block.name, fill=INK, font=font_for(block.name, size), anchor="lm")
    if block.made > len(block.rows):
        few = f"{len(block.rows)} of {block.made:,}"
        small = max(11, round(0.8 * size))
        draw.text((left, y + 1.2 * size), few, fill=FAINT, font=font_for(few, small), anchor="lm")


def _width(text: str, size: int) -> int:
    return round(font_for(text, size).getlength(text))
