"""From a path to records, whatever the layout of the data set."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cytodiffusion.errors import InputError
from cytodiffusion.image import IMAGE_SUFFIXES

from .records import SPLITS, Record
from .splits import split_by_name


def find_records(data: Path, layout: str = "auto") -> list[Record]:
    """List the images of a data set.

    Parameters
    ----------
    data : Path
        A CSV with columns ``path`` (absolute or relative to the CSV) and ``class`` (empty:
        unlabelled), optionally ``split``; or a folder with a folder per class; or a folder
        with ``train``, ``val`` and perhaps ``test`` folders of such folders.
    layout : str
        ``auto``.

    Raises
    ------
    InputError
        If there is no such file or folder, or nothing to train on in it.
    """
    if data.is_dir():
        records = _records_of_folder(data)
    elif data.is_file() and data.suffix.lower() == ".csv":
        records = _records_of_table(data)
    else:
        raise InputError(f"{data} is neither a folder of class folders nor a CSV file.")
    if not records:
        raise InputError(
            f"{data} holds no images (looked for {', '.join(sorted(IMAGE_SUFFIXES))})."
        )
    return records


def _records_of_folder(folder: Path) -> list[Record]:
    if (folder / "train").is_dir():
        parts = [(folder / split, split) for split in SPLITS if (folder / split).is_dir()]
    else:
        parts = [(folder, "")]
    records = []
    for part, split in parts:
        for class_folder in sorted(part.iterdir()):
            if not class_folder.is_dir() or class_folder.name.startswith("."):
                continue
            paths = [p for p in sorted(class_folder.rglob("*")) if _is_image(p)]
            if not paths and split in ("", "train"):
                raise InputError(f"{class_folder} holds no images; fill it or remove it.")
            records += [Record(p, class_folder.name, split or split_by_name(p.name)) for p in paths]
    return records


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _records_of_table(path: Path) -> list[Record]:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path} cannot be read as a CSV table.") from error
    missing = {"path", "class"} - set(table.columns)
    if missing:
        raise InputError(f"{path} needs the columns path and class; {sorted(missing)} is missing.")
    records = []
    for row in table.to_dict("records"):
        image = Path(row["path"])
        image = image if image.is_absolute() else path.parent / image
        split = row.get("split", "") or split_by_name(image.name)
        if split not in SPLITS:
            raise InputError(f"{path}: split {split!r} is not one of {', '.join(SPLITS)}.")
        records.append(Record(image, row["class"] or None, split))
    return records
