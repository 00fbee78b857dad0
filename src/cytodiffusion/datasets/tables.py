"""CSV tables of images: which column means what, and rows that make no sense.

A manifest is one table for several data sets, with the columns path, dataset, class, split;
``manifest.csv#NAME`` means the data set NAME of it. The split ``shift`` is another laboratory's
test set and is read as ``test`` when its data set is asked for by name.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytodiffusion.datasets.layouts import (
    UNLABELLED_NAMES,
    Layout,
    Reading,
    Record,
    is_image,
    split_named,
)
from cytodiffusion.errors import InputError
from cytodiffusion.image.pixels import check_pixel_size
from cytodiffusion.taxonomy import plain

if TYPE_CHECKING:
    import pandas as pd

#: What columns may be called, the most specific name first. A patient is more than a slide.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file path", "filepath", "image path", "image file", "file name", "filename",
             "file", "img name", "image name", "image", "img", "image id", "id"),
    "class": ("class", "label", "cell type", "celltype", "class name", "cell class", "consensus",
              "consensus label", "expert label", "annotation", "category", "diagnosis"),
    "split": ("split", "subset", "partition", "set"),
    "group": ("patient", "patient id", "donor", "donor id", "subject", "subject id", "case",
              "case id", "group", "slide", "slide id", "sample id", "smear"),
    "confidence": ("confidence", "label confidence", "expert confidence", "consensus confidence",
                   "annotator confidence", "certainty", "agreement"),
    "laboratory": ("laboratory", "lab", "site", "centre", "center", "institution", "hospital"),
    "slide": ("slide", "slide id", "smear"),
    "centred": ("centred", "centered"),
    "pixel size": ("pixel size um", "pixel size", "um per pixel", "microns per pixel", "mpp"),
}  # fmt: skip
_YES, _NO = {"yes", "true", "1"}, {"no", "false", "0"}
_NOT_A_NUMBER = {"nan", "na", "n/a", "null", "none", "#n/a", "<na>"}


@dataclass(frozen=True)
class Columns:
    """Names of the columns of one table; None where there is none."""

    path: str
    label: str
    split: str | None
    group: str | None
    confidence: str | None
    laboratory: str | None = None
    slide: str | None = None
    pixel_size: str | None = None
    centred: str | None = None

    def used(self) -> set[str]:
        """Return the columns that have a meaning."""
        found = (self.path, self.label, self.split, self.group, self.confidence)
        more = (self.laboratory, self.slide, self.pixel_size, self.centred)
        return {name for name in (*found, *more) if name}

    def stated(self) -> str:
        """Say which column was taken for what."""
        said = [f"path = {self.path}", f"class = {self.label}"]
        for what in (
            "split",
            "group",
            "confidence",
            "laboratory",
            "slide",
            "pixel_size",
            "centred",
        ):
            if getattr(self, what):
                said.append(f"{what.replace('_', ' ')} = {getattr(self, what)}")
        return ", ".join(said)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV as text."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path} cannot be read as a CSV table.") from error


def header(path: Path) -> list[str]:
    """Names of the columns; empty for what is not a readable CSV."""
    import pandas as pd

    try:
        return [str(c) for c in pd.read_csv(path, dtype=str, nrows=0).columns]
    except (OSError, ValueError):
        return []


def find_columns(names: Sequence[str]) -> Columns | None:
    """Find the columns by what they are called; None without images or classes."""
    by_plain = {plain(name): name for name in reversed(names)}

    def first(what: str) -> str | None:
        return next((by_plain[n] for n in COLUMNS[what] if n in by_plain), None)

    path, label = first("path"), first("class")
    if path is None or label is None or path == label:
        return None
    known = ("split", "group", "confidence", "laboratory", "slide", "pixel size", "centred")
    return Columns(path, label, *(first(what) for what in known))


def label_tables(path: Path) -> list[Path]:
    """Tables with a column of images and one of labels: right in a folder, or ``path`` itself."""
    candidates = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    return [p for p in candidates if p.suffix.lower() == ".csv" and find_columns(header(p))]


def records_of(
    table: pd.DataFrame, columns: Columns, source: Path, base: Path | None = None
) -> list[Record]:
    """Turn rows into records; paths are relative to ``base``, by default the table's folder."""
    base = base or source.parent
    extra = [c for c in table.columns if c not in columns.used()]
    records: dict[Path, Record] = {}
    for number, row in enumerate(table.to_dict("records"), start=2):
        where = f"{source}, row {number}"
        name = str(row[columns.path]).strip()
        if not name or name.casefold() in _NOT_A_NUMBER:
            raise InputError(f"{where}: there is no path.")
        image = Path(name) if Path(name).is_absolute() else base / name
        record = Record(
            image,
            _label(str(row[columns.label]), where),
            _split(str(row[columns.split]) if columns.split else "", where),
            _group(str(row[columns.group]), where) if columns.group else None,
            _confidence(str(row[columns.confidence]), where) if columns.confidence else None,
            {str(c): str(row[c]) for c in extra if row[c] != ""},
            _word(row, columns.laboratory),
            _word(row, columns.slide),
            _pixel_size(row, columns.pixel_size, where),
            _yes(row, columns.centred, where),
        )
        earlier = records.setdefault(image, record)
        if (earlier.label, earlier.split) != (record.label, record.split):
            raise InputError(
                f"{where}: {name} stands in the table twice, with different classes or splits; "
                "remove one of the rows."
            )
    return list(records.values())


