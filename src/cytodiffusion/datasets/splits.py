"""Which images train and which choose: by patient or slide, else by the image's name.

A split that the data give is kept. Where they give none, or give training and test images only,
about 15 % of the images validate. Images of one group (a patient, a slide) stay together;
otherwise a hash of the image's name decides, so that an image never moves when others come.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cytodiffusion.datasets.layouts import Record
from cytodiffusion.errors import InputError

VALIDATION_SHARE = 0.15


def split_by_name(name: str, validation_share: float = VALIDATION_SHARE) -> str:
    """Assign an image to train or val by a hash of its name, so that it never moves."""
    return "val" if _digest(name)[0] / 256 < validation_share else "train"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def assign_splits(
    records: Sequence[Record], share: float = VALIDATION_SHARE
) -> tuple[list[Record], list[str]]:
    """Put every record into a split."""
    check_groups(records)
    result = _join_their_group(records)
    open_ones = [i for i, r in enumerate(result) if not r.split]
    if not open_ones and any(r.split == "val" for r in result):
        return result, ["splits are those of the data"]
    if not open_ones:
        open_ones = [i for i, r in enumerate(result) if r.split == "train"]
    labelled = [i for i in open_ones if result[i].label]
    for i in set(open_ones) - set(labelled):  # nothing is chosen by images without a label
        result[i] = replace(result[i], split="train")
    if not labelled:
        return result, ["splits are those of the data"]
    groups = {result[i].group for i in labelled} - {None}
    chosen = [result[i] for i in labelled]
    splits = _by_group(chosen, share) if groups else _by_name(chosen, share)
    for i, split in zip(labelled, splits, strict=True):
        result[i] = replace(result[i], split=split)
    if groups:
        result = _unlabelled_with_their_group(result)
        how = f"split by patient or slide ({len(groups)} of them)"
    else:
        how = "split by a hash of the image's name (no patients or slides are known)"
    validate = splits.count("val") / len(splits)
    return result, [f"{how}: {validate:.0%} of the images validate"]


def check_groups(records: Sequence[Record]) -> None:
    """Make sure that no patient or slide is in two splits; InputError with its files if one is."""
    seen: dict[str, Record] = {}
    for record in records:
        if record.group is None or not record.split:
            continue
        first = seen.setdefault(record.group, record)
        if first.split != record.split:
            raise InputError(
                f"The patient or slide {record.group} is in two splits: {first.path} in "
                f"{first.split}, {record.path} in {record.split}; keep each in one split, or leave "
                "the splits to the program."
            )


def _join_their_group(records: Sequence[Record]) -> list[Record]:
    """Give records without a split that of their group, where others of it have one."""
    known = {r.group: r.split for r in records if r.group and r.split}
    return [r if r.split else replace(r, split=known.get(r.group or "", "")) for r in records]


def _unlabelled_with_their_group(records: list[Record]) -> list[Record]:
    """Move images without a label to the split of their patient."""
    known = {r.group: r.split for r in records if r.group and r.label}
    return [r if r.label else replace(r, split=known.get(r.group or "", r.split)) for r in records]


def _by_name(records: Sequence[Record], share: float) -> list[str]:
    """Split by names; a class of two images or more gets one on either side."""
    splits = [split_by_name(r.path.name, share) for r in records]
    members: dict[str | None, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        members[record.label].append(i)
    for of_class in members.values():
        if len(of_class) > 1 and len({splits[i] for i in of_class}) == 1:
            ordered = sorted(of_class, key=lambda i: _digest(str(records[i].path.name)))
            splits[ordered[0]] = "val"
            splits[ordered[-1]] = "train"
    return splits


def _by_group(records: Sequence[Record], share: float) -> list[str]:
    """Split by groups so that the classes are as frequent on both sides as groups allow.

    scikit-learn's StratifiedGroupKFold makes the candidates, in an order of groups that depends
    on nothing but their names; that fold validates which leaves most classes on both sides.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    names = [r.group or f"image {r.path.name}" for r in records]
    order = {name: n for n, name in enumerate(sorted(set(names), key=_digest))}
    if len(order) < 2:
        raise InputError(
            f"All images are of one patient or slide ({names[0]}): with no other to validate on, "
            "leave that column out, or state the splits yourself."
        )
    rank = np.array([order[name] for name in names])
    labels = np.array([str(r.label) for r in records])
    by_rank = np.argsort(rank, kind="stable")
    folds = StratifiedGroupKFold(n_splits=min(len(order), round(1 / share)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare classes cannot be in all folds
        parts = [by_rank[v] for _, v in folds.split(rank, labels[by_rank], rank[by_rank])]
    kinds = len(set(labels.tolist()))

    def faults(part: np.ndarray) -> tuple[int, int, float]:
        inside = np.zeros(len(labels), bool)
        inside[part] = True
        untrained = kinds - len(set(labels[~inside].tolist()))
        unchecked = kinds - len(set(labels[inside].tolist()))
        return untrained, unchecked, abs(len(part) / len(labels) - share)

    best = min((p for p in parts if 0 < len(p) < len(labels)), key=faults)
    validates = set(best.tolist())
    return ["val" if i in validates else "train" for i in range(len(records))]
