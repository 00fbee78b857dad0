"""What people said of the cells of a label image; nothing that was said is lost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from napari_cytodiffusion.layers.results import Results

#: Class and observer of some cells; None where nobody said anything.
_Words = dict[int, tuple[str, str] | None]


class People:
    """Classes that people gave cells, by label, and how to take them back.

    Attributes
    ----------
    said : dict
        Class and observer of each cell.
    """

    def __init__(self, said: Mapping[int, tuple[str, str]] | None = None) -> None:
        self.said: dict[int, tuple[str, str]] = dict(said or {})
        self._before: list[_Words] = []
        self._undone: list[_Words] = []

    def say(self, label: int, name: str, observer: str = "") -> None:
        """Give a cell a class, in the place of what was said of it before."""
        self.say_many({label: name}, observer)

    def say_many(self, names: Mapping[int, str], observer: str = "") -> None:
        """Give cells classes as one action, which one `undo` takes back."""
        self._before.append({label: self.said.get(label) for label in names})
        self._undone.clear()
        self.said.update({label: (name, observer) for label, name in names.items()})

    def undo(self) -> tuple[int, ...]:
        """Take back what was said last; return of which cells, none where nothing was."""
        return self._turn(self._before, self._undone)

    def redo(self) -> tuple[int, ...]:
        """Say again what was taken back last; return of which cells, none where nothing was."""
        return self._turn(self._undone, self._before)

    def _turn(self, back: list[_Words], forth: list[_Words]) -> tuple[int, ...]:
        if not back:
            return ()
        action = back.pop()
        forth.append({label: self.said.get(label) for label in action})
        for label, word in action.items():
            if word is None:
                self.said.pop(label, None)
            else:
                self.said[label] = word
        return tuple(action)

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._before)

    def moved(self, to: Mapping[int, int]) -> People:
        """Return what was said, of the cells that took the place of these."""
        return People({to[label]: said for label, said in self.said.items() if label in to})

    def counts(self, results: Results) -> tuple[int, int]:
        """Count cells that people looked at, and those that they gave another class.

        Another one than was predicted before anything was corrected.
        """
        reviewed = corrected = 0
        names, said = results.class_names, np.array(list(self.said), np.int64)
        for batch in results.uncorrected.batches:
            ids, predicted = batch.crops.ids, batch.result.predicted
            for row in np.flatnonzero(np.isin(ids, said)).tolist():
                reviewed += 1
                corrected += names[predicted[row]] != self.said[int(ids[row])][0]
        return reviewed, corrected
