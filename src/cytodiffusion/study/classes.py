"""Classes of a study: names, colours, families; none that a person used is ever lost."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cytodiffusion.errors import InputError
from cytodiffusion.study.database import Database
from cytodiffusion.taxonomy import PALETTE, READY, colors_and_groups, load_taxonomy, plain

_LONGEST = 80


class ModelClass(Protocol):
    """A class of a model."""

    @property
    def name(self) -> str:
        """Name."""

    @property
    def color(self) -> str:
        """``#rrggbb``."""

    @property
    def group(self) -> str:
        """Such as ``"granulocyte"``."""


@dataclass(frozen=True)
class StudyClass:
    """A class that cells of a study may have.

    Attributes
    ----------
    id : int
    name : str
    color : str
        ``#rrggbb``.
    group : str
        Such as ``"granulocyte"``.
    """

    id: int
    name: str
    color: str
    group: str = ""


def tidy(text: str, what: str) -> str:
    """Return a name without needless blanks; InputError for one that cannot be used."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise InputError(f"{what} needs a name.")
    if len(name) > _LONGEST or not name.isprintable() or "|" in name:
        raise InputError(
            f"{name[:_LONGEST]!r} cannot be a name: it has more than {_LONGEST} letters, or | or "
            "signs that cannot be printed."
        )
    return name


def classes_of(database: Database) -> list[StudyClass]:
    """Return the classes that can be given, in the order in which they came."""
    found = database.rows(
        "SELECT id, name, color, family FROM classes WHERE merged IS NULL AND NOT deleted "
        "ORDER BY id"
    )
    return [StudyClass(*row) for row in found]


def label_counts(database: Database) -> dict[str, int]:
    """Return how many labels people gave of each class, by its name; of classes without: 0."""
    rows = database.rows(
        "SELECT coalesce(g.merged, g.id), count(*) FROM said s JOIN classes g ON g.id = s.class "
        "JOIN cells c ON c.id = s.cell WHERE c.gone IS NULL GROUP BY 1"
    )
    counts: dict[int, int] = dict(rows)
    return {one.name: counts.get(one.id, 0) for one in classes_of(database)}


def find_class(database: Database, name: str) -> StudyClass | None:
    """Return the class that a name means; earlier names and other spellings mean it, too."""
    found = database.rows(
        "SELECT c.id, c.name, c.color, c.family FROM class_names n JOIN classes c "
        "ON c.id = n.class WHERE n.key = ? AND c.merged IS NULL AND NOT c.deleted",
        (_key(name),),
    )
    return StudyClass(*found[0]) if found else class_finder(database)(name)


def class_finder(database: Database) -> Callable[[str], StudyClass | None]:
    """Return what `find_class` does, with one look into the file for many names."""
    known = {c.id: c for c in classes_of(database)}
    rows = database.rows("SELECT key, class FROM class_names")
    keys = {key: known[number] for key, number in rows if number in known}
    taxonomies = [load_taxonomy(name) for name in READY]

    def meanings(key: str) -> list[str]:
        found = (taxonomy.find(key) for taxonomy in taxonomies)
        return [plain(category.name) for category in found if category is not None]

    meant: dict[str, StudyClass] = {}
    for key, one in keys.items():
        for meaning in meanings(key):
            meant.setdefault(meaning, one)

    def find(name: str) -> StudyClass | None:
        key = _key(name)
        return keys.get(key) or next((meant[m] for m in meanings(key) if m in meant), None)

    return find


def _key(name: str) -> str:
    """Return what makes two names the same: neither blanks, hyphens nor upper case."""
    return plain(" ".join(unicodedata.normalize("NFC", name).split()))


def add_classes(database: Database, classes: Iterable[ModelClass]) -> None:
    """Add the classes of a model that the study does not have."""
    with database.transaction():
        for one in classes:
            if find_class(database, one.name) is None:
                _insert(database, tidy(one.name, "A class"), one.color, one.group)


def add_class(database: Database, name: str, color: str = "", group: str = "") -> StudyClass:
    """Add a class, or return the one that the name means already."""
    wanted = tidy(name, "A class")
    with database.transaction():
        known = find_class(database, wanted)
        if known is not None:
            return known
        present = [c.name for c in classes_of(database)]
        new_color, new_group = colors_and_groups([*present, wanted])[-1]
        if new_color in {c.color for c in classes_of(database)}:
            new_color = _free_color(database)
        return _insert(database, wanted, color or new_color, group or new_group)


def _free_color(database: Database) -> str:
    taken = [c.color.lower() for c in classes_of(database)]
    free = (color for color in PALETTE if color not in taken)
    return next(free, PALETTE[len(taken) % len(PALETTE)])


def _insert(database: Database, name: str, color: str, group: str) -> StudyClass:
    _check_color(color)
    with database.transaction() as connection:
        # one of this name that was deleted comes back, with its history
        number = database.one(
            "SELECT c.id FROM class_names n JOIN classes c ON c.id = n.class "
            "WHERE n.key = ? AND c.deleted",
            (_key(name),),
        )
        if number is None:
            number = connection.execute(
                "INSERT INTO classes (name, color) VALUES (?, ?)", (name, color)
            ).lastrowid
        connection.execute(
            "UPDATE classes SET name = ?, color = ?, family = ?, deleted = 0 WHERE id = ?",
            (name, color, group, number),
        )
        connection.execute("INSERT OR IGNORE INTO class_names VALUES (?, ?)", (_key(name), number))
    return StudyClass(int(number or 0), name, color, group)


def change_class(
    database: Database,
    name: str,
    *,
    new_name: str | None = None,
    color: str | None = None,
    group: str | None = None,
) -> StudyClass:
    """Rename a class, or give it another colour or group; all its labels follow at once."""
    with database.transaction() as connection:
        one = required_class(database, name)
        wanted = one.name if new_name is None else tidy(new_name, "A class")
        other = find_class(database, wanted)
        if other is not None and other.id != one.id:
            raise InputError(
                f"{wanted} means the class {other.name} already: merge the two instead."
            )
        _check_color(color or one.color)
        row = (wanted, color or one.color, one.group if group is None else group, one.id)
        connection.execute("UPDATE classes SET name = ?, color = ?, family = ? WHERE id = ?", row)
        connection.execute(
            "INSERT OR REPLACE INTO class_names VALUES (?, ?)", (_key(wanted), one.id)
        )
        return StudyClass(one.id, *row[:3])


def merge_classes(database: Database, name: str, into: str) -> None:
    """Let a class mean another one from now on: its labels become those of the other."""
    with database.transaction() as connection:
        one, other = required_class(database, name), required_class(database, into)
        if one.id == other.id:
            raise InputError(f"The class {one.name} cannot be merged into itself.")
        connection.execute("UPDATE classes SET merged = ? WHERE id = ?", (other.id, one.id))
        connection.execute("UPDATE classes SET merged = ? WHERE merged = ?", (other.id, one.id))
        connection.execute("UPDATE class_names SET class = ? WHERE class = ?", (other.id, one.id))


def delete_class(database: Database, name: str) -> None:
    """Delete a class that nobody has given to a cell; InputError for any other."""
    with database.transaction() as connection:
        one = required_class(database, name)
        count = database.one(
            "SELECT count(DISTINCT s.cell) FROM said s JOIN classes c ON c.id = s.class "
            "WHERE coalesce(c.merged, c.id) = ?",
            (one.id,),
        )
        if count:
            cells = "1 cell has" if count == 1 else f"{count:,} cells have"
            raise InputError(
                f"The class {one.name} cannot be deleted: {cells} it from people. Merge it into "
                "another class, so that their labels are kept."
            )
        connection.execute("UPDATE classes SET deleted = 1 WHERE id = ?", (one.id,))


def required_class(database: Database, name: str) -> StudyClass:
    """Return the class of a name; InputError where there is none."""
    found = find_class(database, name)
    if found is None:
        known: Sequence[str] = [c.name for c in classes_of(database)]
        there = f": there are {', '.join(known)}" if known else ""
        raise InputError(f"There is no class {name!r} in the study{there}.")
    return found


def _check_color(color: str) -> None:
    if not re.fullmatch("#[0-9a-fA-F]{6}", color):
        raise InputError(f"{color!r} is not a colour such as #0072b2.")
