"""CytoData (BioStudies S-BSST2156; Deltadahl et al. 2025): images and a table of expert labels.

Ten classes, and for each label how sure the experts were of it. How the published table calls its
columns is not taken for granted: the usual names are looked for and it is said which were taken
(`tables.COLUMNS`). Confidences may be shares or percentages. Images lie anywhere below the folder
and are found by their names; those that no table names (the unlabelled half million) are left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytodiffusion.datasets.layouts import (
    UNLABELLED_NAMES,
    Layout,
    Reading,
    images_below,
    images_by_name,
    is_image,
    split_named,
    split_parts,
    subfolders,
)
from cytodiffusion.datasets.tables import Columns, find_columns, label_tables, read_csv, records_of
from cytodiffusion.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def recognises(path: Path) -> bool:
    """Whether it is a folder with a table of images and labels right in it.

    Beside folders that can be classes a table must name most of the images: else it is anybody's
    notes on some of them, and labels nothing.
    """
    tables = label_tables(path) if path.is_dir() else []
    return bool(tables) and (not _has_class_folders(path) or _name_most(tables, path))


def _has_class_folders(path: Path) -> bool:
    """Whether images lie in folders of at least two names, as classes would."""
    folders = [folder for part, _ in split_parts(path) for folder in subfolders(part)]
    names = {f.name.casefold() for f in folders if next(filter(is_image, f.rglob("*")), None)}
    return len(names - UNLABELLED_NAMES) > 1


def _name_most(tables: list[Path], root: Path) -> bool:
    images = images_below(root)
    named: set[Path] = set()
    for table in tables:
        try:
            rows = read_csv(table)
        except InputError:  # not the place to refuse it: class folders can be read without
            continue
        columns = find_columns([str(c) for c in rows.columns])
        assert columns is not None  # looked at before
        stated = [root / name for name in rows[columns.path].str.strip()]
        by_name = images_by_name(images, {image.name for image in stated})
        named |= {*stated, *by_name.values()}
    return 2 * len(named & set(images)) > len(images)


def read(path: Path) -> Reading:
    """Read the images that the tables name."""
    tables = label_tables(path)
    if not tables:
        raise InputError(f"{path} has no CSV with a column of images and one of labels.")
    root = path if path.is_dir() else path.parent
    images = images_below(root)
    reading = Reading([])
    for table in tables:
        found = _read_table(table, root, images)
        reading.records += found.records
        reading.notes += found.notes
        reading.warnings += found.warnings
    if not reading.records:
        raise InputError(f"None of the images that {tables[0]} names lies below {root}.")
    unnamed = len(images) - len({r.path for r in reading.records})
    if unnamed > 0:
        reading.warnings.append(
            f"{unnamed} images that no table names (of {len(images)}) were left out"
        )
    return reading


def _read_table(path: Path, root: Path, images: list[Path]) -> Reading:
    table = read_csv(path)
    columns = find_columns([str(c) for c in table.columns])
    assert columns is not None  # looked at before
    table, scale = _as_shares(table, columns)
    rows = records_of(table, columns, path, root)
    by_name = images_by_name(images, {r.path.name for r in rows})
    split = next((s for w in path.stem.split("_")[::-1] if (s := split_named(w))), "")
    kept = []
    for record in rows:
        image = record.path if record.path.is_file() else by_name.get(record.path.name)
        if image is not None:
            kept.append(replace(record, path=image, split=record.split or split))
    reading = Reading(kept, [f"columns of {path.name} taken: {columns.stated()}{scale}"])
    if len(kept) < len(rows):
        missing = f"{len(rows) - len(kept)} of {len(rows)} images of {path.name} are not there"
        reading.warnings.append(missing)
    return reading


def _as_shares(table: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, str]:
    """Bring percentages of confidence to shares where any exceeds one."""
    if columns.confidence is None:
        return table, ""
    text = table[columns.confidence].str.strip().str.removesuffix("%").str.strip()
    import pandas as pd

    values = pd.to_numeric(text, errors="coerce")
    if not (values > 1).any() or (values > 100).any():
        return table, ""
    shares = (values / 100).map(lambda v: "" if pd.isna(v) else repr(float(v)))
    kept = shares.where(values.notna(), table[columns.confidence])
    return table.assign(**{columns.confidence: kept}), " (percentages)"


CYTODATA = Layout("cytodata", "CytoData, S-BSST2156: a table of labels", recognises, read)
