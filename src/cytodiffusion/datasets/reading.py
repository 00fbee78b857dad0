"""From a path to records, whatever the layout of the data set."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cytodiffusion.datasets.cytodata import CYTODATA
from cytodiffusion.datasets.folders import FOLDERS
from cytodiffusion.datasets.layouts import SPLITS, Layout, Record
from cytodiffusion.datasets.names import rename
from cytodiffusion.datasets.published import AML, BONE_MARROW, PBC, RAABIN
from cytodiffusion.datasets.splits import assign_splits
from cytodiffusion.datasets.tables import CSV, MANIFEST
from cytodiffusion.datasets.wbcatt import WBCATT
from cytodiffusion.errors import InputError
from cytodiffusion.image.formats import IMAGE_SUFFIXES
from cytodiffusion.taxonomy import load_taxonomy

log = logging.getLogger(__name__)

#: All layouts, in the order in which they are tried.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (*(MANIFEST, WBCATT, RAABIN, PBC, BONE_MARROW, AML, CYTODATA, CSV, FOLDERS),)
}


@dataclass(frozen=True)
class Dataset:
    """Records with what there is to say about them.

    Attributes
    ----------
    records : list of Record
    layout : str
        Name of the layout.
    notes : list of str
        How it was read: names that were changed, how it was split, what was left out.
    warnings : list of str
        Sentences about what whoever reads results has to know: what was left out, synthetic
        images.
    """

    records: list[Record]
    layout: str
    notes: list[str]
    warnings: list[str] = field(default_factory=list)


def find_records(
    path: str | Path,
    layout: str = "auto",
    *,
    renaming: Mapping[str, str] | None = None,
    split: str | None = None,
) -> list[Record]:
    """List the images of a data set; see `read_dataset`, which also tells how it was read."""
    return read_dataset(path, layout, renaming=renaming, split=split).records


def read_dataset(
    path: str | Path,
    layout: str = "auto",
    *,
    renaming: Mapping[str, str] | None = None,
    split: str | None = None,
    empty_classes: bool = False,
) -> Dataset:
    """Find the images of a data set with their classes, splits and groups; open none."""
    path = Path(path)
    chosen = LAYOUTS[detect_layout(path)] if layout == "auto" else _layout(layout)
    if not path.exists() and "#" not in path.name:
        raise InputError(f"{path} is neither a folder of class folders nor a CSV file.")
    reading = chosen.read(path)
    if reading.empty and not empty_classes:
        raise InputError(f"{reading.empty[0]} holds no images; fill it or remove it.")
    if not reading.records:
        raise InputError(
            f"{path} holds no images (looked for {', '.join(sorted(IMAGE_SUFFIXES))})."
        )
    records, renamed = rename(reading.records, load_taxonomy(chosen.taxonomy), renaming or {})
    if split is not None:
        if split not in SPLITS:
            raise InputError(f"The split {split!r} is not one of {', '.join(SPLITS)}.")
        records, how = [replace(r, split=split) for r in records], [f"all images are for {split}"]
    else:
        records, how = assign_splits(records)
    notes = [*reading.notes, *renamed, *how]
    log.info("%s read as %s: %s", path, chosen.title, "; ".join(notes))
    warnings = [f"{path}: {what}." for what in reading.warnings]
    if synthetic := sum(_synthetic(r) for r in records if r.split != "train"):
        warnings.append(
            f"{synthetic} of the images that {path} validates and tests on are synthetic: what is "
            "measured on them says nothing of real cells."
        )
    for sentence in warnings:
        log.warning(sentence)
    return Dataset(records, chosen.name, [*notes, *reading.warnings], warnings)


def _synthetic(record: Record) -> bool:
    """Tell whether an image is marked as synthetic, in its table or in its own header."""
    from cytodiffusion.files.synthetic_mark import is_synthetic

    return record.attributes.get("synthetic") == "true" or is_synthetic(record.path)


def detect_layout(path: Path) -> str:
    """Name of the first layout that a data set looks like."""
    try:
        found = next((x.name for x in LAYOUTS.values() if x.recognises(path)), None)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if found is None:
        raise InputError(f"{path} is neither a folder of class folders nor a CSV file.")
    return found


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise InputError(f"There is no layout {name!r}: choose auto or {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]
