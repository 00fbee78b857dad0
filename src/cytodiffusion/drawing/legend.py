"""Text, legends, colour bars and scale bars beside and on an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

RGB8 = NDArray[np.uint8]

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

INK = (28, 30, 33)

FAINT = (140, 145, 150)

PAPER = (255, 255, 255)

_SMALLEST_FONT = 12

_FALLBACK_FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "Arial.ttf", "NotoSans-Regular.ttf")


@dataclass(frozen=True)
class Row:
    """One line of a legend.

    Attributes
    ----------
    text, value
        Left- and right-aligned text.
    colour
        Of the swatch; None for a line without one.
    faint
        Whether the line is greyed out, for a class without cells.
    heading
        Whether the line is a heading, set larger.
    dashed, ringed
        Whether the swatch shows an anomaly: an outline dashed in black, or edged with it.
    """

    text: str
    value: str = ""
    colour: tuple[int, int, int] | None = None
    faint: bool = False
    heading: bool = False
    dashed: bool = False
    ringed: bool = False


@dataclass(frozen=True)
class ColourBar:
    """A vertical colour scale: `colours` (N, 3) from low to high, `ticks` (fraction, text)."""

    colours: RGB8
    ticks: Sequence[tuple[float, str]]


def font_size(shape: tuple[int, ...]) -> int:
    """Return the font size, in pixels, that suits an image of (Y, X) pixels."""
    return int(np.clip(round(math.sqrt(shape[0] * shape[1]) / 50), 15, 110))


@lru_cache(maxsize=64)
def _font(size: int, latin: bool = True) -> Font:
    if not latin:  # the embedded font knows Latin letters only
        for name in _FALLBACK_FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def font_for(text: str, size: int) -> Font:
    """Return a font that has the letters of `text`, where this machine has one."""
    return _font(size, latin=text.isascii())


def beside(image: RGB8, rows: Sequence[Row], bar: ColourBar | None = None) -> RGB8:
    """Return `image` with a panel to its right: a legend and, below it, a colour bar.

    The image keeps its pixels and stays at the top left corner; a panel that is higher than
    the image makes the picture higher.
    """
    size = font_size(image.shape)
    while size > _SMALLEST_FONT and _panel_height(rows, bar, size) > image.shape[0]:
        size -= 1
    width, height = _panel_width(rows, bar, size), _panel_height(rows, bar, size)
    canvas = Image.new("RGB", (image.shape[1] + width, max(image.shape[0], height)), PAPER)
    canvas.paste(Image.fromarray(image), (0, 0))
    draw = ImageDraw.Draw(canvas)
    left, top = image.shape[1] + size, float(size)
    for row in rows:
        _draw_row(draw, row, left, top, canvas.width - size, size)
        top += _row_height(row, size)
    if bar is not None:
        _draw_bar(canvas, draw, bar, left, round(top + 0.6 * size), size)
    return np.asarray(canvas)


def add_scale_bar(image: RGB8, um_per_pixel: float) -> RGB8:
    """Return `image` with a bar of a round number of micrometres in its lower right corner."""
    size = font_size(image.shape)
    length = nice_length(0.22 * image.shape[1] * um_per_pixel)
    pixels = max(1, round(length / um_per_pixel))
    text = f"{length:g} um"
    font = _font(size)
    pad, thickness = max(2, round(0.45 * size)), max(2, round(0.22 * size))
    inner = max(pixels, round(font.getlength(text)))
    width, height = inner + 2 * pad, round(1.15 * size) + thickness + 2 * pad
    if width + 2 * pad > image.shape[1] or height + 2 * pad > image.shape[0]:
        return image  # no room on an image this small
    canvas = Image.fromarray(image)
    x0, y0 = image.shape[1] - width - pad, image.shape[0] - height - pad
    plate = Image.new("RGB", (width, height), PAPER)
    mask = Image.new("L", (width, height), 0)
    corner = round(0.35 * size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, width - 1, height - 1), corner, fill=215)
    canvas.paste(plate, (x0, y0), mask)
    draw = ImageDraw.Draw(canvas)
    centre, bottom = x0 + width / 2, y0 + height - pad
    _draw_micrometres(draw, text, centre, y0 + pad + 0.8 * size, size)
    start = round(centre - pixels / 2)
    draw.rectangle((start, bottom - thickness, start + pixels - 1, bottom - 1), fill=INK)
    return np.asarray(canvas)


def _draw_micrometres(
    draw: ImageDraw.ImageDraw, text: str, centre: float, base: float, size: int
) -> None:
    """Draw text ending in "um" on the line `base`, the u with the stem of a micro sign.

    The embedded font has no micro sign: a u whose left stem goes below the line is one.
    """
    font = _font(size)
    draw.text((centre, base), text, fill=INK, font=font, anchor="ms")
    left = centre - font.getlength(text) / 2 + font.getlength(text[:-2])
    x0 = left + draw.textbbox((0, 0), "u", font=font, anchor="ls")[0]
    stem = max(1, round(0.085 * size))
    draw.rectangle((round(x0), base - 0.2 * size, round(x0) + stem - 1, base + 0.24 * size), INK)


def nice_length(limit: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, 50 ... (or 0.5, 0.2 ...) not beyond `limit`."""
    power = 10.0 ** math.floor(math.log10(limit))
    return next(f * power for f in (5, 2, 1) if f * power <= limit * (1 + 1e-9))


