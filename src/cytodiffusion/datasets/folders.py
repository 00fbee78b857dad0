"""A folder per class, below ``train``, ``val`` and ``test`` or not."""

from __future__ import annotations

from pathlib import Path

from cytodiffusion.datasets.layouts import (
    UNLABELLED_NAMES,
    Layout,
    Reading,
    Record,
    images_below,
    is_image,
    split_parts,
    subfolders,
)
from cytodiffusion.datasets.tables import label_tables
from cytodiffusion.errors import InputError


def read_folders(folder: Path) -> Reading:
    """Read the images of class folders; those of ``unlabelled`` have no label."""
    reading, loose = Reading([]), 0
    for part, split in split_parts(folder):
        for class_folder in subfolders(part):
            paths = images_below(class_folder)
            label = None if class_folder.name.casefold() in UNLABELLED_NAMES else class_folder.name
            if not paths:
                name = class_folder.relative_to(folder).as_posix()
                reading.warnings.append(f"the folder {name} holds no images")
            if not paths and label and split in ("", "train"):
                reading.empty.append(class_folder)
            reading.records += [Record(path, label, split) for path in paths]
        loose += sum(map(is_image, part.iterdir())) if part.is_dir() else 0
    if loose and not reading.records:
        raise InputError(
            f"{folder} holds {loose} images, but no folders of classes: put the images of each "
            "class into a folder of its name, or list all of them with their classes in a CSV."
        )
    if loose:
        reading.warnings.append(f"{loose} images that lie beside the class folders were left out")
    return reading


def _read_and_note(folder: Path) -> Reading:
    """Read class folders, and say which tables of labels beside them were not taken."""
    reading = read_folders(folder)
    passed_over = [table.name for table in label_tables(folder)]
    if passed_over:
        reading.notes.append(
            f"{', '.join(passed_over)} beside the class folders was not read (--layout cytodata "
            "takes labels from there)"
        )
    return reading


FOLDERS = Layout("folders", "a folder per class", lambda path: path.is_dir(), _read_and_note)
