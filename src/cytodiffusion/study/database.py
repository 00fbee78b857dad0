"""The SQLite file of a study: opened, checked, written in transactions, its errors as sentences.

The standard library's `sqlite3` is enough. There are a dozen statements of plain SQL, and what
matters is the engine's own: the write-ahead log, ``synchronous=FULL``, ``BEGIN IMMEDIATE``, and
triggers. SQLAlchemy would be one more dependency between them and us, would begin transactions of
its own unless told not to, and costs a tenth of a second at every start.

Several processes may use one study. Readers never wait; a writer takes the lock at the beginning
of its transaction, so that it waits for another one (`BUSY_SECONDS` at most) rather than fail in
the middle.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cytodiffusion import __version__
from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.study import schema

#: Name of the file in the folder of a study.
FILE = "study.db"
#: Seconds that a transaction waits for another process.
BUSY_SECONDS = 10.0

Values = Sequence[Any]


def now() -> str:
    """Return the time, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def create(folder: Path) -> None:
    """Write the file of an empty study; it appears whole or not at all."""
    facts = {"id": uuid.uuid4().hex, "created": now(), "program": __version__}
    with (
        atomic_file(folder / FILE) as partial,
        _sentences(folder / FILE, _name(folder)),
        contextlib.closing(sqlite3.connect(partial)) as connection,
    ):
        schema.create_tables(connection)
        with connection:
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        if (folder / FILE).exists():  # another program was faster
            raise InputError(f"{folder} is a study already.")


