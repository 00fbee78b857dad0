"""Splits: patients stay together, classes are on both sides, nothing moves without need."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cytodiffusion.datasets.layouts import Record
from cytodiffusion.datasets.splits import assign_splits, split_by_name
from cytodiffusion.errors import InputError


def patients(
    count: int, images: int = 12, classes: tuple[str, ...] = ("x", "y", "z")
) -> list[Record]:
    """Images of patients who have different shares of the classes."""
    return [
        Record(Path(f"{p}-{n}.png"), classes[(n * (p % 5 + 1)) % len(classes)], "", group=f"p{p}")
        for p in range(count)
        for n in range(images + p % 3)
    ]


def test_no_patient_is_in_two_splits_and_classes_stay_balanced() -> None:
    records, notes = assign_splits(patients(40))
    sides = {g: {r.split for r in records if r.group == g} for g in {r.group for r in records}}
    assert all(len(side) == 1 for side in sides.values())
    assert "split by patient or slide (40 of them)" in notes[0]
    validating = [r for r in records if r.split == "val"]
    assert 0.1 < len(validating) / len(records) < 0.2
    whole, part = Counter(r.label for r in records), Counter(r.label for r in validating)
    for label in whole:
        assert part[label] / len(validating) == pytest.approx(whole[label] / len(records), abs=0.04)


def test_splits_by_patient_do_not_depend_on_the_order() -> None:
    records = patients(15)
    one = {r.path: r.split for r in assign_splits(records)[0]}
    other = {r.path: r.split for r in assign_splits(records[::-1])[0]}
    assert one == other


@pytest.mark.parametrize("count", [2, 3, 6])
def test_few_patients(count: int) -> None:
    splits = {r.group: r.split for r in assign_splits(patients(count))[0]}
    assert Counter(splits.values())["val"] >= 1
    assert Counter(splits.values())["train"] >= 1


def test_a_class_of_one_patient_trains() -> None:
    rare = [Record(Path(f"rare{n}.png"), "rare", "", group="p7") for n in range(4)]
    records, _ = assign_splits([*patients(10), *rare])
    assert {r.split for r in records if r.label == "rare"} == {"train"}


def test_one_patient_is_told() -> None:
    with pytest.raises(InputError, match=r"one patient or slide \(p0\)"):
        assign_splits(patients(1))


def test_images_of_nobody_go_their_own_ways() -> None:
    free = [Record(Path(f"free{n}.png"), "xy"[n % 2], "") for n in range(60)]
    records, _ = assign_splits([*patients(6), *free])
    assert {r.split for r in records if r.group is None} == {"train", "val"}


def test_a_patient_in_two_given_splits_is_told() -> None:
    records = [Record(Path(f"{s}.png"), "x", s, group="p") for s in ("train", "test")]
    with pytest.raises(InputError, match=r"p is in two splits: train\.png in train, test\.png in"):
        assign_splits(records)


def test_images_join_the_given_split_of_their_patient() -> None:
    given = [Record(Path(f"{s}.png"), "x", s, group=s) for s in ("train", "val", "test")]
    more = [Record(Path(f"more-{s}.png"), "x", "", group=s) for s in ("train", "val", "test")]
    records, _ = assign_splits([*given, *more])
    assert [r.split for r in records] == ["train", "val", "test"] * 2


def test_images_without_a_label_stay_with_their_patient() -> None:
    free = [Record(Path(f"free{p}.png"), None, "", group=f"p{p}") for p in range(20)]
    records, _ = assign_splits([*patients(20), *free])
    known = {r.group: r.split for r in records if r.label}
    assert all(r.split == known[r.group] for r in records)


def test_names_decide_without_patients_and_nothing_moves_when_images_come() -> None:
    def images(count: int) -> list[Record]:
        return [Record(Path(f"{n}.png"), "xy"[n % 2], "") for n in range(count)]

    first = assign_splits(images(300))[0]
    assert all(r.split == split_by_name(r.path.name) for r in first)
    assert assign_splits(images(500))[0][:300] == first


def test_a_small_class_is_on_both_sides() -> None:
    many = [Record(Path(f"{n}.png"), "many", "") for n in range(100)]
    for start in range(0, 40, 2):
        few = [Record(Path(f"{start + n}.png"), "few", "") for n in range(2)]
        records, _ = assign_splits([*many, *few])
        assert {r.split for r in records if r.label == "few"} == {"train", "val"}


def test_given_splits_are_kept() -> None:
    given = [Record(Path(f"{s}{n}.png"), "x", s) for s in ("train", "val") for n in range(5)]
    assert assign_splits(given) == (given, ["splits are those of the data"])
