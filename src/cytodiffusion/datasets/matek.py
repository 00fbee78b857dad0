"""Matek's two sets, sorted into folders by class codes such as ``NGS``.

Bone marrow (Blood 138:1917, 2021): 21 codes, large classes in folders of a thousand images
(``NGS/0001-1000``). AML (Nature Machine Intelligence 1:538, 2019): 15 codes. Codes become the
names of the taxonomies ``bone-marrow`` and ``aml`` and stay as the attribute ``code``. The public
files do not say which images are of one patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from cytodiffusion.datasets.folders import read_folders
from cytodiffusion.datasets.layouts import Layout, Reading, split_parts, subfolders
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import load_taxonomy

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


def _recognises(path: Path, own: str, other: str) -> bool:
    """Whether code folders are there that the ``other`` set does not know better."""
    if code_root(path, _codes(own)) is None:
        return False
    root = code_root(path, _codes(own) | _codes(other)) or path
    names = {f.name.upper() for part, _ in split_parts(root) for f in subfolders(part)}
    own_fit, other_fit = len(names & _codes(own)), len(names & _codes(other))
    return own_fit > other_fit or (own_fit == other_fit and own == "bone-marrow")


def _read(path: Path, taxonomy: str) -> Reading:
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


def _layout(taxonomy: str, name: str, other: str, title: str) -> Layout:
    recognises: Callable[[Path], bool] = partial(_recognises, own=taxonomy, other=other)
    return Layout(name, title, recognises, partial(_read, taxonomy=taxonomy), taxonomy)


BONE_MARROW = _layout(
    "bone-marrow", "matek-bone-marrow", "aml", "bone marrow, Matek et al. 2021: 21 class codes"
)
AML = _layout("aml", "matek-aml", "bone-marrow", "AML, Matek et al. 2019: 15 class codes")
