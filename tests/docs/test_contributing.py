"""CONTRIBUTING names every folder of the source, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PART = re.compile(r"^\*\*`src/(\w+)/`(.*?)(?=^\*\*|^Besides)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([\w/]+)/` \| (.+) \|$", re.MULTILINE)


def listed() -> dict[str, dict[str, str]]:
    """Folders and what is said of each, by package."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return {package: dict(ROW.findall(part)) for package, part in PART.findall(text)}


def folders(package: str) -> set[str]:
    """Folders of a package that hold files; of the bundles, which hold data, the top one only."""
    root = ROOT / "src" / package
    found = {path.parent.relative_to(root) for path in root.rglob("*") if path.is_file()}
    found -= {part for part in found if "__pycache__" in part.parts or part.parts[:1] == ()}
    return {"bundles" if part.parts[0] == "bundles" else part.as_posix() for part in found}


@pytest.mark.parametrize("package", ["cytodiffusion", "napari_cytodiffusion"])
def test_every_folder_is_named_and_none_that_is_not_there(package: str) -> None:
    named = listed()[package]
    assert set(named) == folders(package)
    assert all(len(text.split()) <= 25 for text in named.values()), "one line a folder"


def test_every_package_is_described() -> None:
    assert set(listed()) == {p.name for p in (ROOT / "src").iterdir() if p.is_dir()}
