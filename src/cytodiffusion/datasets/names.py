"""Class names of data sets turned into the project's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from cytodiffusion.datasets.layouts import UNLABELLED_NAMES, Record
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import Taxonomy, plain


def rename(
    records: Sequence[Record], taxonomy: Taxonomy, renaming: Mapping[str, str]
) -> tuple[list[Record], list[str]]:
    """Give records the project's class names.

    What the user renames is renamed so; else a name, code or alias that ``taxonomy`` knows becomes
    its name; else a name stays.
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


def spelling(names: Sequence[str], taxonomies: Sequence[Taxonomy]) -> Callable[[str], str]:
    """Return what turns a label into that of ``names`` which it means.

    Names that differ in writing only are the same; else a name, code or alias that one of the
    taxonomies knows, the first first, means its class. Other labels stay as they are.
    """
    own: dict[str, str] = {}
    for name in names:
        for taxonomy in taxonomies:
            own.setdefault(plain(_known(name, taxonomy)), name)
    own |= {plain(name): name for name in names}

    def spelt(label: str) -> str:
        said = (label, *(_known(label, taxonomy) for taxonomy in taxonomies))
        return next((own[plain(word)] for word in said if plain(word) in own), label)

    return spelt
