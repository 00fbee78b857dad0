"""Raabin-WBC (Kouzehkanan et al. 2022): ``Train``, ``TestA`` and ``TestB`` with class folders.

TestB comes from another microscope and camera and has two of the five classes: both test parts
go into the test split, told apart by the attribute ``part``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from cytodiffusion.datasets.folders import read_folders
from cytodiffusion.datasets.layouts import Layout, Reading, subfolders
from cytodiffusion.errors import InputError


def _parts(path: Path) -> dict[str, Path]:
    parts = {}
    for folder in subfolders(path):
        name = re.sub(r"[\s_\-]", "", folder.name).casefold()
        if name in ("train", "testa", "testb"):
            parts[name] = folder
    return parts


def recognises(path: Path) -> bool:
    """Whether there are a TestA or a TestB folder."""
    return bool({"testa", "testb"} & _parts(path).keys())


def read(path: Path) -> Reading:
    """Read the parts that are there."""
    parts = _parts(path)
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


RAABIN = Layout("raabin", "Raabin-WBC, Kouzehkanan et al. 2022", recognises, read)
