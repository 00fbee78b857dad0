"""A folder per class, below ``train``, ``val`` and ``test`` or not."""

from __future__ import annotations

from pathlib import Path

from cytodiffusion.errors import InputError

from .layouts import (
    UNLABELLED_NAMES,
    Layout,
    Reading,
    images_below,
    is_image,
    split_parts,
    subfolders,
)
from .records import Record


def read_folders(folder: Path) -> Reading:
    """Read the images of class folders; those of ``unlabelled`` have no label.

    Raises
    ------
    InputError
        If a class folder is empty, or there are images but no class folders.
    """
    records, notes, loose = [], [], 0
    for part, split in split_parts(folder):
        for class_folder in subfolders(part):
            paths = images_below(class_folder)
            label = None if class_folder.name.casefold() in UNLABELLED_NAMES else class_folder.name
            if not paths and split in ("", "train") and label:
                raise InputError(f"{class_folder} holds no images; fill it or remove it.")
            if not paths:
                notes.append(f"{class_folder} holds no images")
            records += [Record(path, label, split) for path in paths]
        loose += sum(map(is_image, part.iterdir())) if part.is_dir() else 0
    if loose and not records:
        raise InputError(
            f"{folder} holds {loose} images, but no folders of classes: put the images of each "
            "class into a folder of its name, or list all of them with their classes in a CSV."
        )
    if loose:
        notes.append(f"{loose} images that lie beside the class folders were left out")
    return Reading(records, notes)


FOLDERS = Layout("folders", "a folder per class", lambda path: path.is_dir(), read_folders)
