"""An image in two splits is found, exact or nearly so, and refused, dropped or allowed."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import cv2
import pytest
from toys import toy_settings
from trees import write_tree

from cytodiffusion.datasets import Record, find_records
from cytodiffusion.datasets.duplicates import (
    Duplicate,
    find_duplicates,
    find_repeats,
    settle_duplicates,
    state_repeats,
)
from cytodiffusion.datasets.fingerprints import fingerprints
from cytodiffusion.errors import InputError
from cytodiffusion.training.sets import load_sets


@pytest.fixture
def data(tmp_path: Path) -> Path:
    names = [f"{s}/{c}/{n}.png" for s in ("train", "val", "test") for c in "xy" for n in range(3)]
    return write_tree(tmp_path / "data", names)


def copy(data: Path, source: str, target: str, *, mirrored: bool = False) -> None:
    image = cv2.imread(str(data / source))
    assert image is not None
    cv2.imwrite(str(data / target), image[:, ::-1] if mirrored else image)


def duplicates(data: Path) -> tuple[list[Record], list[Duplicate]]:
    records = find_records(data)
    return records, find_duplicates(records, fingerprints([r.path for r in records]))


def test_clean_data_pass(data: Path) -> None:
    records, found = duplicates(data)
    assert not found
    assert settle_duplicates(records, found) == (records, [])


def test_copies_across_splits_are_refused_with_the_files(data: Path) -> None:
    copy(data, "test/x/0.png", "train/x/7.png")
    copy(data, "train/y/1.png", "val/y/8.png", mirrored=True)
    records, found = duplicates(data)
    assert [(d.exact, d.across) for d in found] == [(True, True), (False, True)]
    with pytest.raises(InputError) as error:
        settle_duplicates(records, found)
    said = str(error.value)
    assert f"{data}/test/x/0.png (test) is the same image as {data}/train/x/7.png (train)" in said
    assert f"{data}/val/y/8.png (val) is a near copy of {data}/train/y/1.png (train)" in said
    assert "--set duplicates=drop" in said


def test_the_copy_that_matters_less_is_dropped(data: Path) -> None:
    copy(data, "test/x/0.png", "train/x/7.png")
    copy(data, "test/x/0.png", "val/x/7.png", mirrored=True)
    records, found = duplicates(data)
    left, notes = settle_duplicates(records, found, "drop")
    assert set(records) - set(left) == {
        r for r in records if r.path.name == "7.png" and r.split != "test"
    }
    assert len(notes) == 1
    assert notes[0].startswith("2 images left out")
    assert "7.png" in notes[0]


def test_copies_may_be_allowed_but_are_said(data: Path) -> None:
    for n in range(5):
        copy(data, "test/x/0.png", f"train/x/1{n}.png")
    records, found = duplicates(data)
    left, notes = settle_duplicates(records, found, "allow")
    assert left == records
    assert len(notes) == 1
    assert notes[0].startswith("5 pairs")
    assert notes[0].endswith("(and 2 more)")


def test_copies_within_a_split_pass_unless_they_contradict_each_other(data: Path) -> None:
    copy(data, "train/x/0.png", "train/x/7.png")
    records, found = duplicates(data)
    assert [d.across for d in found] == [False]
    assert settle_duplicates(records, found) == (records, [])
    copy(data, "train/x/0.png", "train/y/7.png", mirrored=True)
    records, found = duplicates(data)
    left, notes = settle_duplicates(records, found)
    assert left == records
    assert len(notes) == 1
    assert "with different classes" in notes[0]
    assert f"{data}/train/y/7.png (y)" in notes[0]


def test_training_refuses_drops_or_allows(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy(data, "test/x/0.png", "train/x/7.png", mirrored=True)
    settings = toy_settings(data, data.parent / "model", duplicates="refuse")
    with pytest.raises(InputError, match=r"test/x/0.png \(test\) is a near copy of .*7.png"):
        load_sets(settings)
    with caplog.at_level(logging.WARNING):
        names, sets = load_sets(settings.model_copy(update={"duplicates": "drop"}))
    assert any("left out" in said and "7.png" in said for said in caplog.messages)
    assert Counter(names[k] for k in sets["train"].labels) == {"x": 3, "y": 3}
    assert not any("7.png" in path for path in sets["train"].paths)
    assert len(sets["train"].pixels) == len(sets["train"].backgrounds) == 6
    assert sets["train"].images is not None
    assert len(sets["train"].images) == 6
    assert len(sets["test"]) == 6
    _, sets = load_sets(settings.model_copy(update={"duplicates": "allow"}))
    assert len(sets["train"]) == 7


def test_nothing_left_is_told(data: Path) -> None:
    for n in range(3):
        copy(data, f"train/x/{n}.png", f"test/x/{n}.png")
    settings = toy_settings(data, data.parent / "model", duplicates="drop")
    with pytest.raises(InputError, match="training images of the class x are also in val or test"):
        load_sets(settings)
    for c in "xy":
        for n in range(3):
            copy(data, f"val/{c}/{n}.png", f"test/{c}/{n}.png")
    with pytest.raises(InputError, match="images of the val split are also"):
        load_sets(settings)


def repeats(data: Path) -> list[Duplicate]:
    records = find_records(data, split="test")
    return find_repeats(records, fingerprints([r.path for r in records]))


def test_copies_within_a_set_are_stated_and_contradicting_labels_told_apart(data: Path) -> None:
    assert repeats(data) == []
    assert state_repeats([]) == []
    copy(data, "test/x/0.png", "test/x/7.png")
    copy(data, "test/x/0.png", "test/x/8.png")
    copy(data, "test/x/1.png", "test/x/9.png", mirrored=True)
    copy(data, "test/y/0.png", "test/x/yx.png")
    copy(data, "test/y/1.png", "test/x/yx-too.png", mirrored=True)
    found = repeats(data)
    assert [d.exact for d in found] == [True] * 3 + [False] * 2
    contrary, alike = state_repeats(found)
    assert contrary.startswith("2 pairs of the same image with different classes: ")
    assert f"{data}/test/x/yx.png (x) and {data}/test/y/0.png (y)" in contrary
    assert f"{data}/test/x/yx-too.png (x) and its near copy {data}/test/y/1.png (y)" in contrary
    assert alike.startswith("3 pairs of the same image (1 of them changed a little), counted as ")
    assert f"{data}/test/x/0.png and {data}/test/x/7.png" in alike
    assert f"{data}/test/x/1.png and {data}/test/x/9.png" in alike
    assert "yx" not in alike


def test_many_copies_are_paired_with_the_first_only(data: Path) -> None:
    for n in range(40):
        copy(data, "test/x/0.png", f"test/x/copy{n}.png")
    assert len(repeats(data)) == 40


def test_drawings_that_are_all_alike_do_not_make_endless_pairs(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = cv2.imread(str(data / "test/x/0.png"))
    assert image is not None
    for n in range(12):
        cv2.imwrite(str(data / f"test/x/paler{n}.png"), cv2.add(image, n + 1))
    assert len(repeats(data)) == 13 * 12 // 2
    monkeypatch.setattr("cytodiffusion.datasets.duplicates.MOST", 5)
    assert len(repeats(data)) == 5
