"""Manifests: one table for several data sets, with the columns path, dataset, class, split.

``manifest.csv#NAME`` means the data set NAME of it. The split ``shift`` is another laboratory's
test set and is read as ``test`` when its data set is asked for by name.
"""

from __future__ import annotations

from pathlib import Path

from cytodiffusion.datasets.layouts import Layout, Reading, is_image, split_named
from cytodiffusion.datasets.records import Record
from cytodiffusion.datasets.tables import header, read_csv
from cytodiffusion.errors import InputError

_NEEDED = {"path", "dataset", "class", "split"}
_KEPT = ("dataset", "subtype", "licence")


def _parts(path: Path) -> tuple[Path, str]:
    name, _, dataset = path.name.partition("#")
    return (path, "") if path.exists() else (path.with_name(name), dataset)


def recognises(path: Path) -> bool:
    """Whether it is a CSV with these columns, perhaps with the name of a data set behind it."""
    file, _ = _parts(path) if path.name else (path, "")
    return file.suffix.lower() == ".csv" and file.is_file() and set(header(file)) >= _NEEDED


def read(path: Path) -> Reading:
    """Read the single-cell images of one data set, or of all that are split into train and so on.

    Raises
    ------
    InputError
        If there is no such data set.
    """
    file, dataset = _parts(path)
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


MANIFEST = Layout("manifest", "a manifest of several data sets", recognises, read)
