"""The file of a test: its cells, written once, and the answers, which are only ever added.

The file holds the truth: who opens it with other tools can read it. How answers are kept is in
`cytodiffusion.files.answer_store`.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cytodiffusion.authenticity.settings import order_of
from cytodiffusion.authenticity.sources import TestCell
from cytodiffusion.errors import InputError
from cytodiffusion.files.answer_store import (
    AnswerStore,
    StoreLayout,
    name_key,
    participant_name,
    write_store,
)
from cytodiffusion.files.answer_store import SessionInfo as SessionInfo
from cytodiffusion.files.writers import to_json

#: Blind: nobody is told anything before the end. Teaching: the answer is told at once.
MODES = ("blind", "teaching")

LAYOUT = StoreLayout(
    kind="authenticity test",
    article="an",
    application_id=0x43446154,
    format=1,
    modes=MODES,
    answer="cell INTEGER NOT NULL REFERENCES cells (id), said_synthetic INTEGER NOT NULL "
    "CHECK (said_synthetic IN (0, 1)), said_class TEXT",
    tables="CREATE TABLE cells (id INTEGER PRIMARY KEY, image BLOB NOT NULL, synthetic INTEGER "
    "NOT NULL CHECK (synthetic IN (0, 1)), class TEXT NOT NULL, source TEXT NOT NULL, "
    "confidence REAL);",
    rules="CREATE UNIQUE INDEX one_blind ON sittings (key) WHERE mode = 'blind';",
    table_names=("cells",),
)


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
    write_store(path, LAYOUT, facts, {"cells": rows})


def _digest(rows: Iterator[tuple[int, bytes, bool | int, str]]) -> str:
    total = hashlib.sha256()
    for number, image, synthetic, name in rows:
        inner = hashlib.sha256(image).hexdigest()
        total.update(f"{number}\t{inner}\t{int(synthetic)}\t{name}\n".encode())
    return total.hexdigest()


class AuthenticityTest(AnswerStore):
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

    layout = LAYOUT

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
        return bytes(self.one("SELECT image FROM cells WHERE id = ?", (cell,))[0])

    def truth(self, cell: int) -> tuple[bool, str]:
        """Whether a cell is synthetic, and its class."""
        made, name = self.one("SELECT synthetic, class FROM cells WHERE id = ?", (cell,))
        return bool(made), str(name)

    def begin(self, participant: str, mode: str = "blind") -> SessionInfo:
        """Return the sitting of a participant: the one to go on with, else a new one."""
        self.check_mode(mode)
        name = participant_name(participant)
        own = self.sittings_of(name)
        _check_may_sit(name, mode, own)
        for sitting in own:
            if sitting.mode == mode and not sitting.finished:
                return sitting
        order = order_of(len(self), self.seed, name_key(name))
        return self.new_sitting(name, mode, order.tolist())

    def _read(self) -> None:
        cells = self._database.execute("SELECT id, image, synthetic, class FROM cells ORDER BY id")
        rows = cells.fetchall()
        if not rows or _digest(iter(rows)) != self.facts.get("digest"):
            raise InputError(
                f"{self.path.name} is damaged: its cells are not those it was made with."
            )
        self.id, self._size = str(self.facts["id"]), len(rows)
        self.classes = tuple(map(str, json.loads(self.facts["classes"])))
        self.record: dict[str, Any] = json.loads(self.facts["record"])


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
