"""The file of a test: one SQLite database that only ever grows.

Cells are written once. Showings and answers are appended, each in its own transaction that is on
the disk before the next cell is shown (write-ahead log, ``synchronous=FULL``), so a process that is
killed loses nothing that was answered. Triggers refuse to change or delete any row. When the file
is closed the log is folded in, and one plain file is left to copy.

The file holds the truth: who opens it with other tools can read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import unicodedata
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cytodiffusion.authenticity.settings import order_of
from cytodiffusion.authenticity.sources import TestCell
from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.files.writers import to_json

#: Blind: nobody is told anything before the end. Teaching: the answer is told at once.
MODES = ("blind", "teaching")
#: Marks the file as one of ours, and its format.
APPLICATION_ID, FORMAT = 0x43446154, 1
_LONGEST_NAME = 80
_BUSY_SECONDS = 5.0
_TABLES = ("facts", "cells", "sittings", "showings", "answers")
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cells (
    id INTEGER PRIMARY KEY, image BLOB NOT NULL, synthetic INTEGER NOT NULL
    CHECK (synthetic IN (0, 1)), class TEXT NOT NULL, source TEXT NOT NULL, confidence REAL);
CREATE TABLE sittings (
    id TEXT PRIMARY KEY, participant TEXT NOT NULL, key TEXT NOT NULL, mode TEXT NOT NULL
    CHECK (mode IN ('blind', 'teaching')), started TEXT NOT NULL, cell_order TEXT NOT NULL);
CREATE UNIQUE INDEX one_blind ON sittings (key) WHERE mode = 'blind';
CREATE TABLE showings (
    sitting TEXT NOT NULL REFERENCES sittings (id), position INTEGER NOT NULL, at TEXT NOT NULL);
CREATE TABLE answers (
    sitting TEXT NOT NULL REFERENCES sittings (id), position INTEGER NOT NULL,
    cell INTEGER NOT NULL REFERENCES cells (id), said_synthetic INTEGER NOT NULL
    CHECK (said_synthetic IN (0, 1)), said_class TEXT, seconds REAL NOT NULL
    CHECK (seconds >= 0), at TEXT NOT NULL, PRIMARY KEY (sitting, position));
CREATE TRIGGER in_order BEFORE INSERT ON answers
WHEN NEW.position <> (SELECT count(*) FROM answers WHERE sitting = NEW.sitting)
BEGIN SELECT RAISE(ABORT, 'answers come in order'); END;
"""
_KEPT = """
CREATE TRIGGER {table}_{what} BEFORE {what} ON {table}
BEGIN SELECT RAISE(ABORT, 'nothing is changed or deleted'); END;
"""


@dataclass(frozen=True)
class SessionInfo:
    """One participant's way through a test.

    Attributes
    ----------
    id, participant : str
    mode : str
        One of `MODES`.
    started : str
        ISO time, UTC.
    answered, of : int
        Trials.
    """

    id: str
    participant: str
    mode: str
    started: str
    answered: int
    of: int

    @property
    def finished(self) -> bool:
        """Whether every trial is answered."""
        return self.answered >= self.of


def write_test(
    path: Path, cells: Sequence[TestCell], classes: Sequence[str], record: Mapping[str, Any]
) -> None:
    """Write the file of a new test; it appears whole or not at all."""
    facts = {
        "id": uuid.uuid4().hex,
        "classes": to_json(list(classes)),
        "record": to_json(record),
        "digest": _digest((n, c.image, c.synthetic, c.class_name) for n, c in enumerate(cells)),
    }
    rows = [
        (n, c.image, int(c.synthetic), c.class_name, c.source, c.confidence)
        for n, c in enumerate(cells)
    ]
    with atomic_file(path) as partial, contextlib.closing(sqlite3.connect(partial)) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {FORMAT}")
        database.executescript(_SCHEMA)
        for table in _TABLES:
            for what in ("UPDATE", "DELETE"):
                database.executescript(_KEPT.format(table=table, what=what))
        with database:
            database.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
            database.executemany("INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?)", rows)


def _digest(rows: Iterator[tuple[int, bytes, bool | int, str]]) -> str:
    total = hashlib.sha256()
    for number, image, synthetic, name in rows:
        inner = hashlib.sha256(image).hexdigest()
        total.update(f"{number}\t{inner}\t{int(synthetic)}\t{name}\n".encode())
    return total.hexdigest()


