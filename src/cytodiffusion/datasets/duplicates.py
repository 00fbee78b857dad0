"""One image in two splits: refused, dropped or allowed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cytodiffusion.errors import InputError

from .fingerprints import Fingerprints, find_pairs
from .records import Record

log = logging.getLogger(__name__)

#: What to do with an image that is in two splits.
Policy = Literal["refuse", "drop", "allow"]
#: Which of two splits loses its copy: what reports and what chooses must stay as it is.
_WORTH = {"test": 2, "val": 1, "train": 0}


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
    by_path = {record.path: record for record in records}
    found = []
    for pair in find_pairs(prints):
        one, other = by_path[prints.paths[pair.first]], by_path[prints.paths[pair.second]]
        first, second = sorted((one, other), key=lambda r: -_WORTH[r.split])
        found.append(Duplicate(first, second, pair.exact))
    return found


def settle_duplicates(
    records: Sequence[Record], duplicates: Sequence[Duplicate], policy: Policy = "refuse"
) -> tuple[list[Record], list[str]]:
    """Deal with images that are in two splits.

    Parameters
    ----------
    records : sequence of Record
    duplicates : sequence of Duplicate
    policy : {"refuse", "drop", "allow"}
        ``drop`` leaves out the copy in the split that matters less.

    Returns
    -------
    records : list of Record
        Those that are left.
    notes : list of str

    Raises
    ------
    InputError
        Names the files where the policy is ``refuse``.
    """
    across = [d for d in duplicates if d.across]
    if not across:
        return list(records), []
    if policy == "refuse":
        more = f" (and {len(across) - 3} more pairs)" if len(across) > 3 else ""
        raise InputError(
            f"The same image is in two splits: {'; '.join(d.stated() for d in across[:3])}{more}. "
            "Remove one of each pair, or choose --duplicates drop or --duplicates allow."
        )
    for duplicate in across:
        log.warning("%s: %s", "dropped the second" if policy == "drop" else "allowed",
                    duplicate.stated())  # fmt: skip
    if policy == "allow":
        return list(records), [f"{len(across)} pairs of the same image in two splits were allowed"]
    lost = {d.second.path for d in across}
    left = [r for r in records if r.path not in lost]
    return left, [f"{len(lost)} images left out that are also in a split that matters more"]
