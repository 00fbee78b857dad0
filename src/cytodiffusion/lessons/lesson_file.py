"""The file of a lesson: a zip with ``lesson.json``, pictures as PNG, and a text for people.

Any computer opens it without this program. The truth is in it: who opens it with other tools can
read it.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from pydantic import ValidationError

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.files.synthetic_mark import STATEMENT
from cytodiffusion.lessons.content import LessonContent
from cytodiffusion.settings import reason_of

CONTENT, README = "lesson.json", "README.txt"
#: Largest sizes in bytes when unpacked, and the longest side of a picture in pixels: more is no
#: lesson but a file made to fill the memory.
MOST_CONTENT, MOST_PICTURE, MOST_ALL, MOST_SIDE = 50_000_000, 20_000_000, 2_000_000_000, 2048
#: Zip files carry a time; the same lesson is to be the same file.
_TIME = (1980, 1, 1, 0, 0, 0)


class Lesson:
    """An opened lesson; it is in memory, and its file may go.

    Attributes
    ----------
    path : Path
    content : LessonContent
    """

    def __init__(self, path: Path, content: LessonContent, pictures: Mapping[str, bytes]) -> None:
        self.path, self.content = path, content
        self._pictures = pictures

    def __len__(self) -> int:
        """Cells that are asked."""
        return len(self.content.cells)

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Return a picture ``(S, S, 3)`` by its name in the content."""
        return _decode(self._pictures[name], name, self.path)

    def png(self, name: str) -> bytes:
        """Return the file of a picture."""
        return self._pictures[name]

    def sentence(self) -> str:
        """Say in a line what it is."""
        content = self.content
        synthetic = sum(cell.synthetic for cell in content.cells)
        kind = "synthetic cells" if synthetic == len(self) else "cells"
        some = f", {synthetic} of them synthetic" if 0 < synthetic < len(self) else ""
        return f"{len(self)} {kind} of {len(content.classes)} classes{some}"


def write_lesson(path: Path, content: LessonContent, pictures: Mapping[str, bytes]) -> None:
    """Write a lesson; the file appears whole or not at all.

    Parameters
    ----------
    pictures : mapping
        PNG files by their names in the content.
    """
    text = content.model_dump_json(by_alias=True, indent=1)
    with atomic_file(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, data in ((CONTENT, text.encode()), (README, _readme(content).encode())):
            archive.writestr(_entry(name), data, zipfile.ZIP_DEFLATED)
        for name in dict.fromkeys(content.pictures()):
            archive.writestr(_entry(name), pictures[name], zipfile.ZIP_STORED)


def open_lesson(path: str | Path) -> Lesson:
    """Open a lesson and check all of it.

    Raises
    ------
    InputError
        If it is no lesson, damaged, of a newer version of the program, or larger than any lesson.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no lesson at {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            if CONTENT not in archive.namelist():
                raise InputError(f"{path.name} is not a lesson: it has no {CONTENT}.")
            content = _content(_read(archive, CONTENT, MOST_CONTENT, path), path)
            names = list(dict.fromkeys(content.pictures()))
            missing = sorted(set(names) - set(archive.namelist()))
            if missing:
                raise InputError(f"{path.name} is damaged: the picture {missing[0]} is missing.")
            if sum(archive.getinfo(name).file_size for name in names) > MOST_ALL:
                raise InputError(f"{path.name} is larger than any lesson and was not opened.")
            pictures = {name: _read(archive, name, MOST_PICTURE, path) for name in names}
    except zipfile.BadZipFile as error:
        damaged = "File is not a zip" not in str(error)
        said = "is damaged: use a copy of it" if damaged else "is not a lesson"
        raise InputError(f"{path.name} {said}.") from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path.name} is damaged: use a copy of it.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    for name, data in pictures.items():
        _decode(data, name, path)
    return Lesson(path, content, pictures)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.external_attr = 0o644 << 16
    return entry


def _read(archive: zipfile.ZipFile, name: str, most: int, path: Path) -> bytes:
    """Read an entry, never more than its directory says and than there may be."""
    if archive.getinfo(name).file_size > most:
        raise InputError(f"{path.name} is larger than any lesson and was not opened.")
    with archive.open(name) as stream:
        return stream.read(most + 1)[:most]


def _content(data: bytes, path: Path) -> LessonContent:
    try:
        return LessonContent.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"][:1] == ("format",):
            said = f"was made by another version of cytodiffusion (format {first['input']})"
            raise InputError(f"{path.name} {said}.") from error
        if first["type"] == "json_invalid":
            raise InputError(f"{path.name} is damaged: {CONTENT} is not JSON.") from error
        where = ", ".join(str(part) for part in first["loc"])
        reason = reason_of(error)
        said = f"{where}: {reason}" if where else reason
        raise InputError(f"{path.name} is no lesson that can be used: {said}.") from error


def _decode(data: bytes, name: str, path: Path) -> NDArray[np.uint8]:
    try:
        with Picture.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if max(picture.size) > MOST_SIDE or picture.width != picture.height:
                raise ValueError("not the picture of a cell")
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        raise InputError(f"{path.name} is damaged: the picture {name} cannot be read.") from error


def _readme(content: LessonContent) -> str:
    """Say to who opens the file without this program what is in it."""
    lines = [content.title, "=" * len(content.title), ""]
    said = {
        "Author": content.author,
        "Language": content.language,
        "Licence": content.licence,
        "Images": content.attribution,
    }
    lines += [f"{key}: {text}" for key, text in said.items() if text]
    lines += ["", content.introduction] if content.introduction else []
    lines += [
        "",
        "This is a lesson on the morphology of blood cells for cytodiffusion (napari: Lesson, or "
        "cytodiffusion lesson run). Without it: pictures/ has the cells as PNG, and lesson.json "
        "says what each of them is and where that is known from.",
        f"Pictures whose entry says synthetic, and all named version: {STATEMENT}",
        "For teaching; not a medical device.",
        "",
        "Classes:",
    ]
    lines += [f"  {n}  {one.name}: {one.hint}" for n, one in enumerate(content.classes, 1)]
    return "\n".join(lines) + "\n"
