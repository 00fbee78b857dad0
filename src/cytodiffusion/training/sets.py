"""The crops of a training run, split by split."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import torch

from cytodiffusion.datasets.duplicates import Policy, find_duplicates, settle_duplicates
from cytodiffusion.datasets.fingerprints import Fingerprints
from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import Taxonomy, load_taxonomy, taxonomy_for
from cytodiffusion.training.data import (
    SPLITS,
    CellSet,
    Record,
    class_names,
    find_records,
    load_cells,
)
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.traits import find_traits, with_coarse_labels
from cytodiffusion.traits import Trait

log = logging.getLogger(__name__)

#: Images that cannot be read, of which the names are told.
NAMED = 20
_WITHOUT = {
    "val": "uncertainty is not calibrated for it",
    "test": "nothing is measured of it",
}


def load_sets(
    settings: TrainSettings, progress: Progress = silent, splits: Sequence[str] = SPLITS
) -> tuple[list[str], dict[str, CellSet]]:
    """Read the images of ``settings.data`` as crops, with the traits that they tell."""
    if settings.taxonomy:
        load_taxonomy(settings.taxonomy)  # it is wanted when all the work is done
    records = find_records(settings.data, settings.layout)
    taxonomy = _taxonomy(settings, records)
    records = with_coarse_labels(records, taxonomy)
    names = class_names(records)
    traits = traits_of(settings, records, names, taxonomy)
    _check_looks(settings, names)
    for sentence in oddities(records, names):
        log.warning(sentence)
    sets, skipped = {}, []
    for split in splits:
        chosen = [r for r in records if r.split == split and (r.label or split == "train")]
        chosen = [r for r in chosen if r.label is None or r.label in names]
        if not chosen and split == "test":
            continue
        if not chosen:
            raise InputError(
                f"{settings.data} has no images in its {split} split; every class needs some there."
            )
        sets[split], bad = load_cells(
            chosen,
            names,
            size=settings.input_size,
            window_um=settings.window_um,
            pixel_size_um=settings.pixel_size_um,
            progress=progress,
            traits=traits,
        )
        skipped += bad
    for sentence in _left_out(skipped, len(skipped) + sum(map(len, sets.values()))):
        log.warning(sentence)
    if lost := _without_cells(names, sets["train"]):
        raise InputError(f"None of the training images of the class {lost[0]} could be read.")
    return names, without_duplicates(names, sets, settings.duplicates)


def traits_of(
    settings: TrainSettings,
    records: Sequence[Record],
    names: Sequence[str],
    taxonomy: Taxonomy | None,
) -> list[Trait]:
    """Return what a model is to learn beside the classes; nothing for those that cannot."""
    if settings.kind != "diffusion" or settings.trait_loss == 0:
        return []
    return find_traits(records, names, taxonomy, settings.attributes)


def _taxonomy(settings: TrainSettings, records: Sequence[Record]) -> Taxonomy | None:
    if settings.taxonomy:
        return load_taxonomy(settings.taxonomy)
    return taxonomy_for(sorted({r.label for r in records if r.label}))


def _check_looks(settings: TrainSettings, names: Sequence[str]) -> None:
    """Refuse colours and groups of classes that the data do not have."""
    for field in ("colors", "groups"):
        for name in getattr(settings, field):
            if name not in names:
                near = get_close_matches(name, names, 1)
                hint = f"Did you mean {near[0]}?" if near else f"They have {', '.join(names)}."
                raise InputError(f"{field}.{name}: the data have no class {name!r}. {hint}")


def like_model(
    names: Sequence[str], sets: dict[str, CellSet], wanted: Sequence[str], what: str
) -> None:
    """Give the labels of sets the numbers that a model has for them."""
    if set(names) != set(wanted):
        odd = sorted(set(names) ^ set(wanted))
        raise InputError(
            f"{what} needs images of just the classes of its model; they differ in "
            f"{', '.join(odd)}."
        )
    order = torch.tensor([*(list(wanted).index(name) for name in names), -1])
    for cells in sets.values():
        cells.labels = order[cells.labels]


def oddities(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """Say what a model cannot learn, or what cannot be measured, for want of images."""
    found = []
    counts = {s: Counter(r.label for r in records if r.split == s and r.label) for s in SPLITS}
    alone = [name for name in names if counts["train"][name] == 1]
    if alone:
        found.append(
            f"There is only one training image of {', '.join(alone)}: a model learns that image, "
            "not the class."
        )
    for split in ("val", "test"):
        if not counts[split]:
            continue
        unknown = {k: n for k, n in sorted(counts[split].items()) if k not in names}
        if unknown:
            said = ", ".join(f"{name} ({n} images)" for name, n in unknown.items())
            found.append(f"The {split} split has classes that training has not: {said}, left out.")
        if absent := [name for name in names if not counts[split][name]]:
            said = ", ".join(absent)
            found.append(f"There is no image of {said} in the {split} split: {_WITHOUT[split]}.")
    return found


def _left_out(skipped: Sequence[str], of: int) -> list[str]:
    """Count the images that could not be read, and name the first of them."""
    if not skipped:
        return []
    more = [f"skipped: and {len(skipped) - NAMED} more"] if len(skipped) > NAMED else []
    return [
        f"{len(skipped)} of {of} images could not be read and are left out.",
        *(f"skipped: {sentence}" for sentence in skipped[:NAMED]),
        *more,
    ]


def _without_cells(names: list[str], cells: CellSet) -> list[str]:
    return [name for k, name in enumerate(names) if not (cells.labels == k).any()]


def without_duplicates(
    names: list[str], sets: dict[str, CellSet], policy: Policy
) -> dict[str, CellSet]:
    """Look for images that are in two splits, and deal with them."""
    prints = {split: cells.prints for split, cells in sets.items() if cells.prints is not None}
    records = [
        Record(path, None if label < 0 else names[label], split)
        for split, found in prints.items()
        for path, label in zip(found.paths, sets[split].labels.tolist(), strict=True)
    ]
    duplicates = find_duplicates(records, Fingerprints.joined(list(prints.values())))
    left, notes = settle_duplicates(records, duplicates, policy)
    for sentence in notes:
        log.warning(sentence)
    if len(left) == len(records):
        return sets
    kept = {(r.path, r.split) for r in left}
    fewer = {}
    for split, cells in sets.items():
        index = [i for i, path in enumerate(cells.paths) if (Path(path), split) in kept]
        if not index:
            raise InputError(f"All images of the {split} split are also in one that matters more.")
        fewer[split] = cells.take(index)
    if lost := _without_cells(names, fewer["train"]):
        raise InputError(f"All training images of the class {lost[0]} are also in val or test.")
    return fewer
