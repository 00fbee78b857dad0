"""Labels for a second look: what people said, and both the model and similar cells contradict.

The model alone is no judge: on another laboratory's slides it may get a whole class wrong, and then
every correct label of that class contradicts it. Similar cells alone are none either: classes lie
close together. A label is suspect where both contradict it: the model calls the cell another class,
and in the network's embedding the cell lies nearer to cells of another class than to others of its
own. The cells it is compared with are those that people labelled, and the unlabelled ones that the
model is sure of. Distances are to the few nearest cells of each class, so that a class with few
cells is not outvoted (compare confident learning, Northcutt et al. 2021, which needs many labels).

A label of a class that the model does not know is never suspect, nor is the first of its class.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.files.writers import write_cells_csv
from cytodiffusion.progress import Progress, silent
from cytodiffusion.study.annotations import HumanClass, human_labels
from cytodiffusion.study.classes import class_finder
from cytodiffusion.study.evidence import evidence_run

if TYPE_CHECKING:
    from cytodiffusion.classification.result import Classification
    from cytodiffusion.study.study import Study

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Nearest cells of each class that a cell is compared with; 1 to 10 give nearly the same list.
NEIGHBOURS = 5

#: Least confidence of the model for an unlabelled cell to be compared with.
CONFIDENT = 0.9

#: Cells whose distances to all others are held in memory at once.
_AT_ONCE = 256


@dataclass(frozen=True)
class Suspect:
    """A label for a second look.

    Attributes
    ----------
    cell : int
        Its number in the study.
    image : str
    label : int
        Of the cell in its image.
    human, observer : str
        The class that people gave, and who did.
    predicted : str
        What the model says.
    probability : float
        That the model gives to the class that people gave.
    similar : str
        Class of the cells that it lies nearest to.
    score : float
        0 to 1; the list is in its order: the probability that the model gives to other classes
        times the share of the distance to cells of the label's class in that to both.
    """

    cell: int
    image: str
    label: int
    human: str
    observer: str
    predicted: str
    probability: float
    similar: str
    score: float


def suspect_labels(study: Study, *, progress: Progress = silent) -> list[Suspect]:
    """Return the labels that both the model and similar cells contradict, the worst first.

    Parameters
    ----------
    study : Study
        Cells on which people disagree without a majority are left out.
    progress : callable
        Called with the share done; may raise ``Cancelled``.

    Returns
    -------
    list of Suspect
        Empty, too, where the model keeps no embedding, as the baselines do not.
    """
    return find_suspects(study, human_labels(study.database), progress=progress)


def find_suspects(
    study: Study, said: Mapping[int, HumanClass], *, progress: Progress = silent
) -> list[Suspect]:
    """Return which of certain labels are suspect, by the numbers of the cells."""
    found: list[Suspect] = []
    for group in _classified(study, progress):
        found += group.suspects(said)
    return sorted(found, key=lambda one: -one.score)


def write_suspects(path: str | Path, suspects: Sequence[Suspect]) -> Path:
    """Write suspect labels as CSV; an empty table where there are none."""
    import pandas as pd

    columns = list(Suspect.__dataclass_fields__)[1:]
    return write_cells_csv(path, pd.DataFrame([asdict(one) for one in suspects], columns=columns))


@dataclass(frozen=True)
class _Cells:
    """Cells that one model classified.

    ``names`` are the study's words for the model's classes, or for finer ones that it tells beside
    the class; their values are columns of ``posterior``.
    """

    numbers: Ints
    places: list[tuple[str, int]]
    names: Mapping[str, int]
    classes: tuple[str, ...]
    posterior: Floats
    embedding: Floats

    def suspects(self, said: Mapping[int, HumanClass]) -> list[Suspect]:
        human = [said.get(int(number), HumanClass()) for number in self.numbers]
        given = np.array([self.names.get(one.consensus, -1) for one in human], np.int64)
        predicted = self.posterior.argmax(axis=1)
        sure = self.posterior.max(axis=1) >= CONFIDENT
        unsaid = np.array([not one.human for one in human], bool)
        meant = np.where(unsaid & sure, predicted, given)
        rows = np.flatnonzero((given >= 0) & (predicted != given))
        distances = self._distances(rows, meant)
        found = []
        for row, away in zip(rows, distances, strict=True):
            own, nearest = float(away[given[row]]), int(away.argmin())
            if not np.isfinite(own) or own <= away[nearest]:
                continue
            probability = float(self.posterior[row, given[row]])
            image, label = self.places[row]
            found.append(
                Suspect(
                    *(int(self.numbers[row]), image, label, human[row].consensus),
                    *(human[row].observer, self.classes[predicted[row]], probability),
                    *(self.classes[nearest], (1 - probability) * own / (own + away[nearest])),
                )
            )
        return found

    def _distances(self, rows: Ints, meant: Ints) -> Floats:
        """Mean distance ``(R, K)`` of cells to the nearest others of each class; infinite to none.

        A class with fewer cells than `NEIGHBOURS` is represented by those it has.
        """
        found = np.full((len(rows), len(self.classes)), np.inf)
        points = self.embedding - self.embedding.mean(axis=0)
        points /= np.maximum(points.std(axis=0), 1e-9)
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
        for k in range(len(self.classes)):
            members = np.flatnonzero(meant == k)
            if not len(members):
                continue
            for start in range(0, len(rows), _AT_ONCE):
                part = rows[start : start + _AT_ONCE]
                away = np.sqrt(np.maximum(2 - 2 * points[part] @ points[members].T, 0.0))
                away[part[:, None] == members[None]] = np.inf  # no cell is its own neighbour
                most = min(NEIGHBOURS, len(members))
                nearest = np.partition(away, most - 1, axis=1)[:, :most]
                there = np.isfinite(nearest)
                total = np.where(there, nearest, 0.0).sum(axis=1)
                with np.errstate(divide="ignore", invalid="ignore"):
                    mean = total / there.sum(axis=1)
                found[start : start + _AT_ONCE, k] = np.where(there.any(axis=1), mean, np.inf)
        return found


def _classified(study: Study, progress: Progress) -> Iterator[_Cells]:
    """Yield the classified cells of each model; embeddings of two models cannot be compared."""
    runs = {run.id: run.sha256 for run in study.runs()}
    images = study.images()
    frame = study.cells()
    find = class_finder(study.database)
    groups: dict[tuple[str, ...], list[tuple[Ints, Classification]]] = defaultdict(list)
    for number, image in enumerate(images):
        progress(number / len(images), image.name)
        kept = study.classification(image.name)
        if kept is not None and kept[1].embedding is not None and len(kept[0]):
            run = runs[evidence_run(study.database, image.id)]
            groups[run, *kept[1].class_names].append(kept)
    for parts in groups.values():
        first = parts[0][1]
        spelt = {name: getattr(find(name), "name", name) for name in first.class_names}
        names = {spelt[name]: k for k, name in enumerate(first.class_names)}
        for trait in first.traits:
            for value in trait.values:
                word = getattr(find(value), "name", value)
                if trait.parent in spelt:
                    names.setdefault(word, names[spelt[trait.parent]])
        numbers = np.concatenate([cells for cells, _ in parts])
        rows = frame.loc[numbers]
        yield _Cells(
            numbers=numbers,
            places=list(zip(rows["image"].astype(str), map(int, rows["label"]), strict=True)),
            names=names,
            classes=tuple(spelt[name] for name in first.class_names),
            posterior=np.concatenate([result.posterior for _, result in parts]),
            embedding=np.concatenate([np.asarray(r.embedding, np.float64) for _, r in parts]),
        )
