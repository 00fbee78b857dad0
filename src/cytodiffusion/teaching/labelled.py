"""What there is to learn from in a study: its labelled cells, and which of them are held back."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.teaching.settings import TeachSettings
from cytodiffusion.traits import Trait

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.model.bundle import ModelBundle
    from cytodiffusion.study import Study

#: Fewer cells than this teach nothing, neither all together nor of a class that is new.
LEAST_CELLS = 3

#: Where a class has so many times as many cells as another, the user is told.
UNEVEN = 10

#: What stands between classes of a cell about which people disagree.
BETWEEN = "|"


@dataclass(frozen=True, eq=False)
class LabelledCells:
    """Labelled cells of a study, as a model would learn from them.

    Attributes
    ----------
    class_names : tuple of str
        The classes of the model, and then the new ones.
    new_classes : tuple of str
        Those that the model does not know.
    cells : (N,) int64 array
        Numbers of the cells in the study.
    images : (N,) object array
        Names of their images.
    labels : (N,) int64 array
        Their labels in these.
    classes : (N,) int64 array
        What people gave them, as numbers of ``class_names``.
    keys : (N,) int64 array
        From the checksum of the image and the label: the same for the same cell everywhere.
    held_back : (N,) bool array
        Cells that nothing is learnt from.
    disputed : int
        Cells about which people disagree; they are left out.
    notes : tuple of str
        Sentences that the user should read.
    """

    class_names: tuple[str, ...]
    new_classes: tuple[str, ...]
    cells: NDArray[np.int64]
    images: NDArray[np.object_]
    labels: NDArray[np.int64]
    classes: NDArray[np.int64]
    keys: NDArray[np.int64]
    held_back: NDArray[np.bool_]
    disputed: int = 0
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def learnt(self) -> dict[str, int]:
        """Cells of each class that are learnt from; classes without any are left out."""
        return self._counts(~self.held_back)

    @property
    def tried(self) -> dict[str, int]:
        """Cells of each class that are held back."""
        return self._counts(self.held_back)

    def _counts(self, rows: NDArray[np.bool_]) -> dict[str, int]:
        found = np.bincount(self.classes[rows], minlength=len(self.class_names))
        return {n: int(c) for n, c in zip(self.class_names, found, strict=True) if c}


def survey(
    study: Study, model: ModelBundle, settings: TeachSettings | None = None
) -> LabelledCells:
    """Return what a model would learn from a study.

    Parameters
    ----------
    study : Study
    model : ModelBundle
        That is to learn.
    settings : TeachSettings, optional

    Returns
    -------
    LabelledCells
        Also where it is empty; `check_labelled` says whether it suffices.
    """
    settings = settings or TeachSettings()
    frame = study.cells()
    said = frame[frame["human"] != ""]
    disputed = said["human"].astype(str).str.contains(BETWEEN, regex=False)
    agreed: pd.DataFrame = said[~disputed]
    known = _known_names(study, model.class_names, model.traits)
    new = sorted(set(agreed["human"]) - known.keys())
    names = (*model.class_names, *new)
    number = known | {name: len(model.class_names) + i for i, name in enumerate(new)}
    checksums = {image.name: image.sha256 for image in study.images()}
    keys = cell_keys(
        [checksums[name] for name in agreed["image"]], [int(label) for label in agreed["label"]]
    )
    labelled = LabelledCells(
        class_names=names,
        new_classes=tuple(new),
        cells=agreed.index.to_numpy(np.int64),
        images=agreed["image"].to_numpy(object),
        labels=agreed["label"].to_numpy(np.int64),
        classes=np.array([number[name] for name in agreed["human"]], np.int64),
        keys=keys,
        held_back=is_held_back(keys, settings.held_back),
        disputed=int(disputed.sum()),
    )
    return _without_small(labelled)


def check_labelled(labelled: LabelledCells) -> None:
    """Raise InputError where too few cells are labelled to learn anything."""
    learnt = sum(labelled.learnt.values())
    if learnt >= LEAST_CELLS:
        return
    if not len(labelled) and labelled.disputed:
        raise InputError(
            f"People disagree about all {labelled.disputed} labelled cells: there is nothing to "
            "learn from until they agree on some."
        )
    if not len(labelled) and not labelled.notes:
        raise InputError("No cell of the study has a class from a person yet: give some cells one.")
    there = "is 1 cell" if learnt == 1 else f"are {learnt} cells"
    raise InputError(
        f"There {there} to learn from, and at least {LEAST_CELLS} are needed. "
        f"{' '.join(labelled.notes)}".strip()
    )


def cell_keys(checksums: Sequence[str], labels: Sequence[int]) -> NDArray[np.int64]:
    """Return a number for each cell ``(N,)``, from its image's checksum and its label there."""
    found = [
        hashlib.sha256(f"{checksum}:{label}".encode()).digest()[:8]
        for checksum, label in zip(checksums, labels, strict=True)
    ]
    return np.array([int.from_bytes(d, "big", signed=True) for d in found], np.int64)


