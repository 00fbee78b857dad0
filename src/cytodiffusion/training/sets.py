"""The crops of a training run, split by split."""

from __future__ import annotations

import logging
from pathlib import Path

from cytodiffusion.datasets.duplicates import Policy, find_duplicates, settle_duplicates
from cytodiffusion.datasets.fingerprints import Fingerprints
from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import load_taxonomy

from .data import SPLITS, CellSet, Record, class_names, find_records, load_cells
from .settings import TrainSettings

log = logging.getLogger(__name__)


def load_sets(
    settings: TrainSettings, progress: Progress = silent
) -> tuple[list[str], dict[str, CellSet]]:
    """Read all images of ``settings.data`` as crops.

    Returns
    -------
    names : list of str
        Of the classes, in the order of the labels.
    sets : dict of CellSet
        ``train``, ``val`` and, where there are any, ``test``.

    Raises
    ------
    InputError
        If the data cannot be trained with.
    """
    if settings.taxonomy:
        load_taxonomy(settings.taxonomy)  # it is wanted when all the work is done
    records = find_records(settings.data)
    names = class_names(records)
    sets, skipped = {}, []
    for split in SPLITS:
        chosen = [r for r in records if r.split == split and (r.label or split == "train")]
        chosen = [r for r in chosen if r.label is None or r.label in names]
        if not chosen and split == "test":
            continue
        if not chosen:
            raise InputError(f"{settings.data} has no images in its {split} split.")
        sets[split], bad = load_cells(
            chosen,
            names,
            size=settings.input_size,
            window_um=settings.window_um,
            pixel_size_um=settings.pixel_size_um,
            progress=progress,
        )
        skipped += bad
    if skipped:
        log.warning("%d of %d images could not be read and are left out", len(skipped),
                    len(skipped) + sum(map(len, sets.values())))  # fmt: skip
    for sentence in skipped:
        log.warning("skipped: %s", sentence)
    if lost := _without_cells(names, sets["train"]):
        raise InputError(f"None of the training images of the class {lost[0]} could be read.")
    return names, without_duplicates(names, sets, settings.duplicates)


def _without_cells(names: list[str], cells: CellSet) -> list[str]:
    return [name for k, name in enumerate(names) if not (cells.labels == k).any()]


def without_duplicates(
    names: list[str], sets: dict[str, CellSet], policy: Policy
) -> dict[str, CellSet]:
    """Look for images that are in two splits, and deal with them.

    Raises
    ------
    InputError
        Names the files, if there are any and the policy is ``refuse``; or if nothing is left of
        a split.
    """
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
