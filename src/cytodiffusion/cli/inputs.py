"""What goes into an analysis: files found, opened and checked before the work begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import check_folder


def result_folders(images: Sequence[Path], out: Path, *, several: bool) -> list[Path]:
    """Return a folder for the results of each image.

    `out` itself for one image; below it a folder of the image's name for several, numbered
    where names are alike (also where they differ in upper and lower case only).
    """
    if not several:
        return [out for _ in images]
    taken: set[str] = set()
    folders = []
    for image in images:
        stem = _stem(image)
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        folders.append(out / name)
    return folders


def check_output(path: Path, *suffixes: str, inputs: Sequence[Path] = ()) -> None:
    """Make sure, before any work, that `path` may become a result."""
    if path.suffix.lower() not in suffixes:
        *others, last = suffixes
        endings = f"{', '.join(others)} or {last}" if others else last
        raise InputError(f"{path} should end in {endings}.")
    if any(path.resolve() == source.resolve() for source in inputs):
        raise InputError(f"{path} is the input: choose another name for the result.")
    check_folder(path.parent)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file for the result.")


def _stem(path: Path) -> str:
    name = path.stem
    return name[:-4] if name.lower().endswith(".ome") else name
