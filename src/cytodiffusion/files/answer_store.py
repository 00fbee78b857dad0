"""Files of answers: SQLite databases that only ever grow.

Showings and answers are appended, each in its own transaction that is on the disk before the next
cell is shown (write-ahead log, ``synchronous=FULL``), so a process that is killed loses nothing
that was answered. Triggers refuse to change or delete any row. When the file is closed the log is
folded in, and one plain file is left to copy.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file

_LONGEST_NAME = 80
_BUSY_SECONDS = 5.0
_TABLES = ("facts", "sittings", "showings", "answers")
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
{tables}
CREATE TABLE sittings (
    id TEXT PRIMARY KEY, participant TEXT NOT NULL, key TEXT NOT NULL, mode TEXT NOT NULL
    CHECK (mode IN ({modes})), started TEXT NOT NULL, cell_order TEXT NOT NULL);
CREATE TABLE showings (
    sitting TEXT NOT NULL REFERENCES sittings (id), position INTEGER NOT NULL, at TEXT NOT NULL);
CREATE TABLE answers (
    sitting TEXT NOT NULL REFERENCES sittings (id), position INTEGER NOT NULL,
    {answer}, seconds REAL NOT NULL
    CHECK (seconds >= 0), at TEXT NOT NULL, PRIMARY KEY (sitting, position));
CREATE TRIGGER in_order BEFORE INSERT ON answers
WHEN NEW.position <> (SELECT count(*) FROM answers WHERE sitting = NEW.sitting)
BEGIN SELECT RAISE(ABORT, 'answers come in order'); END;
{rules}
"""
_KEPT = """
CREATE TRIGGER {table}_{what} BEFORE {what} ON {table}
BEGIN SELECT RAISE(ABORT, 'nothing is changed or deleted'); END;
"""


@dataclass(frozen=True)
class StoreLayout:
    """What a kind of file of answers has beside the others.

    Attributes
    ----------
    kind, article : str
        What the file is, in sentences for people.
    application_id, format : int
        Mark the file as one of its kind, and its format.
    modes : tuple of str
        Of sittings.
    answer : str
        SQL of the columns of an answer; the one of the cell is called ``cell``.
    tables, rules : str
        SQL of further tables, and of what else holds for the rows.
    table_names : tuple of str
        The further tables.
    """

    kind: str
    article: str
    application_id: int
    format: int
    modes: tuple[str, ...]
    answer: str
    tables: str = ""
    rules: str = ""
    table_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionInfo:
    """One participant's way through the cells.

    Attributes
    ----------
    id, participant : str
    mode : str
        One of those of the layout.
    started : str
        ISO time, UTC.
    answered, of : int
        Answers, and cells.
    """

    id: str
    participant: str
    mode: str
    started: str
    answered: int
    of: int

    @property
    def finished(self) -> bool:
        """Whether every cell is answered."""
        return self.answered >= self.of


def write_store(
    path: Path,
    layout: StoreLayout,
    facts: Mapping[str, str],
    rows: Mapping[str, Iterable[tuple[Any, ...]]] | None = None,
) -> None:
    """Write a new file of answers; it appears whole or not at all.

    Parameters
    ----------
    rows : mapping
        Rows of the further tables of the layout.
    """
    modes = ", ".join(f"'{mode}'" for mode in layout.modes)
    schema = _SCHEMA.format(
        tables=layout.tables, modes=modes, answer=layout.answer, rules=layout.rules
    )
    with atomic_file(path) as partial, contextlib.closing(sqlite3.connect(partial)) as database:
        database.execute(f"PRAGMA application_id = {layout.application_id}")
        database.execute(f"PRAGMA user_version = {layout.format}")
        database.executescript(schema)
        for table in (*_TABLES, *layout.table_names):
            for what in ("UPDATE", "DELETE"):
                database.executescript(_KEPT.format(table=table, what=what))
        with database:
            database.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
            for table, several in (rows or {}).items():
                for row in several:
                    places = ", ".join("?" * len(row))
                    database.execute(f"INSERT INTO {table} VALUES ({places})", row)


