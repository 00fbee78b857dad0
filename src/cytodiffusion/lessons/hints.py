"""What to look at, in words: the educator's own, or a short description of common classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from cytodiffusion.datasets.tables import read_csv
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import READY, load_taxonomy, plain

_COLUMNS = ("class", "cell", "hint", "attributes")


@dataclass(frozen=True)
class Hint:
    """What to look at."""

    text: str = ""
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hints:
    """Hints of classes, by their plain names, and of cells, by the names of their files."""

    classes: Mapping[str, Hint] = field(default_factory=dict)
    cells: Mapping[str, str] = field(default_factory=dict)

    def of_class(self, name: str, standard: bool) -> Hint:
        """Return the hint of a class; the standard one where there is none and it is wanted."""
        return self.classes.get(plain(name)) or (_standard(name) if standard else Hint())

    def of_cell(self, source: str) -> str:
        """Return the hint of a cell by the name of its file, with or without its ending."""
        return self.cells.get(source, self.cells.get(Path(source).stem, ""))


def read_hints(path: Path | None) -> Hints:
    """Read a CSV with the columns ``class`` or ``cell``, ``hint`` and perhaps ``attributes``.

    Attributes have ``|`` between them.
    """
    if path is None:
        return Hints()
    table = read_csv(path).fillna("")
    table.columns = [str(name).strip().casefold() for name in table.columns]
    if "hint" not in table or not {"class", "cell"} & set(table.columns):
        raise InputError(
            f"{path.name} is no table of hints: it needs the column hint, and class or cell."
        )
    classes: dict[str, Hint] = {}
    cells: dict[str, str] = {}
    for line, row in enumerate(table.to_dict("records"), 2):
        name, cell, text, attributes = (str(row.get(key, "")).strip() for key in _COLUMNS)
        if not name and not cell:
            raise InputError(f"{path.name}, line {line}: neither a class nor a cell is named.")
        if cell:
            cells[cell] = text
        else:
            several = tuple(a.strip() for a in attributes.split("|") if a.strip())
            classes[plain(name)] = Hint(text, several)
    return Hints(classes, cells)


def _standard(name: str) -> Hint:
    known = _ready()
    found = known.get(plain(name))
    if found is None:
        meant = (load_taxonomy(ready).find(name) for ready in READY)
        names = [plain(category.name) for category in meant if category is not None]
        found = next((known[other] for other in names if other in known), None)
    return found or Hint()


@cache
def _ready() -> Mapping[str, Hint]:
    file = resources.files("cytodiffusion.lessons") / "hints.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    return {name: Hint(one["hint"], tuple(one["attributes"])) for name, one in content.items()}
