"""How far the observers of a study agree, and which cells they should look at together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.files.writers import write_cells_csv
from cytodiffusion.metrics.agreement import (
    Agreement,
    ClassAgreement,
    agreement_by_class,
    cohens_kappa,
    fleiss_kappa,
)
from cytodiffusion.settings import RESAMPLES
from cytodiffusion.study.annotations import consensus, said_of_cells
from cytodiffusion.study.predictions import CHOSEN

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.study.study import Study


@dataclass(frozen=True)
class SharedCell:
    """A cell that several observers labelled.

    Attributes
    ----------
    cell : int
        Its number in the study.
    image : str
    label : int
    classes : dict of str to str
        What each observer says.
    consensus : str
        The class that most of them gave; empty where two classes have equally many votes.
    predicted : str
        What the model says.
    """

    cell: int
    image: str
    label: int
    classes: dict[str, str]
    consensus: str
    predicted: str

    @property
    def agreed(self) -> bool:
        """Whether all observers gave the same class."""
        return len(set(self.classes.values())) == 1

    @property
    def votes(self) -> list[tuple[str, int]]:
        """Classes and how many gave each, the most frequent first."""
        return Counter(self.classes.values()).most_common()


@dataclass(frozen=True)
class ObserverAgreement:
    """How far the observers of a study agree.

    Attributes
    ----------
    observers : dict of str to int
        How many cells each labelled.
    pairs : tuple of (str, str, Agreement)
        Cohen's kappa of every two who labelled the same cells.
    together : Agreement or None
        Fleiss' kappa of all; None without a cell that two of them labelled.
    classes : dict of str to ClassAgreement
        Agreement about each class that one of several observers gave, in the study's order.
    cells : tuple of SharedCell
        Labelled by several observers, those first on which they agree least: without a majority,
        then with the smallest one.
    """

    observers: dict[str, int]
    pairs: tuple[tuple[str, str, Agreement], ...]
    together: Agreement | None
    classes: dict[str, ClassAgreement]
    cells: tuple[SharedCell, ...]

    @property
    def disputed(self) -> list[SharedCell]:
        """Cells that were given several classes, those first on which people agree least."""
        return [cell for cell in self.cells if not cell.agreed]

    @property
    def sentences(self) -> list[str]:
        """What a reader should know first."""
        if self.together is None:
            many = len(self.observers) > 1
            why = "no cell was labelled by two of them" if many else "it takes two observers"
            return [f"Nothing can be said of agreement yet: {why}."]
        disputed = self.disputed
        open_ = sum(not cell.consensus for cell in disputed)
        cells = "1 cell" if len(self.cells) == 1 else f"{len(self.cells):,} cells"
        said = [
            f"Of {cells} with several labels, {len(disputed):,} "
            f"{'is' if len(disputed) == 1 else 'are'} disputed; {open_:,} of these "
            f"{'has' if open_ == 1 else 'have'} no majority, so that the model's class counts."
        ]
        said += [agreement_sentence(f"{a} and {b}", one) for a, b, one in self.pairs]
        if len(self.pairs) > 1:
            said.append(agreement_sentence("All observers", self.together, "Fleiss' kappa"))
        return said

    def record(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {
            "observers": self.observers,
            "shared": len(self.cells),
            "agreed": len(self.cells) - len(self.disputed),
            "without_majority": sum(not cell.consensus for cell in self.cells),
            "pairs": [
                {"observers": [first, second], **asdict(one)} for first, second, one in self.pairs
            ],
            "fleiss": None if self.together is None else asdict(self.together),
            "classes": {name: asdict(one) for name, one in self.classes.items()},
            "disputed": [asdict(cell) for cell in self.disputed],
        }


def agreement_sentence(who: str, one: Agreement, name: str = "kappa") -> str:
    """Return how far some people agree, in a sentence with intervals."""
    cells = "1 cell" if one.cells == 1 else f"{one.cells:,} cells"
    low, high = one.share_interval
    said = f"{who} agree in {one.share:.0%} ({low:.0%} to {high:.0%}) on {cells}"
    if np.isnan(one.kappa):
        return f"{said}; all gave one class only, so that {name} cannot be told."
    low, high = one.kappa_interval
    return f"{said}: {name} {one.kappa:.2f} ({low:.2f} to {high:.2f})."


def observer_agreement(
    study: Study, *, seed: int = 0, resamples: int = RESAMPLES
) -> ObserverAgreement:
    """Return how far the observers of a study agree, with 95 % bootstrap intervals.

    Parameters
    ----------
    study : Study
    seed : int
        Of the resamples.
    resamples : int
        Of the bootstrap.

    Returns
    -------
    ObserverAgreement
    """
    with study.database.snapshot():
        shared = shared_cells(study)
        counts = dict(
            study.database.rows(
                "SELECT o.name, count(*) FROM said s JOIN observers o ON o.id = s.observer "
                "JOIN cells c ON c.id = s.cell WHERE c.gone IS NULL AND s.class IS NOT NULL "
                "GROUP BY 1"
            )
        )
    names = [one.name for one in study.classes()]
    given = {name for cell in shared for name in cell.classes.values()}
    names = [name for name in names if name in given]
    votes = np.array(
        [[list(cell.classes.values()).count(name) for name in names] for cell in shared], np.int64
    ).reshape(len(shared), len(names))
    how = {"seed": seed, "resamples": resamples}
    pairs = []
    for first, second in combinations(study.observers(), 2):
        both = [cell.classes for cell in shared if first in cell.classes and second in cell.classes]
        if both:
            one, other = (_numbers([c[who] for c in both], names) for who in (first, second))
            pairs.append((first, second, cohens_kappa(one, other, len(names), **how)))
    by_class = agreement_by_class(votes, **how) if shared else []
    return ObserverAgreement(
        observers={name: int(counts.get(name, 0)) for name in study.observers()},
        pairs=tuple(pairs),
        together=fleiss_kappa(votes, **how) if shared else None,
        classes=dict(zip(names, by_class, strict=True)),
        cells=tuple(shared),
    )


def shared_cells(study: Study) -> list[SharedCell]:
    """Return the cells that several observers labelled, those first that need a talk."""
    said = said_of_cells(study.database)
    rows = study.database.rows(
        "SELECT c.id, i.name, c.label, p.predicted FROM cells c JOIN images i ON i.id = c.image "
        f"LEFT JOIN predictions p ON p.cell = c.id AND {CHOSEN} "
        "WHERE c.gone IS NULL ORDER BY i.id, c.label"
    )
    found = []
    for number, image, label, predicted in rows:
        classes = {observer: name for name, observer in said.get(number, ())}
        if len(classes) > 1:
            most = consensus(classes.values())
            found.append(SharedCell(number, image, label, classes, most, predicted or ""))
    return sorted(found, key=lambda cell: (bool(cell.consensus), _share_of_first(cell)))


def write_shared_cells(path: str | Path, cells: Sequence[SharedCell]) -> Path:
    """Write cells with what each observer says as CSV; a column ``class by NAME`` each."""
    import pandas as pd

    people = list(dict.fromkeys(name for cell in cells for name in cell.classes))
    frame = pd.DataFrame(
        [
            {
                **{"image": c.image, "label": c.label, "predicted": c.predicted},
                **{f"class by {name}": c.classes.get(name, "") for name in people},
                **{"consensus": c.consensus, "agreed": c.agreed},
            }
            for c in cells
        ]
    )
    return write_cells_csv(path, frame)


def answers_of(path: Path | None) -> pd.DataFrame | None:
    """Return what observers say of images of one cell, where ``path`` is a study.

    Parameters
    ----------
    path : Path or None
        Folder of a study, or its ``study.db``; of anything else the answer is None.

    Returns
    -------
    DataFrame or None
        ``image`` (path of its file), ``annotator`` and ``label``, as
        `cytodiffusion.evaluation.psychometric.annotations.read_annotations` takes them.

    Raises
    ------
    InputError
        If the study cannot be read, or has no such answers.
    """
    from cytodiffusion.errors import InputError
    from cytodiffusion.study.database import FILE
    from cytodiffusion.study.study import Study

    if path is None:
        return None
    folder = path.parent if path.name == FILE else path
    if not (folder / FILE).is_file():
        return None
    with Study(folder, writable=False) as study:
        said = study.annotations()
        files = {image.name: image.path for image in study.images() if image.single_cell}
        said = said[said["image"].isin(list(files))]
        if not len(said):
            raise InputError(
                f"Nobody labelled an image of one cell in the study {study.name}: an evaluation is "
                "of such images (cytodiffusion study add --cells)."
            )
        table = said[["image", "observer", "class"]].copy()
        table["image"] = [files[name] for name in table["image"]]
        return table.set_axis(["image", "annotator", "label"], axis=1).reset_index(drop=True)


def _share_of_first(cell: SharedCell) -> float:
    return cell.votes[0][1] / len(cell.classes)


def _numbers(given: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    where = {name: k for k, name in enumerate(names)}
    return np.array([where[name] for name in given], np.int64)
