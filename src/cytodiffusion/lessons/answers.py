"""The answers to a lesson: a file beside it that only ever grows, as that of authenticity tests."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np

from cytodiffusion.authenticity.settings import order_of
from cytodiffusion.errors import InputError
from cytodiffusion.files.answer_store import (
    AnswerStore,
    SessionInfo,
    StoreLayout,
    name_key,
    now,
    participant_name,
    write_store,
)
from cytodiffusion.lessons.lesson_file import Lesson
from cytodiffusion.lessons.repetition import remaining
from cytodiffusion.lessons.settings import SUFFIX

#: Practise: the truth is told at once, and wrong cells come again. Test: it is told at the end.
MODES = ("practise", "test")

LAYOUT = StoreLayout(
    kind="file of answers to a lesson",
    article="a",
    application_id=0x43446C65,
    format=1,
    modes=MODES,
    answer="cell INTEGER NOT NULL, said TEXT NOT NULL, correct INTEGER NOT NULL "
    "CHECK (correct IN (0, 1))",
)


def answers_beside(path: Path) -> Path:
    """Return where the answers to a lesson are kept, by the path of the lesson."""
    name = path.name[: -len(SUFFIX)] if path.name.lower().endswith(SUFFIX) else path.stem
    return path.with_name(f"{name}.answers.sqlite")


class LessonAnswers(AnswerStore):
    """The opened answers to a lesson; a context manager.

    Parameters
    ----------
    lesson : Lesson
        The lesson that they belong to.
    path : Path, optional
        Of the file, which is made where it is missing; beside the lesson by default.
    writable : bool
        False to look at answers, also where nothing may be written.
    """

    layout = LAYOUT

    def __init__(self, lesson: Lesson, path: Path | None = None, *, writable: bool = True) -> None:
        self.lesson = lesson
        path = path or answers_beside(lesson.path)
        if writable and not path.exists():
            facts = {
                "id": uuid.uuid4().hex,
                "lesson": lesson.content.id,
                "title": lesson.content.title,
            }
            write_store(path, LAYOUT, facts)
        super().__init__(path, writable=writable)

    def __len__(self) -> int:
        return len(self.lesson)

    def begin(self, learner: str, mode: str = "practise") -> SessionInfo:
        """Return the sitting of a learner: the one to go on with, else a new one.

        Who has finished may begin again, with the cells in another order.
        """
        self.check_mode(mode)
        name = participant_name(learner)
        own = self.sittings_of(name)
        for sitting in own:
            if sitting.mode == mode and not self.is_finished(sitting):
                return sitting
        if mode == "practise":
            for sitting in own:
                if sitting.mode == "test" and not self.is_finished(sitting):
                    raise InputError(
                        f"{name} has not finished the test of this lesson: finish it first, as "
                        "practising tells the answers."
                    )
        return self.new_sitting(name, mode, self._order(name, len(own)))

    def _order(self, name: str, earlier: int) -> list[int]:
        """Return another order for each learner and each time."""
        seed = int(self.lesson.content.made.get("settings", {}).get("seed", 0))
        return [int(n) for n in order_of(len(self), seed, f"{name_key(name)}/{earlier}")]

    def answered(self, sitting: str) -> list[tuple[int, str, bool]]:
        """Return the answers of a sitting: cell, what was said, and whether it was right."""
        rows = self.rows(
            "SELECT cell, said, correct FROM answers WHERE sitting = ? ORDER BY position",
            (sitting,),
        )
        return [(int(cell), str(said), bool(right)) for cell, said, right in rows]

    def left(self, sitting: SessionInfo) -> list[int]:
        """Return the cells that are still to come, those that come again among them."""
        told = [(cell, right) for cell, _, right in self.answered(sitting.id)]
        again = sitting.mode == "practise"
        try:
            return remaining(self.order(sitting.id), told, again=again)
        except ValueError as error:
            raise InputError(f"{self.path.name} is damaged: {error}.") from error

    def is_finished(self, sitting: SessionInfo) -> bool:
        """Whether nothing is left of a sitting."""
        return not self.left(sitting)

    def answer(
        self, sitting: str, position: int, cell: int, said: str, correct: bool, seconds: float
    ) -> None:
        """Write an answer down; it is on the disk when this returns."""
        row = (sitting, position, cell, said, int(correct), float(seconds), now())
        self.append("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _read(self) -> None:
        if self.facts.get("lesson") != self.lesson.content.id:
            raise InputError(
                f"{self.path.name} has the answers to another lesson "
                f"({self.facts.get('title', 'without a title')}): move it, or rename one of the "
                "two."
            )
        cells = np.array(self._database.execute("SELECT cell FROM answers").fetchall(), np.int64)
        if cells.size and (cells.min() < 0 or cells.max() >= len(self)):
            raise InputError(f"{self.path.name} is damaged: an answer is to no cell of the lesson.")
