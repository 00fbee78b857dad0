"""Published data sets that are sorted into folders: PBC, Raabin-WBC and Matek's two.

PBC, peripheral blood cells of the Hospital Clinic of Barcelona (Acevedo et al. 2020): eight class
folders, as published (``PBC_dataset_normal_DIB/ig`` and so on) or sorted into ``train``, ``val``
and ``test``. The file name's prefix is the subtype: ``BNE`` band and ``SNE`` segmented
neutrophils, ``MY``, ``MMY`` and ``PMY`` myelo-, metamyelo- and promyelocytes. Patients are not
identified.

Raabin-WBC (Kouzehkanan et al. 2022): ``Train``, ``TestA`` and ``TestB`` with class folders. TestB
comes from another microscope and camera and has two of the five classes: both test parts go into
the test split, told apart by the attribute ``part``.

Matek's sets have folders named by class codes such as ``NGS``. Bone marrow (Blood 138:1917, 2021):
21 codes, large classes in folders of a thousand images (``NGS/0001-1000``). AML (Nature Machine
Intelligence 1:538, 2019): 15 codes. Codes become the names of the taxonomies ``bone-marrow`` and
``aml`` and stay as the attribute ``code``. The public files do not say which images are of one
patient.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from cytodiffusion.datasets.folders import read_folders
from cytodiffusion.datasets.layouts import (
    Layout,
    Reading,
    Record,
    first_image,
    split_parts,
    subfolders,
)
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import load_taxonomy, plain

PBC_FOLDER = "PBC_dataset_normal_DIB"
PBC_CLASSES = {
    *("basophil", "eosinophil", "erythroblast", "ig", "immature granulocyte"),
    *("lymphocyte", "monocyte", "neutrophil", "platelet"),
}
_PBC_NAME = re.compile(
    r"(BA|BNE|EO|ERB|IG|LY|MMY|MO|MY|NEUTROPHIL|NGB|NGS|PLATELET|PMY|SNE)_\d+$", re.IGNORECASE
)


def _pbc_root(path: Path) -> Path:
    published = path / PBC_FOLDER
    return published if published.is_dir() else path


def _is_pbc(path: Path) -> bool:
    """Whether all class folders are PBC's and their images are named as there."""
    folders = [f for part, _ in split_parts(_pbc_root(path)) for f in subfolders(part)]
    if len(folders) < 2 or not all(plain(f.name) in PBC_CLASSES for f in folders):
        return False
    images = [image for f in folders if (image := first_image(f))]
    return bool(images) and all(_PBC_NAME.match(image.stem) for image in images)


def subtype(path: Path) -> str:
    """Prefix of a PBC file name in capitals, such as ``SNE``; empty where there is none."""
    found = _PBC_NAME.match(path.stem)
    return found.group(1).upper() if found else ""


def _with_subtype(record: Record) -> Record:
    found = subtype(record.path)
    return replace(record, attributes={"subtype": found}) if found else record


def _read_pbc(path: Path) -> Reading:
    """Read PBC's class folders with the subtype of each image."""
    reading = read_folders(_pbc_root(path))
    return replace(reading, records=[_with_subtype(r) for r in reading.records])


PBC = Layout("pbc", "PBC, Acevedo et al. 2020", _is_pbc, _read_pbc)


def _raabin_parts(path: Path) -> dict[str, Path]:
    parts = {}
    for folder in subfolders(path):
        name = re.sub(r"[\s_\-]", "", folder.name).casefold()
        if name in ("train", "testa", "testb"):
            parts[name] = folder
    return parts


def _is_raabin(path: Path) -> bool:
    """Whether there are a TestA or a TestB folder."""
    return bool({"testa", "testb"} & _raabin_parts(path).keys())


def _read_raabin(path: Path) -> Reading:
    """Read the parts that are there."""
    parts = _raabin_parts(path)
    if not parts:
        raise InputError(f"{path} has none of the folders Train, TestA and TestB of Raabin-WBC.")
    reading = Reading([])
    for name, folder in sorted(parts.items()):
        split = "train" if name == "train" else "test"
        part = {"train": "Train", "testa": "TestA", "testb": "TestB"}[name]
        found = read_folders(folder)
        reading.records += [
            replace(r, split=split, attributes={"part": part}) for r in found.records
        ]
        reading.notes += found.notes
        reading.warnings += [f"{part}: {sentence}" for sentence in found.warnings]
        reading.empty += found.empty if split == "train" else []
    return reading


RAABIN = Layout("raabin", "Raabin-WBC, Kouzehkanan et al. 2022", _is_raabin, _read_raabin)


#: Codes of two classes are thought a coincidence, of three not.
_ENOUGH = 3


def _codes(taxonomy: str) -> set[str]:
    return {c.code for c in load_taxonomy(taxonomy).classes}


def code_root(path: Path, codes: set[str]) -> Path | None:
    """Folder that holds the code folders: ``path`` or one up to two levels below it."""
    level = [path]
    for _ in range(3):
        for folder in level:
            names = {f.name.upper() for part, _ in split_parts(folder) for f in subfolders(part)}
            if len(names & codes) >= _ENOUGH and len(names - codes) <= len(names & codes):
                return folder
        level = [below for folder in level for below in subfolders(folder)[:50]]
    return None


def _is_matek(path: Path, own: str, other: str) -> bool:
    """Whether code folders are there that the ``other`` set does not know better."""
    if code_root(path, _codes(own)) is None:
        return False
    root = code_root(path, _codes(own) | _codes(other)) or path
    names = {f.name.upper() for part, _ in split_parts(root) for f in subfolders(part)}
    own_fit, other_fit = len(names & _codes(own)), len(names & _codes(other))
    return own_fit > other_fit or (own_fit == other_fit and own == "bone-marrow")


def _read_matek(path: Path, taxonomy: str) -> Reading:
    codes = _codes(taxonomy)
    root = code_root(path, codes)
    if root is None:
        raise InputError(
            f"{path} has no folders named by class codes such as {', '.join(sorted(codes)[:3])}."
        )
    kept, left_out = [], set()
    reading = read_folders(root)
    for record in reading.records:
        code = (record.label or "").upper()
        if record.label is None or code in codes:
            attributes = {"code": code} if code else {}
            kept.append(replace(record, label=code or None, attributes=attributes))
        else:
            left_out.add(record.label)
    if left_out:
        odd = f"folders without a class code left out: {', '.join(sorted(left_out))}"
        reading.warnings.append(odd)
    empty = [folder for folder in reading.empty if folder.name.upper() in codes]
    return replace(reading, records=kept, empty=empty)


def _matek_layout(taxonomy: str, name: str, other: str, title: str) -> Layout:
    recognises: Callable[[Path], bool] = partial(_is_matek, own=taxonomy, other=other)
    return Layout(name, title, recognises, partial(_read_matek, taxonomy=taxonomy), taxonomy)


BONE_MARROW = _matek_layout(
    "bone-marrow", "matek-bone-marrow", "aml", "bone marrow, Matek et al. 2021: 21 class codes"
)
AML = _matek_layout("aml", "matek-aml", "bone-marrow", "AML, Matek et al. 2019: 15 class codes")
