"""WBCAtt (Tsutsui, Pang & Wen 2023): 11 morphological attributes of mature white cells of PBC.

One or several CSVs (``pbc_attr_v1_train.csv`` and so on) with ``img_name``, ``label``, the
attributes and ``path``; the images are those of PBC, found by their path or by their names below
the folder of the table. Images that are not there are left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cytodiffusion.datasets.layouts import (
    Layout,
    Reading,
    Record,
    images_below,
    images_by_name,
    split_named,
)
from cytodiffusion.datasets.published import subtype
from cytodiffusion.datasets.tables import header, read_csv
from cytodiffusion.errors import InputError

#: The columns of the eleven attributes.
ATTRIBUTES = (
    *("cell_size", "cell_shape", "nucleus_shape", "nuclear_cytoplasmic_ratio"),
    *("chromatin_density", "cytoplasm_vacuole", "cytoplasm_texture", "cytoplasm_colour"),
    *("granule_type", "granule_colour", "granularity"),
)


def _is_table(path: Path) -> bool:
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    names = set(header(path))
    return {"img_name", "label"} <= names and len(names & set(ATTRIBUTES)) >= 3


def _tables(path: Path) -> list[Path]:
    candidates = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    return [p for p in candidates if _is_table(p)]


def recognises(path: Path) -> bool:
    """Whether it is such a table, or a folder with some named ``pbc_attr...``."""
    if path.is_dir():
        return any(_is_table(p) for p in sorted(path.glob("pbc_attr*.csv")))
    return _is_table(path)


def read(path: Path) -> Reading:
    """Read the attributes of the images that are there."""
    tables = _tables(path)
    if not tables:
        raise InputError(f"{path} is no table of WBCAtt: it needs img_name, label and attributes.")
    root = path if path.is_dir() else path.parent
    rows = [(t, row) for t in tables for row in read_csv(t).to_dict("records")]
    by_name = images_by_name(images_below(root), {str(row["img_name"]) for _, row in rows})
    records, missing = [], 0
    for table, row in rows:
        stated = root / str(row.get("path", "") or row["img_name"])
        image = stated if stated.is_file() else by_name.get(str(row["img_name"]))
        if image is None:
            missing += 1
            continue
        attributes = {a: str(row[a]) for a in ATTRIBUTES if row.get(a)}
        records.append(_record(image, str(row["label"]), _split(table, image), attributes))
    if not records:
        raise InputError(
            f"None of the {len(rows)} images of {path} is there; put the images of PBC below "
            f"{root}."
        )
    lost = [f"{missing} of {len(rows)} images of the tables are not there and were left out"]
    return Reading(records, warnings=lost if missing else [])


def _record(image: Path, label: str, split: str, attributes: dict[str, str]) -> Record:
    record = Record(image, label or None, split, attributes=attributes)
    kind = subtype(image)
    return replace(record, attributes={**attributes, "subtype": kind}) if kind else record


def _split(table: Path, image: Path) -> str:
    """Split in the table's name, else that of the folder the image lies in, else none."""
    words = [*reversed(table.stem.replace("-", "_").split("_"))]
    words += [part.name for part in list(image.parents)[:3]]
    return next((split for word in words if (split := split_named(word))), "")


WBCATT = Layout("wbcatt", "WBCAtt, Tsutsui et al. 2023: attributes of PBC", recognises, read)
