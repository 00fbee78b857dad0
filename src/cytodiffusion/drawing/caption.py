"""A caption under a picture, as part of its pixels: it stays in whatever is made of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cytodiffusion.drawing.gallery import INK, PAPER
from cytodiffusion.drawing.legend import font_for

#: Size of letters in pixels, and the smallest; height of a line in sizes of letters.
_LETTERS, _SMALLEST, _LINE = 16, 8, 1.35


def captioned(picture: NDArray[np.uint8], text: str, lines: int = 2) -> NDArray[np.uint8]:
    """Return a picture ``(Y, X, 3)`` with a caption under it.

    The strip below has room for so many ``lines``, whatever the text. A text that does not fit is
    written smaller, so that no word is cut off.
    """
    width = picture.shape[1]
    room = width - _LETTERS
    size = _LETTERS
    while size > _SMALLEST and not _fits(text, room, size, lines):
        size -= 1
    strip = Image.new("RGB", (width, round((lines + 0.5) * _LINE * _LETTERS)), (PAPER,) * 3)
    place = width / 2, strip.height / 2
    ImageDraw.Draw(strip).multiline_text(
        place,
        "\n".join(_wrapped(text, room, size)),
        fill=INK,
        font=font_for(text, size),
        anchor="mm",
        align="center",
    )
    return np.concatenate([picture, np.asarray(strip)])


def _fits(text: str, room: int, size: int, lines: int) -> bool:
    broken, font = _wrapped(text, room, size), font_for(text, size)
    return len(broken) <= lines and all(font.getlength(line) <= room for line in broken)


def _wrapped(text: str, room: int, size: int) -> list[str]:
    """Lines of a text, broken between words."""
    font, lines = font_for(text, size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