class Database:
    """A connection to the file of a study, for the one thread that opened it.

    Parameters
    ----------
    folder : Path
        Of the study.
    writable : bool
        False to look only, also where nothing may be written.
    busy_seconds : float
        How long a transaction waits for another process.
    """

    def __init__(
        self, folder: Path, *, writable: bool = True, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.path = folder / FILE
        self.name = _name(folder)
        self.writable = writable
        _check_there(folder)
        if writable and not may_write(folder):
            raise InputError(_read_only(self.path, self.name))  # before any work, not after it
        with self._sentences():
            self._connection = _connect(self.path, writable, busy_seconds)
        try:
            with self._sentences():
                self._check()
                self._connection.execute("PRAGMA foreign_keys = ON")
                if writable:  # only now: nothing is changed in a file that is not ours
                    self._connection.execute("PRAGMA journal_mode = WAL")
                    self._connection.execute("PRAGMA synchronous = FULL")
                    self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close it; the last of all processes folds the log into the file."""
        self._connection.close()

    def rows(self, query: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._sentences():
            return self._connection.execute(query, values).fetchall()

    def one(self, query: str, values: Values = ()) -> Any:
        """Return the first value of the first row, None where there is no row."""
        found = self.rows(query, values)
        return found[0][0] if found else None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; all that is written is on the disk when the block ends, or nothing.

        A block within another belongs to the outer one.
        """
        with self._sentences():
            if self._connection.in_transaction:
                yield self._connection
                return
            if not self.writable:
                raise InputError(f"The study {self.name} was opened only to look at it.")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk rolls back by itself
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries of the block see one state, whatever other processes write."""
        with self._sentences():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def damage(self) -> str:
        """Look through the whole file; return what is wrong with it, empty for nothing."""
        found = str(self.rows("PRAGMA integrity_check(1)")[0][0]).splitlines()
        if found != ["ok"]:
            return found[-1]  # the first line may name the database only
        lost = self.rows("PRAGMA foreign_key_check")
        return f"a row of {lost[0][0]} belongs to nothing" if lost else ""

    def _check(self) -> None:
        application = self._connection.execute("PRAGMA application_id").fetchone()[0]
        if application != schema.APPLICATION_ID:
            raise InputError(f"{self.path} is not the file of a study.")
        version = self.version
        if version > schema.VERSION:
            raise InputError(
                f"The study {self.name} was made by a newer version of cytodiffusion (format "
                f"{version}, this one knows {schema.VERSION}): update the program. Nothing was "
                "changed."
            )
        if version < schema.VERSION and not self.writable:
            raise InputError(
                f"The study {self.name} is of an older format ({version}): open it once where it "
                "can be written."
            )
        there = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master")}
        if version == schema.VERSION and not set(schema.TABLES) <= there:
            raise InputError(_damaged(self.name))

    @property
    def version(self) -> int:
        """Format of the file."""
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """Bring an older file to the present format, after a copy of it was put beside it."""
        if self.version == schema.VERSION:
            return
        self._back_up(self.path.with_name(f"study-format-{self.version}.db"))
        with self.transaction() as connection:
            for version in range(self.version, schema.VERSION):  # none where another was faster
                step = schema.MIGRATIONS.get(version)
                if step is None:
                    raise InputError(
                        f"The study {self.name} is of a format ({version}) that this version of "
                        "cytodiffusion no longer reads."
                    )
                step(connection)
                connection.execute(f"PRAGMA user_version = {version + 1}")

    def _back_up(self, target: Path) -> None:
        if target.exists():
            return
        with (
            atomic_file(target) as partial,
            contextlib.closing(sqlite3.connect(partial)) as copy,
        ):
            self._connection.backup(copy)

    def _sentences(self) -> contextlib.AbstractContextManager[None]:
        return _sentences(self.path, self.name)


@contextlib.contextmanager
def _sentences(path: Path, name: str) -> Iterator[None]:
    """Say what SQLite reports of the file of a study."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputError(_what_happened(path, name, error)) from error
    except sqlite3.ProgrammingError:  # a closed study, another thread: no fault of the file
        raise
    except sqlite3.IntegrityError as error:
        raise InputError(f"The study {name} does not take this: {error}.") from error
    except sqlite3.DatabaseError as error:
        foreign = "not a database" in str(error)
        raise InputError(
            f"{path} is not the file of a study." if foreign else _damaged(name)
        ) from error
    except UnicodeEncodeError as error:  # such as the name of a file in another encoding
        readable = str(error.object).encode("utf-8", "replace").decode()
        raise InputError(
            f"{readable!r} has signs that are no text: give it another name."
        ) from error


def may_write(folder: Path) -> bool:
    """Whether a study may be written, as far as the system's permissions go."""
    return all(os.access(place, os.W_OK) for place in (folder, folder / FILE))


def _name(folder: Path) -> str:
    return folder.name or str(folder.resolve())


def _check_there(folder: Path) -> None:
    try:
        if (folder / FILE).is_file():
            return
        why = "is not a study" if folder.exists() else "does not exist"
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}.") from error
    raise InputError(f"{folder} {why}: make one with cytodiffusion study new.")


def _connect(path: Path, writable: bool, busy_seconds: float) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={'rw' if writable else 'ro'}"
    logs = any(path.with_name(path.name + end).exists() for end in ("-wal", "-shm"))
    if not writable and not logs and not os.access(path.parent, os.W_OK):
        uri += "&immutable=1"  # a log cannot be made there, and nobody else can write
    return sqlite3.connect(uri, uri=True, timeout=busy_seconds, isolation_level=None)


def _damaged(name: str) -> str:
    return (
        f"The study {name} is damaged: use a copy of it. Nothing was changed in it, and its label "
        "images are whole files of their own."
    )


def _read_only(path: Path, name: str) -> str:
    return f"The study {name} cannot be written: {path.parent} or a file in it is read-only."


def _what_happened(path: Path, name: str, error: sqlite3.OperationalError) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return f"The study {name} is in use by another program: wait until that is done."
    if "readonly" in text or "unable to open" in text:
        return _read_only(path, name)
    if "full" in text:
        return (
            f"No space is left on the disk of the study {name}: free some and do this again. All "
            "before it is kept."
        )
    return f"The study {name} cannot be read or written: {text}."