class AnswerStore:
    """An opened file of answers; a context manager. The thread that opened it uses it.

    Parameters
    ----------
    writable : bool
        False to look at answers, also where nothing may be written.

    Attributes
    ----------
    path : Path
    facts : dict
        What was written down when the file was made.
    """

    layout: ClassVar[StoreLayout]

    def __init__(self, path: str | Path, *, writable: bool = True) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"There is no {self.layout.kind} at {self.path}.")
        self._writable = writable
        with self._sentences():
            self._database = _connect(self.path, writable)
        try:
            with self._sentences():
                self._check()
                if writable:  # only now: nothing is changed in a file that is not ours
                    self._database.execute("PRAGMA journal_mode = WAL")
                    self._database.execute("PRAGMA synchronous = FULL")
                    self._database.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Fold the log into the file, where nobody else has it open, and close it."""
        if self._writable:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("PRAGMA journal_mode = DELETE")
        self._database.close()

    def __len__(self) -> int:
        """Cells that are asked."""
        raise NotImplementedError

    # -- rows ---------------------------------------------------------------------------------

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._sentences():
            return self._database.execute(query, values).fetchall()

    def one(self, query: str, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the only row of a query."""
        found = self.rows(query, values)
        if not found:
            raise InputError(f"{self.path.name} is damaged: a row is missing.")
        return found[0]

    def append(self, statement: str, values: Sequence[Any]) -> None:
        """Add a row; it is on the disk when this returns."""
        with self._sentences(), self._database:
            self._database.execute(statement, values)

    # -- participants -------------------------------------------------------------------------

    def sittings(self) -> list[SessionInfo]:
        """Everybody who began, in that order."""
        found = self.rows(
            "SELECT s.id, s.participant, s.mode, s.started, "
            "(SELECT count(*) FROM answers a WHERE a.sitting = s.id) FROM sittings s "
            "ORDER BY s.rowid"
        )
        return [
            SessionInfo(str(key), str(name), str(mode), str(started), int(n), len(self))
            for key, name, mode, started, n in found
        ]

    def sittings_of(self, participant: str) -> list[SessionInfo]:
        """Those of one participant."""
        key = name_key(participant)
        return [s for s in self.sittings() if name_key(s.participant) == key]

    def check_mode(self, mode: str) -> None:
        """Raise InputError for a mode that there is not."""
        if mode not in self.layout.modes:
            raise InputError(f"The mode {mode!r} is not one of {', '.join(self.layout.modes)}.")

    def new_sitting(self, participant: str, mode: str, order: Sequence[int]) -> SessionInfo:
        """Begin a sitting that shows the cells in this order."""
        name = participant_name(participant)
        row = (uuid.uuid4().hex, name, name_key(name), mode, now(), json.dumps(list(order)))
        self.append("INSERT INTO sittings VALUES (?, ?, ?, ?, ?, ?)", row)
        return next(s for s in self.sittings() if s.id == row[0])

    def order(self, sitting: str) -> list[int]:
        """Cells in the order in which a sitting shows them."""
        (text,) = self.one("SELECT cell_order FROM sittings WHERE id = ?", (sitting,))
        try:
            order = [int(cell) for cell in json.loads(text)]
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.path.name} is damaged: an order is unreadable.") from error
        if sorted(order) != list(range(len(self))):
            raise InputError(f"{self.path.name} is damaged: an order is not one of its cells.")
        return order

    def showing(self, sitting: str, position: int) -> None:
        """Write down that a cell is shown."""
        self.append("INSERT INTO showings VALUES (?, ?, ?)", (sitting, position, now()))

    # -- checks -------------------------------------------------------------------------------

    def _check(self) -> None:
        name, layout = self.path.name, self.layout
        marked = self._database.execute("PRAGMA application_id").fetchone()[0]
        there = {r[0] for r in self._database.execute("SELECT name FROM sqlite_master")}
        ours = marked == layout.application_id
        if not ours or not {*_TABLES, *layout.table_names} <= there:
            raise InputError(f"{name} is not {layout.article} {layout.kind}.")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version != layout.format:
            raise InputError(
                f"{name} was made by another version of cytodiffusion (format {version})."
            )
        if self._database.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise InputError(f"{name} is damaged: use a copy of it.")
        self.facts = dict(self._database.execute("SELECT name, value FROM facts"))
        self._read()

    def _read(self) -> None:
        """Read and check what the kind of file has beside the others."""

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        layout, name = self.layout, self.path.name
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(_what_happened(self.path, error)) from error
        except sqlite3.IntegrityError as error:
            what = layout.kind.rpartition(" ")[2]
            raise InputError(
                f"{name} takes no second answer: is the {what} open in another window?"
            ) from error
        except sqlite3.DatabaseError as error:
            foreign = "not a database" in str(error)
            said = f"is not {layout.article} {layout.kind}"
            said = said if foreign else "is damaged: use a copy of it"
            raise InputError(f"{name} {said}.") from error
        except (KeyError, TypeError, ValueError, UnicodeError) as error:
            raise InputError(f"{name} is damaged: use a copy of it.") from error


def _what_happened(path: Path, error: sqlite3.OperationalError) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return f"{path.name} is in use by another program: close it there and try again."
    if "readonly" in text or "unable to open" in text:
        return f"{path} cannot be written: the folder or file is read-only."
    if "full" in text:
        return f"No space is left on the disk of {path}: free some and go on."
    return f"{path.name} cannot be read or written: {text}."


def _connect(path: Path, writable: bool) -> sqlite3.Connection:
    mode = "rw" if writable else "ro"
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)


def participant_name(text: str) -> str:
    """Return the name without needless blanks."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise InputError("A participant needs a name (or a code, to stay anonymous).")
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"A participant's name has at most {_LONGEST_NAME} readable letters.")
    return name


def name_key(name: str) -> str:
    """Return what makes two names the same: neither blanks nor upper case."""
    return participant_name(name).casefold()


def now() -> str:
    """Return the time, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