def is_held_back(keys: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Tell which cells ``(N,)`` are held back: by the hash alone, so that none ever moves."""
    return np.asarray((keys & 0xFFFFFFFF) < share * 2**32)


def _known_names(study: Study, names: Sequence[str], traits: Iterable[Trait]) -> dict[str, int]:
    """Return the numbers of the model's classes, by what the study calls them.

    A finer class of the model is the class that it is a kind of, where it is none itself.
    """
    number = {name: index for index, name in enumerate(names)}
    finer = {
        value: number[trait.parent]
        for trait in traits
        if trait.parent in number
        for value in trait.values
        if value not in number
    }
    meant = study.meanings([*number, *finer])
    found = {meant.get(name, name): index for name, index in finer.items()}
    return found | {meant.get(name, name): index for name, index in number.items()}


def _without_small(labelled: LabelledCells) -> LabelledCells:
    """Leave out new classes of which too few cells can be learnt from; say what is odd."""
    learnt, notes = Counter(labelled.learnt), []
    small = [name for name in labelled.new_classes if learnt[name] < LEAST_CELLS]
    for name in small:
        has = "1 cell" if learnt[name] == 1 else f"{learnt[name]} cells"
        notes.append(
            f"The new class {name} has {has} to learn from and is left out: it needs {LEAST_CELLS}."
        )
    names = tuple(n for n in labelled.class_names if n not in small)
    place = {name: index for index, name in enumerate(names)}
    moved = np.array([place.get(name, -1) for name in labelled.class_names], np.int64)
    kept = moved[labelled.classes] >= 0
    if labelled.disputed:
        are = "1 cell is" if labelled.disputed == 1 else f"{labelled.disputed} cells are"
        notes.append(f"{are} left out: people gave different classes.")
    fewer = LabelledCells(
        class_names=names,
        new_classes=tuple(n for n in labelled.new_classes if n not in small),
        cells=labelled.cells[kept],
        images=labelled.images[kept],
        labels=labelled.labels[kept],
        classes=moved[labelled.classes[kept]],
        keys=labelled.keys[kept],
        held_back=labelled.held_back[kept],
        disputed=labelled.disputed,
    )
    return _with_notes(fewer, notes)


def _with_notes(labelled: LabelledCells, notes: list[str]) -> LabelledCells:
    learnt = labelled.learnt
    if len(learnt) == 1 and sum(learnt.values()) >= LEAST_CELLS:
        notes.append(
            f"All cells to learn from are of the class {next(iter(learnt))}: give cells of other "
            "classes theirs too, or the model may see that class too often."
        )
    elif learnt and max(learnt.values()) >= UNEVEN * min(learnt.values()):
        most, least = max(learnt, key=learnt.__getitem__), min(learnt, key=learnt.__getitem__)
        notes.append(
            f"The classes are uneven: {learnt[most]} cells of {most}, {learnt[least]} of {least}."
        )
    if lone := [name for name in labelled.tried if name not in learnt]:
        notes.append(f"All cells of {', '.join(lone)} are held back: give more cells that class.")
    return replace(labelled, notes=tuple(notes))
