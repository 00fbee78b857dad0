"""Test images that the model was trained on: found, named, warned of."""

from __future__ import annotations

from typing import Any

from cytodiffusion.datasets import Record
from cytodiffusion.datasets.seen import overlap
from cytodiffusion.evaluation.context import Context
from cytodiffusion.output import sha256

#: Files that a warning names.
NAMED = 5


def warn_of_overlap(model: Any, context: Context) -> None:
    """Warn of images, here or of other laboratories, that the model was trained on.

    A model that records its training images is asked; else, files of the same content are
    looked for in the training split of the same data.
    """
    progress = context.next("looking for training images among them")
    for name, records in context.shift.items():
        elsewhere = overlap(records, model, progress)
        if len(elsewhere):
            context.warn(f"{name}: {elsewhere.stated()}")
    if context.settings.split == "train":
        return
    found = overlap(context.records, model, progress)
    if found.known:
        context.warn(found.stated())
    if found.known or context.settings.split == "all":
        return
    training = [r for r in context.everything if r.split == "train"]
    same = same_files(context.records, training)
    if same:
        more = f" and {len(same) - NAMED} more" if len(same) > NAMED else ""
        context.warn(
            f"{len(same)} of the images are also in the training split: "
            f"{', '.join(str(r.path) for r in same[:NAMED])}{more}; the figures are too good."
        )


def same_files(records: list[Record], training: list[Record]) -> list[Record]:
    """Those of ``records`` whose file is, byte for byte, one of ``training``."""
    sizes = {size for r in training if (size := _size(r)) is not None}
    suspects = [r for r in records if _size(r) in sizes]
    wanted = {_size(r) for r in suspects}
    known = {_sum(r) for r in training if _size(r) in wanted} - {None}
    return [r for r in suspects if _sum(r) in known]


def _size(record: Record) -> int | None:
    try:
        return record.path.stat().st_size
    except OSError:
        return None


def _sum(record: Record) -> str | None:
    try:
        return sha256(record.path)
    except OSError:
        return None
