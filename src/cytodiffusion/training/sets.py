"""The crops of a training run, split by split."""

from __future__ import annotations

import logging

from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress, silent

from .data import SPLITS, CellSet, class_names, find_records, load_cells
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
    for sentence in skipped:
        log.warning("skipped: %s", sentence)
    for number, name in enumerate(names):
        if not (sets["train"].labels == number).any():
            raise InputError(f"None of the training images of the class {name} could be read.")
    return names, sets
