"""One learner in front of one lesson: show, ask, answer, tell."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.lessons.answers import LessonAnswers
from cytodiffusion.lessons.content import LessonCell, LessonClass, Version


@dataclass(frozen=True, eq=False)
class Question:
    """A cell to name; nothing in it says what it is.

    Attributes
    ----------
    done, of : int
        Cells that do not come again, and all cells of the lesson.
    again : bool
        Whether it was answered wrongly before.
    synthetic : bool
        Nobody may take a picture that was drawn for that of a patient.
    pixels : (S, S, 3) uint8
    """

    done: int
    of: int
    again: bool
    synthetic: bool
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Reveal:
    """What is told of a cell after the answer.

    Attributes
    ----------
    cell : LessonCell
    said : LessonClass
    truth : LessonClass
    """

    cell: LessonCell
    said: LessonClass
    truth: LessonClass

    @property
    def right(self) -> bool:
        """Whether the answer was right."""
        return self.said.name == self.truth.name

    @property
    def version(self) -> Version | None:
        """The cell as another class: as the one that was said, where there is such a version."""
        versions = self.cell.versions
        own = (one for one in versions if one.target == self.said.name)
        return next(own, versions[0] if versions else None)

    @property
    def compared(self) -> dict[str, int]:
        """Reference cells beside it: of its class and, after a wrong answer, of the one said."""
        wanted = dict.fromkeys((self.truth.name, self.said.name))
        return {name: self.cell.nearest[name] for name in wanted if name in self.cell.nearest}

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes, those to look at for these classes first."""
        first = (*self.truth.attributes, *self.said.attributes)
        order = dict.fromkeys((*first, *self.cell.attributes))
        return [name for name in order if name in self.cell.attributes]


class LearnerSession:
    """Asks one learner the cells that are left.

    Parameters
    ----------
    answers : LessonAnswers
        Writable; stays open as long as the sitting goes on.
    learner : str
        The same name goes on with what was begun.
    mode : str
        ``"practise"`` or ``"test"``.
    """

    def __init__(self, answers: LessonAnswers, learner: str, mode: str = "practise") -> None:
        self.info = answers.begin(learner, mode)
        self.answers, self.lesson = answers, answers.lesson
        self.id, self.learner, self.mode = self.info.id, self.info.participant, self.info.mode
        self.resumed = self.info.answered > 0
        self._told = answers.answered(self.id)
        self._left = answers.left(self.info)

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return not self._left

    @property
    def done(self) -> int:
        """Cells that do not come again."""
        return len(self.lesson) - len(self._left)

    @property
    def score(self) -> tuple[int, int]:
        """Cells that were right at the first answer, and cells that were answered at all."""
        first: dict[int, bool] = {}
        for cell, _, right in self._told:
            first.setdefault(cell, right)
        return sum(first.values()), len(first)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """First answers ``(K, K)``: rows are what cells are, columns what was said."""
        return confusion(self.lesson.content.class_names, self._first_pairs())

    def _first_pairs(self) -> list[tuple[str, str]]:
        first: dict[int, str] = {}
        for cell, said, _ in self._told:
            first.setdefault(cell, said)
        cells = self.lesson.content.cells
        return [(cells[cell].class_name, said) for cell, said in first.items()]

    def show(self) -> Question | None:
        """Return the next cell, None after the last; each call is a showing and is recorded."""
        if not self._left:
            return None
        cell = self._left[0]
        one = self.lesson.content.cells[cell]
        self.answers.showing(self.id, len(self._told))
        again = any(cell == other for other, _, _ in self._told)
        pixels = self.lesson.picture(one.picture)
        return Question(self.done, len(self.lesson), again, one.synthetic, pixels)

    def answer(self, class_name: str, *, seconds: float) -> Reveal | None:
        """Record the answer to the current cell; tell all about it in practise mode."""
        if not self._left:
            raise InputError("Every cell of this lesson is answered already.")
        if class_name not in self.lesson.content.class_names:
            raise InputError(f"{class_name!r} is none of the classes of this lesson.")
        if not (math.isfinite(seconds) and seconds >= 0):
            raise InputError(f"An answer cannot take {seconds} seconds.")
        cell = self._left[0]
        right = self.lesson.content.cells[cell].class_name == class_name
        self.answers.answer(self.id, len(self._told), cell, class_name, right, seconds)
        self._told.append((cell, class_name, right))
        self._left = self.answers.left(self.info)
        return self._reveal(cell, class_name) if self.mode == "practise" else None

    def reveals(self) -> list[Reveal]:
        """Return what is told of all cells that were answered, by their first answers.

        Nothing in a test that is not finished. The wrong ones come first.
        """
        if self.mode == "test" and not self.finished:
            return []
        first: dict[int, str] = {}
        for cell, said, _ in self._told:
            first.setdefault(cell, said)
        found = [self._reveal(cell, said) for cell, said in first.items()]
        return sorted(found, key=lambda one: one.right)

    def again(self) -> dict[int, int]:
        """How often each cell was answered that was wrong at first."""
        counts = Counter(cell for cell, _, _ in self._told)
        return {cell: n for cell, n in counts.items() if n > 1}

    def _reveal(self, cell: int, said: str) -> Reveal:
        content = self.lesson.content
        named = {one.name: one for one in content.classes}
        one = content.cells[cell]
        return Reveal(one, named[said], named[one.class_name])


def confusion(names: tuple[str, ...], pairs: list[tuple[str, str]]) -> NDArray[np.int64]:
    """Count pairs of what cells are and what was said, ``(K, K)``."""
    number = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), np.int64)
    for true, said in pairs:
        counts[number[true], number[said]] += 1
    return counts
