"""Pictures in a terminal, of coloured characters."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment, Segments
from rich.style import Style

#: Characters of a line; each shows a pixel above another one.
WIDTH = 56


def as_characters(pixels: NDArray[np.uint8], width: int = WIDTH) -> Segments:
    """Return a picture ``(S, S, 3)`` as half blocks, two pixels a character."""
    small = cv2.resize(pixels, (width, width // 2 * 2), interpolation=cv2.INTER_AREA)
    parts: list[Segment] = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            parts.append(Segment("\u2580", style))
        parts.append(Segment.line())
    return Segments(parts)
