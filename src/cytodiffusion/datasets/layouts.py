"""What the readers of the layouts share: finding class folders and images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cytodiffusion.datasets.records import SPLITS, Record
from cytodiffusion.image.image import IMAGE_SUFFIXES

#: Names of folders, and classes of tables, whose images have no label.
UNLABELLED_NAMES = {"unlabelled", "unlabeled", "_unlabelled", "_unlabeled"}
#: What people call the splits.
_SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("training",), "train"),
    **dict.fromkeys(("valid", "validation", "dev"), "val"),
    **dict.fromkeys(("testing",), "test"),
}


@dataclass
class Reading:
    """What a reader found.

    Attributes
    ----------
    records : list of Record
        With the split ``""`` where the data give none.
    notes : list of str
        How it was read.
    warnings : list of str
        What was left out.
    empty : list of Path
        Class folders without images of which something is to be learned.
    """

    records: list[Record]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """One way in which data sets lie on disk.

    Attributes
    ----------
    name : str
        As in ``--layout``.
    title : str
    recognises : callable
        Whether a path looks like it; must be quick and never raise.
    read : callable
    taxonomy : str
        Ready taxonomy that turns its labels into the project's names.
    """

    name: str
    title: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Reading]
    taxonomy: str = "peripheral-blood"


def split_named(name: str) -> str | None:
    """Return the split that a folder's or a table's word means, or None."""
    return _SPLIT_NAMES.get(name.strip().casefold())


def is_image(path: Path) -> bool:
    """Whether a path looks like an image that is not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def subfolders(folder: Path) -> list[Path]:
    """Folders right below ``folder``, sorted, hidden ones left out."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if not p.name.startswith(".") and p.is_dir())
    return sorted(found)


def images_below(folder: Path) -> list[Path]:
    """Images at any depth below ``folder``, sorted, hidden files and folders left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if is_image(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def first_image(folder: Path) -> Path | None:
    """Any image right in ``folder``, without listing all of a large one."""
    return next((p for p in folder.iterdir() if is_image(p)), None) if folder.is_dir() else None


def images_by_name(images: Iterable[Path], wanted: Iterable[str]) -> dict[str, Path]:
    """Map the wanted file names, with or without their endings, to paths; the first counts."""
    names = set(wanted)
    found: dict[str, Path] = {}
    for path in images:
        for name in (path.name, path.stem):
            if name in names:
                found.setdefault(name, path)
    return found


def split_parts(folder: Path) -> list[tuple[Path, str]]:
    """Return the folders of the splits with their names; ``(folder, "")`` when there are none."""
    inside = subfolders(folder)
    parts = [(p, split) for p in inside if (split := split_named(p.name))]
    if any(split == "train" for _, split in parts):
        return parts
    if parts and len(parts) == len(inside) and all(subfolders(p) for p in inside):
        return parts  # nothing but a test split, say
    return [(folder, "")]
