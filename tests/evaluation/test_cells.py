"""Which images are evaluated, and how batches become one result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated import classification, scored
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.classification.result import Classification, join
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import Record
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation import cells as module
from cytodiffusion.evaluation.cells import choose_records, draw, score
from cytodiffusion.evaluation.leakage import same_files
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle


def records_of(folder: Path, split: str = "test") -> list[Record]:
    return [
        Record(path, path.parent.name, split) for path in sorted((folder / split).rglob("*.png"))
    ]


def test_batches_join_to_the_whole() -> None:
    whole = classification(60)
    # as many cells as there are levels: what belongs to the cells must not be guessed by length
    parts = [whole[:2], whole[2:4], whole[4:]]
    joined = join(parts)
    assert isinstance(joined, Classification)
    np.testing.assert_array_equal(joined.levels, whole.levels)
    for name in ("posterior", "predicted", "prediction_set", "errors_by_level", "trials"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    assert joined.class_names == whole.class_names


def test_chunks_do_not_change_the_result(tmp_path, monkeypatch) -> None:
    data = write_discs(tmp_path / "d", {"test": 3})
    model = load_bundle(tiny_bundle(tmp_path / "m", ("blue", "green", "red")))
    settings = ClassifySettings(trials=3)
    frames = Frames(records_of(data), PIXEL_SIZE_UM)
    whole = score(model, records_of(data), settings, frames=frames)
    monkeypatch.setattr(module, "CHUNK", 4)
    parts = score(model, records_of(data), settings, frames=frames)
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_allclose(parts.result.posterior, whole.result.posterior, atol=1e-6)
    assert whole.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_choosing_a_split() -> None:
    found = [Record(Path(f"{s}{i}.png"), "a", s) for s in ("train", "test") for i in range(5)]
    found.append(Record(Path("x.png"), None, "test"))
    assert len(choose_records(found, Path("d"), "test")) == 5
    assert len(choose_records(found, Path("d"), "all")) == 10
    with pytest.raises(InputError, match="no labelled images in its val split; it has test, train"):
        choose_records(found, Path("d"), "val")
    few = draw(found[:5], 3, seed=1)
    assert len(few) == 3
    assert few == draw(found[:5], 3, seed=1) == sorted(few, key=lambda r: r.path)


def test_rows_can_be_chosen() -> None:
    cells = scored(classification(6), ["a", "x", "b", "c", "x", "d"])
    assert cells.known.tolist() == [True, False, True, True, False, True]
    known = cells[cells.known]
    assert [r.label for r in known.records] == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(known.result.posterior, cells.result.posterior[cells.known])
    table = cells.frame()
    assert table["label"].tolist() == ["a", "x", "b", "c", "x", "d"]
    assert {"path", "predicted", "confidence", "prediction_set", "trials"} <= set(table.columns)


def test_copies_in_the_training_split_are_found(tmp_path) -> None:
    contents = {"a": b"one", "b": b"two", "c": b"one", "d": b"six"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    test = [Record(tmp_path / n, "x", "test") for n in ("a", "b", "gone")]
    train = [Record(tmp_path / n, "x", "train") for n in ("c", "d")]
    assert same_files(test, train) == test[:1]
    assert same_files(test, [replace(train[1], path=tmp_path / "b")]) == [test[1]]
