"""What people said of the cells of a label image; nothing that was said is lost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from napari_cytodiffusion.layers.results import Results


class People:
    """Classes that people gave cells, by label, and how to take them back.

    Attributes
    ----------
    said : dict
        Class and observer of each cell.
    """

    def __init__(self, said: Mapping[int, tuple[str, str]] | None = None) -> None:
        self.said: dict[int, tuple[str, str]] = dict(said or {})
        self._before: list[tuple[int, tuple[str, str] | None]] = []
        self._undone: list[tuple[int, tuple[str, str] | None]] = []

    def say(self, label: int, name: str, observer: str = "") -> None:
        """Give a cell a class, in the place of what was said of it before."""
        self._before.append((label, self.said.get(label)))
        self._undone.clear()
        self.said[label] = (name, observer)

    def undo(self) -> int:
        """Take back what was said last; return of which cell, 0 where nothing was."""
        return self._turn(self._before, self._undone)

    def redo(self) -> int:
        """Say again what was taken back last; return of which cell, 0 where nothing was."""
        return self._turn(self._undone, self._before)

    def _turn(
        self,
        back: list[tuple[int, tuple[str, str] | None]],
        forth: list[tuple[int, tuple[str, str] | None]],
    ) -> int:
        if not back:
            return 0
        label, other = back.pop()
        forth.append((label, self.said.get(label)))
        if other is None:
            self.said.pop(label, None)
        else:
            self.said[label] = other
        return label

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
        names = results.class_names
        for batch in results.uncorrected.batches:
            ids = batch.crops.ids
            for row in np.flatnonzero(np.isin(ids, list(self.said))):
                reviewed += 1
                name = self.said[int(ids[row])][0]
                corrected += names[batch.result.predicted[row]] != name
        return reviewed, corrected
