"""Test images that a classifier was trained on: found, named, warned of, marked in the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cytodiffusion.datasets import Record
from cytodiffusion.datasets.duplicates import find_repeats, state_repeats
from cytodiffusion.datasets.fingerprints import Fingerprints, fingerprints
from cytodiffusion.datasets.seen import NAMED, Overlap, overlap
from cytodiffusion.evaluation.candidate import Candidate
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.settings import EVALUATED
from cytodiffusion.files.atomic import sha256

#: Where a reader finds all files of which a warning names the first.
WHERE = "all of them in metrics.json under overlap, and in cells.csv"

#: By classifier and set, ``known``, ``exact`` and ``near``.
Seen = dict[str, dict[str, dict[str, Any]]]


def warn_of_overlap(everyone: Sequence[Candidate], context: Context) -> Seen:
    """Warn of images, here or of other laboratories, that a classifier was trained on.

    One that records its training images is asked; for others, files of the same content are
    looked for in the training split of the same data.
    """
    progress = context.next("looking for training images among them")
    evaluated = {} if context.settings.split == "train" else {EVALUATED: context.records}
    sets = evaluated | context.shift
    recorded = any(c.model.training_images is not None for c in everyone)
    seen: Seen = {c.key: {} for c in everyone}
    for number, (name, records) in enumerate(sets.items()):

        def report(share: float, text: str, done: int = number) -> None:
            progress((done + share) / len(sets), text)

        paths = [r.path for r in records] if recorded else []
        prints = fingerprints(paths, report)
        for candidate in everyone:
            seen[candidate.key][name] = _look_through(candidate, name, prints, context)
    if evaluated and context.settings.split != "all":
        _warn_of_training_split(everyone, seen, context)
    return seen


def _look_through(
    candidate: Candidate, name: str, prints: Fingerprints, context: Context
) -> dict[str, Any]:
    found: Overlap = overlap(prints, candidate.model)
    sentence = found.stated(candidate.title, WHERE)
    context.warn(
        f"{name}: {sentence}" if sentence and found.known and name != EVALUATED else sentence
    )
    exact, near = ([str(path) for path in paths] for paths in (found.exact, found.near))
    return {"known": found.known, "exact": exact, "near": near}


def _warn_of_training_split(everyone: Sequence[Candidate], seen: Seen, context: Context) -> None:
    unknown = [seen[c.key][EVALUATED] for c in everyone if not seen[c.key][EVALUATED]["known"]]
    if not unknown:
        return
    training = [r for r in context.everything if r.split == "train"]
    same = [str(r.path) for r in same_files(context.records, training)]
    for found in unknown:
        found["training_split"] = same
    if same:
        more = f" and {len(same) - NAMED} more ({WHERE})" if len(same) > NAMED else ""
        context.warn(
            f"{len(same)} of the images are also in the training split: "
            f"{', '.join(same[:NAMED])}{more}; the figures are too good."
        )


def mark_seen(cells: pd.DataFrame, seen: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Add ``trained_on`` to the table of cells: whether the classifier was; empty: not known."""
    marks = pd.Series(None, index=cells.index, dtype=object)
    for key, sets in seen.items():
        for name, found in sets.items():
            rows = (cells["model"] == key) & (cells["set"] == name)
            copies = [*found["exact"], *found["near"], *found.get("training_split", ())]
            if found["known"]:
                marks[rows] = False
            marks[rows & cells["path"].isin(copies)] = True
    cells.insert(list(cells).index("split") + 1, "trained_on", marks)


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


def warn_of_repeats(context: Context) -> None:
    """Warn of copies within each set, by the fingerprints of the images that were cut."""
    for name, records in {EVALUATED: context.records, **context.shift}.items():
        prints = context.frames(name, records).prints
        by_path = {r.path: r for r in records}
        repeats = find_repeats([by_path[path] for path in prints.paths], prints)
        for sentence in state_repeats(repeats):
            context.warn(f"{name}: {sentence}.")
