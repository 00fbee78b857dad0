"""What the docs name of the code is there: modules, functions, files of the source."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
DOTTED = re.compile(r"`(cytodiffusion(?:\.\w+)+)")
FILE = re.compile(r"`(\w+(?:/\w+)+\.py)`")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def resolve(name: str) -> Any:
    """The module, or the thing in it, that a dotted name means."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_code_are_right(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in DOTTED.findall(text):
        resolve(name)
    for block in BLOCK.findall(text):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cytodiffusion"):
                for alias in node.names:
                    resolve(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "cd":
                resolve(f"cytodiffusion.{node.attr}")
    roots = (ROOT, ROOT / "src" / "cytodiffusion")
    for file in FILE.findall(text):
        assert any((root / file).is_file() for root in roots), f"{page.name} names {file}"


def test_commands_of_the_docs_exist() -> None:
    from cytodiffusion.cli.app import app

    known = {c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        used = re.findall(r"^(?: {4})?cytodiffusion ([a-z]+)", text, re.MULTILINE)
        assert set(used) <= known, f"{page.name} uses {set(used) - known}"
