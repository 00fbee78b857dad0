"""Topping up a training set: rare classes only, training only, and nothing real is touched."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cytodiffusion.datasets import Record, find_records
from cytodiffusion.errors import InputError
from cytodiffusion.files.synthetic_mark import is_synthetic, write_synthetic_png
from cytodiffusion.generation import GenerationSettings
from cytodiffusion.generation.augment import augment_training, plan_top_up
from cytodiffusion.model import ModelBundle

RAW = GenerationSettings(steps=2, reject=False)


def records(counts: dict[str, int], split: str = "train") -> list[Record]:
    return [
        Record(Path(f"{name}{i}.png"), name, split) for name, n in counts.items() for i in range(n)
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, counts in {
        "train": {"neutrophil": 4, "platelet": 1, "eosinophil": 3},
        "val": {"neutrophil": 1, "platelet": 2},
        "test": {"platelet": 1},
    }.items():
        for name, n in counts.items():
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "data"


def test_what_is_lacking(tiny: ModelBundle) -> None:
    real = records({"neutrophil": 5, "platelet": 2, "eosinophil": 5})
    held = records({"platelet": 9}, "val") + records({"platelet": 9}, "test")
    plan = plan_top_up([*real, *held], tiny)
    assert plan.wanted == {"platelet": 3}
    assert plan.real == {"eosinophil": 5, "neutrophil": 5, "platelet": 2}
    assert plan.unknown == ()
    more = plan_top_up(real, tiny, to=6)
    assert more.wanted == {"eosinophil": 1, "neutrophil": 1, "platelet": 4}


def test_classes_that_the_model_does_not_draw_stay_as_they_are(tiny: ModelBundle) -> None:
    plan = plan_top_up(records({"neutrophil": 5, "blast": 2, "platelet": 1}), tiny)
    assert plan.wanted == {"platelet": 4}
    assert plan.unknown == ("blast",)


@pytest.mark.parametrize(
    ("counts", "to", "words"),
    [
        ({"neutrophil": 3, "platelet": 3}, None, "nothing is lacking"),
        ({"neutrophil": 3, "platelet": 2}, 2, "nothing is lacking"),
        ({"blast": 3, "smudge": 2}, None, "draws none of the classes"),
        ({}, None, "no labelled training images"),
        ({"neutrophil": 1}, 0, "at least one"),
    ],
)
def test_nothing_to_do(
    tiny: ModelBundle, counts: dict[str, int], to: int | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        plan_top_up(records(counts), tiny, to)


def test_a_training_set_that_is_topped_up(tiny: ModelBundle, data: Path, tmp_path: Path) -> None:
    before = sorted(data.rglob("*"))
    done = augment_training(data, tmp_path / "out", tiny, RAW, pixel_size_um=0.5)
    assert sorted(data.rglob("*")) == before
    assert done.added() == {"eosinophil": 1, "platelet": 3}
    table = pd.read_csv(done.table, dtype=str)
    assert list(table.columns) == ["path", "class", "split", "synthetic"]
    drawn = table[table["synthetic"] == "true"]
    assert (drawn["split"] == "train").all()
    assert len(drawn) == 4
    assert len(table) == 12 + 4
    found = find_records(done.table)
    assert all(r.path.is_file() for r in found)
    train = [r for r in found if r.split == "train"]
    assert {n: sum(r.label == n for r in train) for n in tiny.class_names} == {
        "eosinophil": 4, "neutrophil": 4, "platelet": 4,
    }  # fmt: skip
    for record in found:
        assert is_synthetic(record.path) == (record.attributes["synthetic"] == "true")


def test_the_names_of_the_data_are_kept(tiny: ModelBundle, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(5)],
            "class": ["neutrophil"] * 3 + ["Platelet", "neutrophil"],
            "split": ["train"] * 4 + ["val"],
            "patient": ["p1", "p1", "p2", "p2", "p3"],
        }
    )
    table.to_csv(tmp_path / "cells.csv", index=False)
    done = augment_training(tmp_path / "cells.csv", tmp_path / "out", tiny, RAW)
    joined = pd.read_csv(done.table, dtype=str, keep_default_na=False)
    assert joined["group"].tolist() == ["p1", "p1", "p2", "p2", "p3", "", ""]
    assert len(set(joined["class"])) == 2
    assert {r.label for r in find_records(done.table)} == {"neutrophil", "platelet"}


def test_a_set_is_not_topped_up_twice(tiny: ModelBundle, data: Path, tmp_path: Path) -> None:
    done = augment_training(data, tmp_path / "out", tiny, RAW)
    with pytest.raises(InputError, match="holds synthetic images already"):
        augment_training(done.table, tmp_path / "more", tiny, RAW, to=9)
    with pytest.raises(InputError, match="holds synthetic images already"):
        augment_training(tmp_path / "out", tmp_path / "more", tiny, RAW, to=9)


def test_synthetic_images_that_would_measure_something_are_told(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "cytodiffusion"):
        find_records(data)
    assert caplog.messages == []
    pixels = np.zeros((24, 24, 3), np.uint8)
    write_synthetic_png(data / "test" / "platelet" / "drawn.png", pixels, {})
    write_synthetic_png(data / "train" / "platelet" / "drawn.png", pixels, {})
    with caplog.at_level(logging.WARNING, "cytodiffusion"):
        find_records(data)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("1 of the images")
    assert "synthetic" in caplog.messages[0]
