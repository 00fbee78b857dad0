"""One image in two splits: refused, dropped or allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cytodiffusion.datasets.fingerprints import Fingerprints, find_pairs
from cytodiffusion.datasets.layouts import Record
from cytodiffusion.errors import InputError
from cytodiffusion.settings import Duplicates

#: What to do with an image that is in two splits.
Policy = Duplicates
#: Which of two splits loses its copy: what reports and what chooses must stay as it is.
_WORTH = {"test": 2, "val": 1, "train": 0}
#: Pairs that a sentence names.
NAMED = 3
#: Near copies within a set after which no more are looked for: drawings that are all alike.
MOST = 20_000


@dataclass(frozen=True)
class Duplicate:
    """Two records of the same image.

    Attributes
    ----------
    first, second : Record
        The first is of the split that matters more (test, then val, then train).
    exact : bool
        Whether every pixel is the same; else one was turned, mirrored, compressed, brightened...
    """

    first: Record
    second: Record
    exact: bool

    @property
    def across(self) -> bool:
        """Whether they are in different splits."""
        return self.first.split != self.second.split

    @property
    def contradict(self) -> bool:
        """Whether they have different labels."""
        return None not in (self.first.label, self.second.label) and (
            self.first.label != self.second.label
        )

    def stated(self) -> str:
        """Name both files and where they are."""
        how = "is the same image as" if self.exact else "is a near copy of"
        return (
            f"{self.first.path} ({self.first.split}) {how} {self.second.path} ({self.second.split})"
        )


def find_duplicates(records: Sequence[Record], prints: Fingerprints) -> list[Duplicate]:
    """All pairs of records that are the same image, within splits and across."""
    found = []
    for pair in find_pairs(prints):
        both = records[pair.first], records[pair.second]
        first, second = sorted(both, key=lambda r: -_WORTH[r.split])
        found.append(Duplicate(first, second, pair.exact))
    return found


def find_repeats(records: Sequence[Record], prints: Fingerprints) -> list[Duplicate]:
    """Images of one set that are in it more than once, exact copies first.

    Each copy is paired with the first of its kind alone: a hundred copies are 99 pairs.
    """
    _, first, kind = np.unique(prints.exact, return_index=True, return_inverse=True)
    exact = [
        Duplicate(records[first[k]], records[i], True) for i, k in enumerate(kind) if first[k] != i
    ]
    alone = np.sort(first).tolist()
    near = find_pairs(prints.take(alone), most=MOST)
    return exact + [
        Duplicate(records[alone[p.first]], records[alone[p.second]], False) for p in near
    ]


def state_repeats(repeats: Sequence[Duplicate]) -> list[str]:
    """Say what `find_repeats` found; contradicting labels are a matter of their own."""
    notes = _contradictions([d for d in repeats if d.contradict])
    alike = [d for d in repeats if not d.contradict]
    if alike:
        near = sum(not d.exact for d in alike)
        named = "; ".join(f"{d.first.path} and {d.second.path}" for d in alike[:NAMED])
        notes.append(
            f"{_pairs(alike)} of the same image ({near} of them changed a little), counted as two "
            f"cells: {named}{_more(alike)}"
        )
    return notes


def settle_duplicates(
    records: Sequence[Record], duplicates: Sequence[Duplicate], policy: Policy = "refuse"
) -> tuple[list[Record], list[str]]:
    """Deal with images that are in two splits."""
    across = [d for d in duplicates if d.across]
    notes = _contradictions([d for d in duplicates if d.contradict and not d.across])
    if not across:
        return list(records), notes
    if policy == "refuse":
        raise InputError(
            f"The same image is in two splits: {_listed(across)}. Remove one of each pair, or "
            "choose --set duplicates=drop (keeps the copy in test, else that in val) or --set "
            "duplicates=allow."
        )
    if policy == "allow":
        return list(records), [
            *notes,
            f"{_pairs(across)} of the same image in two splits, allowed: {_listed(across)}",
        ]
    lost = {(d.second.path, d.second.split) for d in across}
    left = [r for r in records if (r.path, r.split) not in lost]
    said = f"{len(lost)} {'image' if len(lost) == 1 else 'images'} left out that are also in "
    return left, [*notes, f"{said}a split that matters more: {_listed(across)}"]


def _contradictions(found: Sequence[Duplicate]) -> list[str]:
    if not found:
        return []
    named = "; ".join(
        f"{d.first.path} ({d.first.label}) and {'' if d.exact else 'its near copy '}"
        f"{d.second.path} ({d.second.label})"
        for d in found[:NAMED]
    )
    return [f"{_pairs(found)} of the same image with different classes: {named}{_more(found)}"]


def _listed(found: Sequence[Duplicate]) -> str:
    return "; ".join(d.stated() for d in found[:NAMED]) + _more(found)


def _more(found: Sequence[Duplicate]) -> str:
    return f" (and {len(found) - NAMED} more)" if len(found) > NAMED else ""


def _pairs(found: Sequence[Duplicate]) -> str:
    return f"{len(found)} {'pair' if len(found) == 1 else 'pairs'}"
