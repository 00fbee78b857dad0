"""What would make the cells of a lesson other classes: maps, sentences and synthetic pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.authenticity.explain import overlaid
from cytodiffusion.classification.levels import tree_of
from cytodiffusion.counterfactual.cells import counterfactual_cells
from cytodiffusion.counterfactual.heatmap import check_explains, iter_heatmaps
from cytodiffusion.counterfactual.settings import CounterfactualSettings, HeatmapSettings
from cytodiffusion.counterfactual.wording import describe
from cytodiffusion.errors import InputError
from cytodiffusion.generation.order import class_of
from cytodiffusion.lessons.settings import LessonSettings
from cytodiffusion.lessons.sources import SourceCell
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.progress import Progress, part_of

#: Cells that are changed together; work that is cancelled stops between two steps of them.
TOGETHER = 8
#: Share of the time that the maps take.
_MAPS = 0.3


@dataclass(frozen=True, eq=False)
class CellVersion:
    """A cell as another class.

    Attributes
    ----------
    target : str
        Class of the lesson.
    sentence : str
        What would have to change.
    map : (S, S, 3) uint8
        The cell under what would have to change.
    picture : (S, S, 3) uint8 or None
        The cell changed; None where no change made the model take it for the target.
    probability : float or None
        That the model gives the target for the picture.
    """

    target: str
    sentence: str
    map: NDArray[np.uint8]
    picture: NDArray[np.uint8] | None = None
    probability: float | None = None


def network_class(name: str, model: ModelBundle) -> int | None:
    """Return the class of the network that a class of a lesson is, or is a kind of."""
    names = model.untaught.class_names
    try:
        return names.index(class_of(model, name))
    except InputError:
        tree = tree_of(names, model.traits)
        meant = [int(p) for n, p in zip(tree.names, tree.parents, strict=True) if n == name]
        return meant[0] if meant else None


def explanations(
    cells: Sequence[SourceCell],
    posterior: NDArray[np.float64],
    model: ModelBundle,
    classes: Mapping[str, int | None],
    settings: LessonSettings,
    progress: Progress,
) -> list[tuple[CellVersion, ...]]:
    """Return for each cell what would make it the likeliest other classes of the lesson.

    Parameters
    ----------
    posterior : (N, K) array
        By classes of the model.
    classes : mapping
        Class of the network of each class of the lesson; None where it has none.
    """
    pairs = [
        (row, target)
        for row, cell in enumerate(cells)
        for target in _targets(cell.class_name, posterior[row], classes, settings.versions)
    ]
    found: list[list[CellVersion]] = [[] for _ in cells]
    for start in range(0, len(pairs), TOGETHER):
        part = pairs[start : start + TOGETHER]
        here = _saying(progress, start, len(part), len(pairs))
        several = [cells[row] for row, _ in part]
        made = _versions(several, [name for _, name in part], model, classes, settings, here)
        for (row, _), one in zip(part, made, strict=True):
            found[row].append(one)
    return [tuple(several) for several in found]


def _saying(progress: Progress, start: int, n: int, total: int) -> Progress:
    """Progress of a part of the versions, in one word for all that is done."""
    return lambda share, _: progress(
        (start + share * n) / total,
        f"explaining cells, {min(start + int(share * n) + 1, total)} of {total}",
    )


def _targets(
    own: str, shares: NDArray[np.float64], classes: Mapping[str, int | None], most: int
) -> list[str]:
    """Return other classes of the lesson, the likeliest first; none twice for the network."""
    mine = classes[own]
    if mine is None:
        return []
    others = {number: name for name, number in classes.items() if number not in (None, mine)}
    ranked = sorted(others, key=lambda number: -float(shares[number or 0]))
    return [others[number] for number in ranked[:most]]


def _versions(
    cells: Sequence[SourceCell],
    targets: Sequence[str],
    model: ModelBundle,
    classes: Mapping[str, int | None],
    settings: LessonSettings,
    progress: Progress,
) -> list[CellVersion]:
    """Explain some cells, each towards one class."""
    network = check_explains(model)
    crops, masks = np.stack([c.crop for c in cells]), np.stack([c.mask for c in cells])
    background = np.stack([c.background for c in cells])
    own = np.array([classes[c.class_name] for c in cells], np.int64)
    other = np.array([classes[name] for name in targets], np.int64)
    maps = iter_heatmaps(
        crops,
        network,
        other,
        predicted=own,
        background=background,
        masks=masks,
        settings=HeatmapSettings(seed=settings.seed),
        progress=part_of(progress, 0.0, _MAPS),
    )
    made = [
        CellVersion(
            target=name,
            sentence=describe(heatmap, None if cell.mask.all() else cell.mask),
            map=overlaid(cell.crop, network.window_um, heatmap, len(cell.crop)),
        )
        for cell, name, heatmap in zip(cells, targets, maps, strict=True)
    ]
    changed = counterfactual_cells(
        crops,
        network,
        other,
        predicted=own,
        background=background,
        masks=masks,
        settings=CounterfactualSettings(seed=settings.seed),
        progress=part_of(progress, _MAPS, 1.0),
    )
    return [
        replace(one, picture=changed.pixels[row], probability=float(changed.confidence[row]))
        if changed.flipped[row]
        else one
        for row, one in enumerate(made)
    ]