def _label(text: str, where: str) -> str | None:
    text = text.strip()
    if text.casefold() in _NOT_A_NUMBER:
        raise InputError(
            f"{where}: {text!r} is not the name of a class; leave it empty where it is unknown."
        )
    return text if text and text.casefold() not in UNLABELLED_NAMES else None


def _split(text: str, where: str) -> str:
    split = split_named(text) if text.strip() else ""
    if split is None:
        raise InputError(f"{where}: the split {text!r} is not one of train, val, test.")
    return split


def _group(text: str, where: str) -> str | None:
    if text.strip().casefold() in _NOT_A_NUMBER - {"none"}:
        raise InputError(f"{where}: {text!r} names no patient or slide; leave it empty.")
    return text.strip() or None


def _word(row: Mapping[Hashable, object], column: str | None) -> str | None:
    """Return what stands in a column of names; None where nothing does."""
    text = str(row[column]).strip() if column else ""
    return text if text and text.casefold() not in _NOT_A_NUMBER else None


def _yes(row: Mapping[Hashable, object], column: str | None, where: str) -> bool:
    text = (_word(row, column) or "no").casefold()
    if text not in _YES | _NO:
        raise InputError(f"{where}: {text!r} in the column {column} is neither yes nor no.")
    return text in _YES


def _pixel_size(row: Mapping[Hashable, object], column: str | None, where: str) -> float | None:
    text = _word(row, column)
    if text is None:
        return None
    try:
        return check_pixel_size(float(text))
    except (ValueError, InputError) as error:
        raise InputError(
            f"{where}: the pixel size {text!r} is not a size in micrometres such as 0.1; leave it "
            "empty where it is unknown."
        ) from error


def _confidence(text: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(
            f"{where}: the label confidence {text!r} is not a number from 0 to 1; leave it empty "
            "where it is unknown."
        )
    return value


def _read_table(path: Path) -> Reading:
    """Read the project's own kind of table, with the columns ``path`` and ``class``."""
    if not path.is_file():
        raise InputError(f"{path} is not a CSV file.")
    table = read_csv(path)
    columns = find_columns([str(c) for c in table.columns])
    if columns is None:
        there = ", ".join(str(c) for c in table.columns)
        raise InputError(f"{path} needs the columns path and class; it has {there}.")
    odd = {"path", "class"} - columns.used()
    notes = [f"columns of {path.name} taken: {columns.stated()}"] if odd else []
    return Reading(records_of(table, columns, path), notes)


def _recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".csv"


CSV = Layout("csv", "a CSV with the columns path and class", _recognises, _read_table)


_NEEDED = {"path", "dataset", "class", "split"}
_KEPT = ("dataset", "subtype", "licence")


def _file_and_name(path: Path) -> tuple[Path, str]:
    name, _, dataset = path.name.partition("#")
    return (path, "") if path.exists() else (path.with_name(name), dataset)


def _is_manifest(path: Path) -> bool:
    """Whether it is a CSV with these columns, perhaps with the name of a data set behind it."""
    file, _ = _file_and_name(path) if path.name else (path, "")
    return file.suffix.lower() == ".csv" and file.is_file() and set(header(file)) >= _NEEDED


def _read_manifest(path: Path) -> Reading:
    """Read the single-cell images of one data set, or of all that have splits."""
    file, dataset = _file_and_name(path)
    table = read_csv(file)
    known = sorted(set(table["dataset"])) if "dataset" in table else []
    if dataset and dataset not in known:
        raise InputError(f"{file} has no data set {dataset!r}; it has {', '.join(known)}.")
    records, left_out = [], 0
    for row in table.to_dict("records"):
        word = str(row["split"])
        split = "test" if dataset and word == "shift" else split_named(word)
        wanted = (not dataset or row["dataset"] == dataset) and row["class"] and split
        if not wanted or not is_image(Path(row["path"])):
            left_out += 1
            continue
        attributes = {k: str(row[k]) for k in _KEPT if row.get(k)}
        image = file.parent / row["path"]
        records.append(Record(image, str(row["class"]), str(split), attributes=attributes))
    said = f"{left_out} rows of {file.name} are of other data sets, masks or fields: left out"
    return Reading(records, [said] if left_out else [])


MANIFEST = Layout("manifest", "a manifest of several data sets", _is_manifest, _read_manifest)
