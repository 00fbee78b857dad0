"""Records of single-cell images, and what all readers share: splits, folders, images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytodiffusion.errors import InputError
from cytodiffusion.image.formats import IMAGE_SUFFIXES

#: The parts of a data set: the first trains, the second chooses and calibrates, the third reports.
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Record:
    """One single-cell image.

    Attributes
    ----------
    path : Path
    label : str or None
        Name of its class; None for an image without a label.
    split : str
        ``train``, ``val`` or ``test``.
    group : str or None
        Patient, slide or whatever else must not be in two splits.
    label_confidence : float or None
        How sure the experts were of the label, 0 to 1.
    attributes : mapping
        Anything else the data set tells, such as ``subtype`` or ``granularity``.
    laboratory : str or None
        Where it was stained and imaged.
    slide : str or None
        The slide that it is from, where that is told beside the patient.
    pixel_size_um : float or None
        Micrometres per pixel of this image, where it is told.
    centred : bool
        Whether the cell is known to be in the middle; else it is looked for.
    """

    path: Path
    label: str | None
    split: str
    group: str | None = None
    label_confidence: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    laboratory: str | None = None
    slide: str | None = None
    pixel_size_um: float | None = None
    centred: bool = False


def class_names(records: Sequence[Record]) -> list[str]:
    """Names of the classes to train on, sorted."""
    counts = Counter(r.label for r in records if r.split == "train" and r.label)
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise InputError(f"Training needs at least two classes of images; found: {found}.")
    odd = [name for name in counts if "|" in name or not name.isprintable()]
    if odd:  # prediction sets join names by it
        raise InputError(f"The class name {odd[0]!r} cannot be used: it must not contain |.")
    return sorted(counts)


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
