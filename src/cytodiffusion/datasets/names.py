"""Class names of data sets turned into the project's names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import Taxonomy, plain

from .layouts import UNLABELLED_NAMES
from .records import Record
from .tables import read_csv


def read_renaming(items: Sequence[str]) -> dict[str, str]:
    """Read how classes are to be renamed.

    Parameters
    ----------
    items : sequence of str
        Each ``NAME=NEW`` (``NAME=`` leaves a class out, ``NAME=unlabelled`` forgets its labels),
        or a JSON object or a CSV of two columns in a file.

    Raises
    ------
    InputError
        If a file cannot be read, or a name is given two new ones.
    """
    renaming: dict[str, str] = {}
    for item in items:
        pairs = _pairs_of(item)
        for name, new in pairs.items():
            if renaming.setdefault(name, new) != new:
                raise InputError(
                    f"The class {name} is to be renamed both {renaming[name]!r} and {new!r}."
                )
    return renaming


def _pairs_of(item: str) -> dict[str, str]:
    if "=" in item:
        name, new = item.split("=", 1)
        return {name.strip(): new.strip()}
    path = Path(item)
    if not path.is_file():
        raise InputError(f"{item!r} is neither NAME=NEW nor a JSON or CSV file of class names.")
    if path.suffix.lower() == ".csv":
        table = read_csv(path)
        if table.shape[1] < 2:
            raise InputError(f"{path} needs two columns: the class and its new name.")
        return dict(zip(table.iloc[:, 0], table.iloc[:, 1], strict=True))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"The class names {path} cannot be read: they are not JSON.") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise InputError(f"The class names {path} are not a JSON object of names and new names.")
    return content


def rename(
    records: Sequence[Record], taxonomy: Taxonomy, renaming: Mapping[str, str]
) -> tuple[list[Record], list[str]]:
    """Give records the project's class names.

    What the user renames is renamed so; else a name, code or alias that ``taxonomy`` knows becomes
    its name; else a name stays.

    Returns
    -------
    records : list of Record
    notes : list of str
        Which names were changed.

    Raises
    ------
    InputError
        If a class to be renamed does not occur.
    """
    own = {plain(name): new for name, new in renaming.items()}
    found = {r.label for r in records if r.label}
    lacking = sorted(n for n in renaming if plain(n) not in set(map(plain, found)))
    if lacking:
        raise InputError(
            f"There is no class {lacking[0]!r} to be renamed; there are {', '.join(sorted(found))}."
        )
    new_names = {label: own.get(plain(label), _known(label, taxonomy)) for label in found}
    kept = []
    for record in records:
        if record.label is None:
            kept.append(record)
        elif new := new_names[record.label]:
            label = None if new.casefold() in UNLABELLED_NAMES else new
            kept.append(replace(record, label=label))
    changed = sorted((a, b) for a, b in new_names.items() if a != b)
    said = ", ".join(f"{a} is {b}" if b else f"{a} is left out" for a, b in changed)
    return kept, [f"class names: {said}"] if said else []


def _known(label: str, taxonomy: Taxonomy) -> str:
    found = taxonomy.find(label)
    return found.name if found else label
