"""How many wrong labels are found for a second look, and how many right ones are listed, too.

    cytodiffusion study new cells-study
    cytodiffusion study add cells-study CELLS --cells
    python benchmarks/suspects.py cells-study

CELLS has a folder for each class. Of all cells, or of a part of them, every twentieth is labelled
with another class, drawn at random; all others rightly. Precision is the share of wrong labels
among those that `cytodiffusion study suspects` lists, recall the share of the wrong ones that it
lists. Beside it: the labels that the model alone contradicts. Nothing is written into the study.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cytodiffusion.study import Study
from cytodiffusion.study.annotations import HumanClass
from cytodiffusion.study.suspects import find_suspects

#: Share of wrong labels, shares of the cells that are labelled, and draws of each.
WRONG, LABELLED, DRAWS = 0.05, (1.0, 0.5, 0.2), 5


def measure(folder: Path, share: float, seed: int) -> list[float]:
    """Precision and recall of the list, and of the model alone, for one draw."""
    with Study(folder, writable=False) as study:
        classes = {image.name: Path(image.path).parent.name for image in study.images()}
        cells = study.cells()
        truth = cells["image"].map(classes).to_numpy(str)
        rng = np.random.default_rng(seed)
        rows = np.flatnonzero(rng.random(len(truth)) < share)
        wrong = rng.choice(rows, max(1, round(WRONG * len(rows))), replace=False)
        given = truth.astype(object)
        for row in wrong:
            given[row] = rng.choice([name for name in np.unique(truth) if name != truth[row]])
        said = {int(cells.index[row]): HumanClass(given[row], "", given[row]) for row in rows}
        listed = np.isin(cells.index, [one.cell for one in find_suspects(study, said)])
    contradicted = np.zeros(len(truth), bool)
    contradicted[rows] = (cells["predicted"].to_numpy() != given)[rows]
    return [*scores(listed, wrong), *scores(contradicted, wrong)]


def scores(listed: NDArray[np.bool_], wrong: NDArray[np.int64]) -> list[float]:
    right = listed[wrong].sum()
    return [float(right / max(1, listed.sum())), float(right / len(wrong))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", metavar="STUDY", nargs="+", type=Path)
    page = Table("Study", "Labelled", "Precision", "Recall", "Precision, model alone", "Recall")
    for folder in parser.parse_args().studies:
        for share in LABELLED:
            mean = np.mean([measure(folder, share, seed) for seed in range(DRAWS)], axis=0)
            page.add_row(folder.name, f"{share:.0%}", *(f"{value:.2f}" for value in mean))
    Console().print(page)


if __name__ == "__main__":
    main()
