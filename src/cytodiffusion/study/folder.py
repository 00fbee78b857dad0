"""The folder of a study, made, opened and closed, and where its user was."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import prepare_folder
from cytodiffusion.files.writers import to_json
from cytodiffusion.study import database
from cytodiffusion.study.images import LABELS


class StudyFolder:
    """An open folder of a study; a context manager."""

    def __init__(
        self,
        folder: str | Path,
        *,
        writable: bool = True,
        busy_seconds: float = database.BUSY_SECONDS,
    ) -> None:
        self.folder = Path(folder)
        self._database = database.Database(
            self.folder, writable=writable, busy_seconds=busy_seconds
        )

    @classmethod
    def create(cls, folder: str | Path) -> Self:
        """Make a new study and open it.

        Parameters
        ----------
        folder : str or Path
            Made where it is missing; it must not be a study already.

        Returns
        -------
        Study
            Open, to be written.

        Raises
        ------
        InputError
            If there is a study already, or the folder cannot be written.
        """
        target = Path(folder)
        if (target / database.FILE).exists():
            raise InputError(f"{target} is a study already.")
        prepare_folder(target / LABELS)
        database.create(target)
        return cls(target)

    @classmethod
    def open(cls, folder: str | Path, *, writable: bool = True) -> Self:
        """Open a study; see the parameters of the class.

        A study of an older format is brought to the present one; the file as it was is kept beside
        it.
        """
        return cls(folder, writable=writable)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def database(self) -> database.Database:
        """The file, for what belongs to the study."""
        return self._database

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self._database.name

    @property
    def id(self) -> str:
        """The same in all copies of the study."""
        return str(self._database.one("SELECT value FROM facts WHERE name = 'id'"))

    def remember(self, name: str, value: Any) -> None:
        """Keep anything that JSON can hold, such as what was open."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, to_json(value)))

    def recall(self, name: str, default: Any = None) -> Any:
        """Return what was kept."""
        found = self._database.one("SELECT value FROM state WHERE name = ?", (name,))
        return default if found is None else json.loads(found)
