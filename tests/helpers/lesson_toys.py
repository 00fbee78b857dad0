"""Lessons of coloured discs, made without a network."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from toys import COLORS, disc

from cytodiffusion.files.synthetic_mark import png_mark
from cytodiffusion.lessons.content import (
    Attribute,
    LessonCell,
    LessonClass,
    LessonContent,
    ReferenceCell,
    Truth,
    Version,
)
from cytodiffusion.lessons.lesson_file import write_lesson

NAMES = sorted(COLORS)
HEX = {"blue": "#4650c8", "green": "#3caa50", "red": "#c83c46"}


def png(pixels: np.ndarray, synthetic: bool = False) -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    Picture.fromarray(pixels).save(
        stream, format="PNG", pnginfo=png_mark({}) if synthetic else None
    )
    return stream.getvalue()


def disc_lesson(n: int = 6, **changes: Any) -> tuple[LessonContent, dict[str, bytes]]:
    """Content and pictures of a lesson of ``n`` discs; each could also be the next colour."""
    rng = np.random.default_rng(0)
    pictures: dict[str, bytes] = {}

    def keep(name: str, colour: str, synthetic: bool = False) -> str:
        pictures[f"pictures/{name}.png"] = png(disc(COLORS[colour], rng), synthetic)
        return f"pictures/{name}.png"

    references = tuple(
        ReferenceCell(
            picture=keep(f"reference-{number}", name),
            class_name=name,
            truth=Truth(kind="label", text="drawn by the tests"),
            synthetic=False,
        )
        for number, name in enumerate(NAMES)
    )
    cells = []
    for number in range(n):
        name, other = NAMES[number % 3], NAMES[(number + 1) % 3]
        version = Version(
            target=other,
            sentence=f"To pass as {other}: all of it {other}.",
            map=keep(f"cell-{number}-version-1-map", other, True),
            picture=keep(f"cell-{number}-version-1", other, True),
            probability=0.9,
        )
        cells.append(
            LessonCell(
                picture=keep(f"cell-{number}", name),
                class_name=name,
                truth=Truth(kind="people", text="class given by Grace"),
                synthetic=False,
                source=f"disc-{number}.png",
                hint="Look at its colour." if number == 0 else "",
                posterior={name: 0.9, other: 0.1},
                attributes={"cell_size": Attribute(value="big", probability=0.8)},
                versions=(version,),
                nearest={one: index for index, one in enumerate(NAMES)},
            )
        )
    content = LessonContent(
        id="0" * 32,
        title="Discs",
        author="Ada",
        licence="CC0",
        window_um=20.0,
        classes=tuple(
            LessonClass(name=name, color=HEX[name], hint=f"It is <{name}>.") for name in NAMES
        ),
        cells=tuple(cells),
        references=references,
        made={"settings": {"seed": 0}, "notes": []},
    )
    return content.model_copy(update=changes), pictures


def write_disc_lesson(path: Path, n: int = 6, **changes: Any) -> Path:
    """Write a lesson of discs."""
    content, pictures = disc_lesson(n, **changes)
    write_lesson(path, content, pictures)
    return path
