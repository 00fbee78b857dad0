"""What each split may hold, and data that no training can be made of."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from toys import toy_settings, write_discs

from cytodiffusion.errors import InputError
from cytodiffusion.training.sets import load_sets


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return write_discs(tmp_path / "data", {"train": 4, "val": 2, "test": 3})


def table(folder: Path, target: Path, blank: set[str]) -> Path:
    """List the discs in a table, those whose ``split/number`` is in ``blank`` without a class."""
    rows = ["path,class,split"]
    for path in sorted(folder.rglob("*.png")):
        split, name = path.parts[-3], path.parts[-2]
        rows.append(f"{path},{'' if f'{split}/{path.stem}' in blank else name},{split}")
    target.write_text("\n".join(rows) + "\n")
    return target


def test_only_training_cells_may_lack_a_class(discs: Path, tmp_path: Path) -> None:
    blank = {"train/000", "train/001", "val/000", "test/000", "test/001"}
    settings = toy_settings(table(discs, tmp_path / "cells.csv", blank), tmp_path / "m")
    names, sets = load_sets(settings)
    assert names == ["blue", "green", "red"]
    assert list(sets) == ["train", "val", "test"]
    assert sorted(sets["train"].labels.tolist()) == [-1] * 6 + [0, 0, 1, 1, 2, 2]
    assert sorted(sets["val"].labels.tolist()) == [0, 1, 2]
    assert sorted(sets["test"].labels.tolist()) == [0, 1, 2]
    for cells in sets.values():
        known = [(p, n) for p, n in zip(cells.paths, cells.labels.tolist(), strict=True) if n >= 0]
        assert all(Path(path).parent.name == names[number] for path, number in known)


def test_a_test_split_is_not_needed_but_a_validation_split_is(discs: Path, tmp_path: Path) -> None:
    for path in (discs / "test").rglob("*.png"):
        path.unlink()
    assert list(load_sets(toy_settings(discs, tmp_path / "m"))[1]) == ["train", "val"]
    blank = {"val/000", "val/001"}
    settings = toy_settings(table(discs, tmp_path / "cells.csv", blank), tmp_path / "m")
    with pytest.raises(InputError, match="no images in its val split"):
        load_sets(settings)


def test_images_that_cannot_be_read_are_named(
    discs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (discs / "train" / "red" / "002.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        _, sets = load_sets(toy_settings(discs, tmp_path / "m"))
    assert len(sets["train"]) == 11
    assert [r for r in caplog.messages if r.startswith("skipped:") and "002.png" in r]
    for path in (discs / "train" / "red").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="class red could be read"):
        load_sets(toy_settings(discs, tmp_path / "m"))


def test_the_layout_that_was_asked_for_is_read(discs: Path, tmp_path: Path) -> None:
    flat = discs / "train"
    (flat / "checked.csv").write_text("image,label\nred/000.png,red\n")
    settings = toy_settings(flat, tmp_path / "m")
    assert len(load_sets(settings)[0]) == 3
    with pytest.raises(InputError, match="at least two classes of images; found: red"):
        load_sets(settings.model_copy(update={"layout": "cytodata"}))


def test_a_colour_of_a_class_that_is_not_there_is_refused(discs: Path, tmp_path: Path) -> None:
    settings = toy_settings(discs, tmp_path / "m").model_copy(
        update={"colors": {"bleu": "#0000ff"}}
    )
    with pytest.raises(InputError, match="no class 'bleu'"):
        load_sets(settings)