def _row_height(row: Row, size: int) -> float:
    return (2.0 if row.heading else 1.5) * size


def _panel_height(rows: Sequence[Row], bar: ColourBar | None, size: int) -> int:
    height = 2 * size + sum(_row_height(row, size) for row in rows)
    return round(height + (0 if bar is None else 13.5 * size))


def _panel_width(rows: Sequence[Row], bar: ColourBar | None, size: int) -> int:
    def length(text: str, scale: float = 1.0) -> float:
        return float(font_for(text, round(size * scale)).getlength(text))

    widths = [
        length(row.text, 1.2 if row.heading else 1.0)
        + (1.7 * size if row.colour else 0)
        + (length(row.value) + 1.6 * size if row.value else 0)
        for row in rows
    ]
    if bar is not None:
        widths += [2.6 * size + length(text) for _, text in bar.ticks]
    return round(max(widths, default=0) + 2 * size)


def _draw_row(
    draw: ImageDraw.ImageDraw, row: Row, left: float, top: float, right: float, size: int
) -> None:
    ink = FAINT if row.faint else INK
    middle = top + 0.5 * 1.55 * size
    text_left = left
    if row.colour is not None:
        side = round(1.05 * size)
        box = (left, round(middle - side / 2), left + side, round(middle + side / 2))
        _draw_swatch(draw, row, box, max(2, round(0.14 * size)))
        text_left += 1.7 * size
    scale = 1.2 if row.heading else 1.0
    font = font_for(row.text, round(size * scale))
    draw.text((text_left, middle), row.text, fill=ink, font=font, anchor="lm")
    if row.value:
        font = font_for(row.value, size)
        draw.text((right, middle), row.value, fill=ink, font=font, anchor="rm")


def _draw_swatch(
    draw: ImageDraw.ImageDraw, row: Row, box: tuple[float, float, float, float], line: int
) -> None:
    colour = row.colour or PAPER
    if row.dashed:
        _dashed_box(draw, box, colour, line)
        return
    if row.ringed:
        x0, y0, x1, y1 = box
        draw.rectangle((x0, y0, x1, y1), outline=INK, width=3 * line)
        draw.rectangle((x0 + line, y0 + line, x1 - line, y1 - line), outline=colour, width=line)
        return
    strength = 0.35 if row.faint else 1.0
    edge = tuple(round(255 + (c - 255) * strength) for c in colour)
    fill = tuple(round(255 + (c - 255) * 0.55 * strength) for c in colour)
    draw.rectangle(box, fill=fill, outline=edge, width=line)


def _dashed_box(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    colour: tuple[int, int, int],
    line: int,
) -> None:
    x0, y0, x1, y1 = box
    draw.rectangle(box, outline=colour, width=line)
    step = (x1 - x0) / 5
    for a, b in ((step, 2 * step), (3 * step, 4 * step)):
        for y in (y0, y1 - line + 1):
            draw.rectangle((x0 + a, y, x0 + b, y + line - 1), fill=INK)
        for x in (x0, x1 - line + 1):
            draw.rectangle((x, y0 + a, x + line - 1, y0 + b), fill=INK)


def _draw_bar(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    bar: ColourBar,
    left: int,
    top: int,
    size: int,
) -> None:
    width, height = round(1.5 * size), 11 * size
    steps = np.linspace(len(bar.colours) - 1, 0, height).round().astype(int)
    strip = np.repeat(bar.colours[steps][:, None], width, axis=1)
    canvas.paste(Image.fromarray(strip), (left, top))
    line = max(1, round(0.07 * size))
    draw.rectangle((left, top, left + width, top + height), outline=INK, width=line)
    for fraction, text in bar.ticks:
        y = top + (1 - fraction) * height
        draw.line((left + width, y, left + width + 0.4 * size, y), fill=INK, width=line)
        font = font_for(text, size)
        draw.text((left + width + 0.8 * size, y), text, fill=INK, font=font, anchor="lm")
