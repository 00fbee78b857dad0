"""What a new lesson is made of, checked before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from cytodiffusion.errors import InputError
from cytodiffusion.settings import (
    AllowDownload,
    Device,
    ModelSource,
    PixelSize,
    Seed,
    setting,
)

#: Ending of a lesson: it is a zip file, which any computer opens.
SUFFIX = ".lesson.zip"

#: A class has a key, 1 to 9.
MOST_CLASSES = 9


class LessonSettings(BaseModel):
    """What a new lesson is made of."""

    model_config = ConfigDict(frozen=True)

    source: Path | None = setting(
        None,
        "Cells from",
        "A study, a folder of images with a folder per class, a CSV, or a published data set; "
        "otherwise the model draws synthetic cells.",
    )
    output: Path = setting(
        title="File of the lesson",
        description=f"File of the new lesson, ending in {SUFFIX}; it must not exist.",
    )
    title: str = setting("", "Title", "What the lesson is called; otherwise as its file.")
    author: str = setting("", "Author", "Who made the lesson.")
    classes: tuple[str, ...] = setting(
        (),
        "Classes",
        "Classes to tell apart, at most nine; otherwise all of the source, or the white cells "
        "that the model draws.",
    )
    per_class: int = setting(
        6, "Cells per class", "Cells of each class that are asked.", unit="cells", ge=1, le=200
    )
    references: int = setting(
        2,
        "Reference cells",
        "Further cells of each class that are not asked: the most similar ones are shown with the "
        "answer.",
        unit="cells per class",
        ge=0,
        le=20,
    )
    hints: Path | None = setting(
        None,
        "Hints",
        "A CSV with the columns class (or cell, a file name), hint and perhaps attributes: what "
        "to look at, in your words.",
    )
    standard_hints: bool = setting(
        True,
        "Standard hints",
        "Give common classes that have no hint of yours a short description in English.",
        more=True,
    )
    introduction: str = setting(
        "", "Introduction", "Said before the first cell.", more=True, max_length=4000
    )
    language: str = setting(
        "en", "Language", "Language of your texts, such as en or de.", more=True, max_length=35
    )
    licence: str = setting("", "Licence", "Under which the lesson may be passed on.", more=True)
    attribution: str = setting(
        "", "Attribution", "Who is to be named for the images, and where they are from.", more=True
    )
    explain: bool = setting(
        True,
        "Explanations",
        "Compute what would make each cell another class: a picture and a sentence. Takes some "
        "seconds a cell.",
    )
    versions: int = setting(
        1,
        "Compared with",
        "How many other classes each cell is compared with, the likeliest first.",
        unit="classes",
        more=True,
        ge=1,
        le=8,
    )
    attributes: tuple[str, ...] = setting(
        (),
        "Attributes",
        "Attributes that the answer shows, such as nucleus_shape; otherwise all that the model "
        "tells.",
        more=True,
    )
    split: Literal["train", "val", "test", "all"] = setting(
        "all", "Split", "Part of labelled images: train, val, test or all.", more=True
    )
    pixel_size_um: PixelSize = None
    seed: Seed = 0
    model: ModelSource = "default"
    device: Device = "auto"
    allow_download: AllowDownload = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse files of another kind, and more classes than there are keys."""
        if not self.output.name.lower().endswith(SUFFIX):
            raise InputError(f"The file of a lesson ends in {SUFFIX}; {self.output.name} does not.")
        check_classes(self.classes, any_number=not self.classes)
        return self

    def record(self) -> dict[str, Any]:
        """Return the settings for a record, without the folders of this computer."""
        return {k: v.name if isinstance(v, Path) else v for k, v in dict(self).items()}


def check_classes(names: tuple[str, ...], *, any_number: bool = False) -> None:
    """Raise InputError where so many classes have no keys, or too few to tell apart."""
    if any_number:
        return
    if len(names) < 2:
        there = f", and there is only {names[0]}" if names else ""
        raise InputError(f"A lesson needs at least two classes to tell apart{there}.")
    if len(names) > MOST_CLASSES:
        raise InputError(
            f"A lesson tells at most {MOST_CLASSES} classes apart, one a key, and there are "
            f"{len(names)}: name those that it is about."
        )


def with_ending(path: Path) -> Path:
    """Return the path of a lesson with its ending, where it has none."""
    if path.name.lower().endswith(SUFFIX):
        return path
    name = path.name.removesuffix(".zip").removesuffix(".lesson")
    return path.with_name(name + SUFFIX) if path.suffix in ("", ".zip", ".lesson") else path
