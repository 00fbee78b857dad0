"""What people say of cells: rows that are only ever added, and undone by further rows.

An action is what somebody does at once, for one cell or many; undo and redo go by actions. What an
observer says of a cell is the last of their annotations that is not undone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cytodiffusion.errors import InputError
from cytodiffusion.study.classes import required_class, tidy
from cytodiffusion.study.database import Database, now

#: Between what several observers say of a cell, where they disagree.
BETWEEN = "|"

#: Cells that one query asks about.
_MOST = 500


@dataclass(frozen=True)
class Done:
    """What an undo or a redo changed.

    Attributes
    ----------
    action : int
        That was undone or done again.
    cells : tuple of int
        Whose label is another one now.
    """

    action: int
    cells: tuple[int, ...]


class HumanClass(NamedTuple):
    """What people say of a cell; texts are empty where nobody said anything.

    Attributes
    ----------
    human : str
        Classes in the order in which they were first given, with `BETWEEN` between them.
    observer : str
        Who gave them, in the same way.
    consensus : str
        The class that most of them gave; empty where two classes have equally many votes.
    """

    human: str = ""
    observer: str = ""
    consensus: str = ""


def consensus(names: Iterable[str]) -> str:
    """Return the class that most observers gave; empty where there is none, or a draw."""
    first = Counter(names).most_common(2)
    drawn = len(first) > 1 and first[0][1] == first[1][1]
    return "" if not first or drawn else first[0][0]


def annotate(
    database: Database,
    classes: Mapping[int, str | None],
    observer: str,
    *,
    seconds: float | None = None,
    comment: str = "",
) -> int:
    """Append what an observer says of cells, as one action; it is on the disk at the return.

    Parameters
    ----------
    classes : mapping of int to str or None
        Class of each cell by its number; None takes the observer's label back.
    seconds : float, optional
        That it took, for a cell.

    Returns
    -------
    int
        Number of the action.
    """
    if not classes:
        raise InputError("There is no cell to annotate.")
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(f"An annotation cannot take {seconds} seconds.")
    with database.transaction() as connection:
        who = observer_number(database, observer)
        numbers = _class_numbers(database, classes.values())
        _check_cells(database, classes)
        action = connection.execute(
            "INSERT INTO actions (observer, what, at) VALUES (?, 'annotate', ?)", (who, now())
        ).lastrowid
        connection.executemany(
            "INSERT INTO annotations (action, cell, class, seconds, comment) "
            "VALUES (?, ?, ?, ?, ?)",
            [(action, cell, numbers[name], seconds, comment) for cell, name in classes.items()],
        )
    return int(action or 0)


def undo(database: Database, observer: str) -> Done | None:
    """Undo an observer's last action that stands; None where there is none."""
    with database.transaction():
        who = known_observer(database, observer)
        target = database.one("SELECT max(id) FROM standing WHERE observer = ?", (who,))
        return None if who is None or target is None else _append(database, who, "undo", target)


def redo(database: Database, observer: str) -> Done | None:
    """Do again what an observer undid last; None where there is nothing, or they went on since."""
    with database.transaction():
        who = known_observer(database, observer)
        target = database.one(
            "SELECT u.target FROM actions u WHERE u.observer = ?1 AND u.what = 'undo' "
            "AND u.id > coalesce((SELECT max(id) FROM actions WHERE observer = ?1 "
            "                     AND what = 'annotate'), 0) "
            "AND NOT EXISTS (SELECT 1 FROM actions l WHERE l.target = u.target AND l.id > u.id) "
            "ORDER BY u.id DESC LIMIT 1",
            (who,),
        )
        return None if who is None or target is None else _append(database, who, "redo", target)


def known_observer(database: Database, name: str) -> int | None:
    """Return the number of an observer, None for one who never said anything."""
    key = tidy(name, "An observer").casefold()
    found = database.one("SELECT id FROM observers WHERE key = ?", (key,))
    return None if found is None else int(found)


def observer_number(database: Database, name: str) -> int:
    """Return the number of an observer, who is added where they are new."""
    known = known_observer(database, name)
    if known is not None:
        return known
    tidied = tidy(name, "An observer")
    with database.transaction() as connection:
        added = connection.execute(
            "INSERT INTO observers (name, key) VALUES (?, ?)", (tidied, tidied.casefold())
        )
        return int(added.lastrowid or 0)


def human_labels(database: Database) -> dict[int, HumanClass]:
    """Return what people say of cells now, by the number of the cell."""
    return {
        cell: HumanClass(
            BETWEEN.join(dict.fromkeys(name for name, _ in pairs)),
            BETWEEN.join(observer for _, observer in pairs),
            consensus(name for name, _ in pairs),
        )
        for cell, pairs in said_of_cells(database).items()
    }


def said_of_cells(
    database: Database, cells: Iterable[int] | None = None, image: int | None = None
) -> dict[int, tuple[tuple[str, str], ...]]:
    """Return classes and observers of cells, one pair an observer, by the number of the cell.

    Parameters
    ----------
    cells : iterable of int, optional
        Only of these; of all by default.
    image : int, optional
        Only of those in the image of this number that are not gone.
    """
    if cells is None:
        wanted: list[tuple[str, Sequence[int]]] = [("TRUE", ())]
    else:
        numbers = [int(cell) for cell in cells]
        parts = [numbers[i : i + _MOST] for i in range(0, len(numbers), _MOST)]
        wanted = [(f"s.cell IN ({','.join('?' * len(part))})", part) for part in parts]
    here = "" if image is None else " AND c.image = ? AND c.gone IS NULL"
    said: dict[int, list[tuple[str, str]]] = {}
    for where, values in wanted:
        for cell, name, observer in database.rows(
            "SELECT s.cell, k.name, o.name FROM said s JOIN observers o ON o.id = s.observer "
            "JOIN cells c ON c.id = s.cell JOIN classes g ON g.id = s.class "
            "JOIN classes k ON k.id = coalesce(g.merged, g.id) "
            f"WHERE {where}{here} ORDER BY s.annotation",
            [*values, *(() if image is None else (image,))],
        ):
            said.setdefault(cell, []).append((name, observer))
    return {cell: tuple(pairs) for cell, pairs in said.items()}


def _append(database: Database, observer: int, what: str, target: int) -> Done:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO actions (observer, what, target, at) VALUES (?, ?, ?, ?)",
            (observer, what, target, now()),
        )
        if what == "redo":  # a class that was deleted since comes back
            connection.execute(
                "UPDATE classes SET deleted = 0 WHERE id IN "
                "(SELECT class FROM annotations WHERE action = ?)",
                (target,),
            )
    cells = database.rows("SELECT cell FROM annotations WHERE action = ?", (target,))
    return Done(target, tuple(int(cell) for (cell,) in cells))


def _class_numbers(database: Database, names: Iterable[str | None]) -> dict[str | None, int | None]:
    return {n: None if n is None else required_class(database, n).id for n in set(names)}


def _check_cells(database: Database, cells: Iterable[int]) -> None:
    for cell in cells:
        found = database.rows(
            "SELECT i.name, c.label, c.gone FROM cells c JOIN images i ON i.id = c.image "
            "WHERE c.id = ?",
            (int(cell),),
        )
        if not found:
            raise InputError(f"There is no cell with the number {cell} in the study.")
        name, label, gone = found[0]
        if gone is not None:
            raise InputError(
                f"The cell {label} of {name} is gone: its outline was deleted on {gone[:10]}. What "
                "was said of it before is kept."
            )
