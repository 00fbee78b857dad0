"""A folder per class, below ``train``, ``val`` and ``test`` or not."""

from __future__ import annotations

from pathlib import Path

from cytodiffusion.errors import InputError

from .layouts import UNLABELLED_NAMES, Layout, Reading, images_below, split_parts, subfolders
from .records import Record


def read_folders(folder: Path) -> Reading:
    """Read the images of class folders; those of ``unlabelled`` have no label.

    Raises
    ------
    InputError
        If a class folder is empty.
    """
    records = []
    for part, split in split_parts(folder):
        for class_folder in subfolders(part):
            paths = images_below(class_folder)
            label = None if class_folder.name.casefold() in UNLABELLED_NAMES else class_folder.name
            if not paths and split in ("", "train") and label:
                raise InputError(f"{class_folder} holds no images; fill it or remove it.")
            records += [Record(path, label, split) for path in paths]
    return Reading(records)


FOLDERS = Layout("folders", "a folder per class", lambda path: path.is_dir(), read_folders)
