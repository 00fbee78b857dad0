"""PBC: peripheral blood cells of the Hospital Clinic of Barcelona (Acevedo et al. 2020).

Eight class folders, as published (``PBC_dataset_normal_DIB/ig`` and so on) or sorted into
``train``, ``val`` and ``test``. The file name's prefix is the subtype: ``BNE`` band and ``SNE``
segmented neutrophils, ``MY``, ``MMY`` and ``PMY`` myelo-, metamyelo- and promyelocytes. Patients
are not identified.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from cytodiffusion.datasets.folders import read_folders
from cytodiffusion.datasets.layouts import Layout, Reading, first_image, split_parts, subfolders
from cytodiffusion.datasets.records import Record
from cytodiffusion.taxonomy import plain

PUBLISHED_FOLDER = "PBC_dataset_normal_DIB"
CLASSES = {
    *("basophil", "eosinophil", "erythroblast", "ig", "immature granulocyte"),
    *("lymphocyte", "monocyte", "neutrophil", "platelet"),
}
_NAME = re.compile(
    r"(BA|BNE|EO|ERB|IG|LY|MMY|MO|MY|NEUTROPHIL|NGB|NGS|PLATELET|PMY|SNE)_\d+$", re.IGNORECASE
)


def _root(path: Path) -> Path:
    published = path / PUBLISHED_FOLDER
    return published if published.is_dir() else path


def recognises(path: Path) -> bool:
    """Whether all class folders are PBC's and their images are named as there."""
    folders = [f for part, _ in split_parts(_root(path)) for f in subfolders(part)]
    if len(folders) < 2 or not all(plain(f.name) in CLASSES for f in folders):
        return False
    images = [image for f in folders if (image := first_image(f))]
    return bool(images) and all(_NAME.match(image.stem) for image in images)


def subtype(path: Path) -> str:
    """Prefix of a PBC file name in capitals, such as ``SNE``; empty where there is none."""
    found = _NAME.match(path.stem)
    return found.group(1).upper() if found else ""


def _with_subtype(record: Record) -> Record:
    found = subtype(record.path)
    return replace(record, attributes={"subtype": found}) if found else record


def read(path: Path) -> Reading:
    """Read PBC's class folders with the subtype of each image."""
    reading = read_folders(_root(path))
    return replace(reading, records=[_with_subtype(r) for r in reading.records])


PBC = Layout("pbc", "PBC, Acevedo et al. 2020", recognises, read)
