"""One participant in front of one test: show, answer, next; never back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.authenticity.standardise import decode
from cytodiffusion.authenticity.store import AuthenticityTest, SessionInfo
from cytodiffusion.errors import InputError
from cytodiffusion.files.answer_store import now


@dataclass(frozen=True, eq=False)
class Question:
    """A cell to judge; nothing in it says what it is.

    Attributes
    ----------
    number, of : int
        Number of the trial, from 1, and of all.
    pixels : (S, S, 3) uint8
    """

    number: int
    of: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Feedback:
    """What teaching mode tells after an answer.

    Attributes
    ----------
    synthetic : bool
    class_name : str
    right : bool
        Whether real or synthetic was answered rightly.
    class_right : bool or None
        Whether the class was; None where none was said.
    cell : int
        Its number in the test, for what a judge says of it.
    """

    synthetic: bool
    class_name: str
    right: bool
    class_right: bool | None
    cell: int


class ParticipantSession:
    """Asks one participant the trials that are left.

    Parameters
    ----------
    test : AuthenticityTest
        Writable; stays open as long as the sitting goes on.
    mode : str
        ``"blind"`` or ``"teaching"``.
    """

    def __init__(self, test: AuthenticityTest, participant: str, mode: str = "blind") -> None:
        info: SessionInfo = test.begin(participant, mode)
        self.test, self.id, self.participant, self.mode = test, info.id, info.participant, mode
        self._order = test.order(info.id)
        self.answered = info.answered

    @property
    def finished(self) -> bool:
        """Whether every trial is answered."""
        return self.answered >= len(self._order)

    def show(self) -> Question | None:
        """Return the next trial, None after the last.

        Each call is a showing and is recorded: a cell that was shown before the answer, and hidden
        by a pause or by closing the window, has no answer time that means anything.
        """
        if self.finished:
            return None
        image = self.test.image(self._order[self.answered])
        pixels = decode(image)
        self.test.showing(self.id, self.answered)
        return Question(self.answered + 1, len(self._order), pixels)

    def answer(
        self, synthetic: bool, class_name: str | None = None, *, seconds: float
    ) -> Feedback | None:
        """Record the answer to the current trial; it is on the disk when this returns."""
        if self.finished:
            raise InputError("Every cell of this test is answered already.")
        if class_name is not None and class_name not in self.test.classes:
            raise InputError(f"{class_name!r} is none of the classes of this test.")
        if not (math.isfinite(seconds) and seconds >= 0):
            raise InputError(f"An answer cannot take {seconds} seconds.")
        cell = self._order[self.answered]
        row = (self.id, self.answered, cell, int(synthetic), class_name, float(seconds), now())
        self.test.append("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self.answered += 1
        if self.mode == "blind":
            return None
        made, name = self.test.truth(cell)
        agreed = None if class_name is None else class_name == name
        return Feedback(made, name, made == synthetic, agreed, cell)