class AuthenticityTest:
    """An opened test; a context manager. One thread at a time uses it, the one that opened it.

    Parameters
    ----------
    writable : bool
        False to look at results, also where nothing may be written.

    Attributes
    ----------
    path : Path
    id : str
        The same in all copies of the file.
    classes : tuple of str
    record : dict
        How it was made.
    """

    def __init__(self, path: str | Path, *, writable: bool = True) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"There is no authenticity test at {self.path}.")
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

    def __enter__(self) -> AuthenticityTest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Fold the log into the file, where nobody else has it open, and close it."""
        if self._writable:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("PRAGMA journal_mode = DELETE")
        self._database.close()

    # -- what is in it ------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._size

    @property
    def seed(self) -> int:
        """Seed of the test."""
        return int(self.record["settings"]["seed"])

    @property
    def asks_class(self) -> bool:
        """Whether participants may also say the class."""
        return bool(self.record["settings"]["ask_class"])

    def image(self, cell: int) -> bytes:
        """Return the JPEG of a cell."""
        return bytes(self._one("SELECT image FROM cells WHERE id = ?", (cell,))[0])

    def truth(self, cell: int) -> tuple[bool, str]:
        """Whether a cell is synthetic, and its class."""
        made, name = self._one("SELECT synthetic, class FROM cells WHERE id = ?", (cell,))
        return bool(made), str(name)

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

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._sentences():
            return self._database.execute(query, values).fetchall()

    def _one(self, query: str, values: Sequence[Any]) -> tuple[Any, ...]:
        found = self.rows(query, values)
        if not found:
            raise InputError(f"{self.path.name} is damaged: a cell is missing.")
        return found[0]

    # -- participants -------------------------------------------------------------------------

    def begin(self, participant: str, mode: str = "blind") -> SessionInfo:
        """Return the sitting of a participant: the one to go on with, else a new one."""
        if mode not in MODES:
            raise InputError(f"The mode {mode!r} is not one of {', '.join(MODES)}.")
        name = participant_name(participant)
        own = [s for s in self.sittings() if name_key(s.participant) == name_key(name)]
        _check_may_sit(name, mode, own)
        for sitting in own:
            if sitting.mode == mode and not sitting.finished:
                return sitting
        order = order_of(len(self), self.seed, name_key(name))
        row = (uuid.uuid4().hex, name, name_key(name), mode, now(), json.dumps(order.tolist()))
        self.append("INSERT INTO sittings VALUES (?, ?, ?, ?, ?, ?)", row)
        return next(s for s in self.sittings() if s.id == row[0])

    def order(self, sitting: str) -> list[int]:
        """Cells in the order in which a sitting shows them."""
        (text,) = self._one("SELECT cell_order FROM sittings WHERE id = ?", (sitting,))
        try:
            order = [int(cell) for cell in json.loads(text)]
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.path.name} is damaged: an order is unreadable.") from error
        if sorted(order) != list(range(len(self))):
            raise InputError(f"{self.path.name} is damaged: an order is not one of its cells.")
        return order

    def append(self, statement: str, values: Sequence[Any]) -> None:
        """Add a row; it is on the disk when this returns."""
        with self._sentences(), self._database:
            self._database.execute(statement, values)

    # -- checks -------------------------------------------------------------------------------

    def _check(self) -> None:
        name = self.path.name
        ours = self._database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        there = {r[0] for r in self._database.execute("SELECT name FROM sqlite_master")}
        if not ours or not set(_TABLES) <= there:
            raise InputError(f"{name} is not an authenticity test.")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT:
            raise InputError(
                f"{name} was made by another version of cytodiffusion (format {version})."
            )
        if self._database.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise InputError(f"{name} is damaged: use a copy of it.")
        facts = dict(self._database.execute("SELECT name, value FROM facts"))
        cells = self._database.execute("SELECT id, image, synthetic, class FROM cells ORDER BY id")
        rows = cells.fetchall()
        if not rows or _digest(iter(rows)) != facts.get("digest"):
            raise InputError(f"{name} is damaged: its cells are not those it was made with.")
        self.id, self._size = str(facts["id"]), len(rows)
        self.classes = tuple(map(str, json.loads(facts["classes"])))
        self.record: dict[str, Any] = json.loads(facts["record"])

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(_what_happened(self.path, error)) from error
        except sqlite3.IntegrityError as error:
            raise InputError(
                f"{self.path.name} takes no second answer: is the test open in another window?"
            ) from error
        except sqlite3.DatabaseError as error:
            foreign = "not a database" in str(error)
            said = "is not an authenticity test" if foreign else "is damaged: use a copy of it"
            raise InputError(f"{self.path.name} {said}.") from error
        except (KeyError, TypeError, ValueError, UnicodeError) as error:
            raise InputError(f"{self.path.name} is damaged: use a copy of it.") from error


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


def _check_may_sit(name: str, mode: str, own: Sequence[SessionInfo]) -> None:
    if mode == "blind":
        if any(s.finished for s in own if s.mode == "blind"):
            raise InputError(
                f"{name} has finished this test already: the result stands. Another person takes "
                "another name; the same person takes another test."
            )
        told = sum(s.answered for s in own if s.mode == "teaching")
        if told:
            raise InputError(
                f"{name} has seen the answers for {told} of these cells in teaching mode: for a "
                "blind result make another test, with another seed."
            )
    elif any(not s.finished for s in own if s.mode == "blind"):
        raise InputError(
            f"{name} has not finished the blind test of these cells: finish it first, or learn "
            "from another test."
        )


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
