"""One image of one cell on disk, with all that is known about it before it is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytodiffusion.errors import InputError

#: The parts of a data set: the first trains, the second chooses and calibrates, the third reports.
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Record:
    """One single-cell image.

    Attributes
    ----------
    path : Path
    label : str or None
        Name of its class; None for an image without a label.
    split : str
        ``train``, ``val`` or ``test``.
    group : str or None
        Patient, slide or whatever else must not be in two splits.
    label_confidence : float or None
        How sure the experts were of the label, 0 to 1.
    attributes : mapping
        Anything else the data set tells, such as ``subtype`` or ``granularity``.
    """

    path: Path
    label: str | None
    split: str
    group: str | None = None
    label_confidence: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


def class_names(records: Sequence[Record]) -> list[str]:
    """Names of the classes to train on, sorted.

    Raises
    ------
    InputError
        If there are fewer than two, or a name would break the tables of results.
    """
    counts = Counter(r.label for r in records if r.split == "train" and r.label)
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise InputError(f"Training needs at least two classes of images; found: {found}.")
    odd = [name for name in counts if "|" in name or not name.isprintable()]
    if odd:  # prediction sets join names by it
        raise InputError(f"The class name {odd[0]!r} cannot be used: it must not contain |.")
    return sorted(counts)
