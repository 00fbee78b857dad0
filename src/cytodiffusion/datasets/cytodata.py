"""CytoData (BioStudies S-BSST2156; Deltadahl et al. 2025): images and a table of expert labels.

Ten classes, and for each label how sure the experts were of it. How the published table calls its
columns is not taken for granted: the usual names are looked for and it is said which were taken
(`tables.COLUMNS`). Confidences may be shares or percentages. Images lie anywhere below the folder
and are found by their names; those that no table names (the unlabelled half million) are left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from cytodiffusion.errors import InputError

from .layouts import Layout, Reading, images_below, images_by_name, split_named
from .records import Record
from .tables import Columns, find_columns, header, read_csv, records_of


def _tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".csv" and find_columns(header(path)) else []
    return [p for p in sorted(path.glob("*.csv")) if find_columns(header(p))]


def recognises(path: Path) -> bool:
    """Whether it is a folder with a table of images and labels right in it."""
    return path.is_dir() and bool(_tables(path))


def read(path: Path) -> Reading:
    """Read the images that the tables name.

    Raises
    ------
    InputError
        If there is no such table, or none of its images.
    """
    tables = _tables(path)
    if not tables:
        raise InputError(f"{path} has no CSV with a column of images and one of labels.")
    root = path if path.is_dir() else path.parent
    images = images_below(root)
    records: list[Record] = []
    notes: list[str] = []
    for table in tables:
        found, said = _read_table(table, root, images)
        records += found
        notes += said
    if not records:
        raise InputError(f"None of the images that {tables[0]} names lies below {root}.")
    unnamed = len(images) - len({r.path for r in records})
    if unnamed > 0:
        notes.append(f"{unnamed} images that no table names were left out")
    return Reading(records, notes)


def _read_table(path: Path, root: Path, images: list[Path]) -> tuple[list[Record], list[str]]:
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
    notes = [f"columns of {path.name} taken: {columns.stated()}{scale}"]
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} of {len(rows)} images of {path.name} are not there")
    return kept, notes


def _as_shares(table: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, str]:
    """Bring percentages of confidence to shares where any exceeds one."""
    if columns.confidence is None:
        return table, ""
    text = table[columns.confidence].str.strip().str.removesuffix("%").str.strip()
    values = pd.to_numeric(text, errors="coerce")
    if not (values > 1).any() or (values > 100).any():
        return table, ""
    shares = (values / 100).map(lambda v: "" if pd.isna(v) else repr(float(v)))
    kept = shares.where(values.notna(), table[columns.confidence])
    return table.assign(**{columns.confidence: kept}), " (percentages)"


CYTODATA = Layout("cytodata", "CytoData, S-BSST2156: a table of labels", recognises, read)
