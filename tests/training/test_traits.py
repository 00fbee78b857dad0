"""Attributes and finer classes of a data set, and a network that learns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from toys import toy_settings, write_discs

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.levels import attribute_columns, finer_posterior
from cytodiffusion.datasets import Record, find_records
from cytodiffusion.errors import InputError
from cytodiffusion.model import load_bundle
from cytodiffusion.taxonomy import load_taxonomy
from cytodiffusion.training.loss import HybridLoss
from cytodiffusion.training.train import train
from cytodiffusion.training.traits import (
    FINER,
    calibrated,
    find_traits,
    trait_scores,
    values_of,
    with_coarse_labels,
)
from cytodiffusion.traits import Trait

BLOOD = load_taxonomy("peripheral-blood")


def records(counts: dict[str, int], column: str = "subtype") -> list[Record]:
    """Neutrophils of these subtypes, and as many lymphocytes with an attribute."""
    found = []
    for subtype, count in counts.items():
        for n in range(count):
            path = Path(f"{subtype}{n}.png")
            found.append(Record(path, "neutrophil", "train", attributes={column: subtype}))
            shape = {"nucleus_shape": "round" if n % 2 else "indented"}
            found.append(Record(Path(f"l{path}"), "lymphocyte", "train", attributes=shape))
    return found


@pytest.mark.parametrize("column", ["subtype", "finer class", "subclass"])
def test_finer_classes_are_found_in_the_table(column: str) -> None:
    rows = with_coarse_labels(records({"BNE": 9, "SNE": 9, "NEUTROPHIL": 3}, column), BLOOD)
    traits = find_traits(rows, ["lymphocyte", "neutrophil"], BLOOD)
    assert [t.name for t in traits] == ["neutrophil", "nucleus_shape"]
    assert traits[0].values == ("band neutrophil", "segmented neutrophil")
    assert traits[0].parent == "neutrophil"
    assert traits[1].classes == ("lymphocyte",)
    told = values_of(rows, traits)
    assert told is not None
    assert sorted(set(told[:, 0].tolist())) == [-1, 0, 1]
    assert (told[:, 0] == -1).sum() == 3 + 21, "of three only the coarser class is known"


def test_a_value_that_few_cells_have_cannot_be_learned() -> None:
    rows = with_coarse_labels(records({"BNE": 9, "SNE": 3}), BLOOD)
    assert [t.name for t in find_traits(rows, ["lymphocyte", "neutrophil"], BLOOD)] == []


def test_folders_of_both_levels_become_one_class() -> None:
    mixed = [Record(Path("a"), "neutrophil", "train"), Record(Path("b"), "band neutrophil", "val")]
    found = with_coarse_labels(mixed, BLOOD)
    assert [r.label for r in found] == ["neutrophil", "neutrophil"]
    assert found[1].attributes[FINER] == "band neutrophil"
    alone = [Record(Path("b"), "band neutrophil", "train"), Record(Path("c"), "monocyte", "train")]
    assert with_coarse_labels(alone, BLOOD) == alone


def test_temperature_is_fitted_where_there_are_cells() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (200, 2))
    truth[:, 1] = -1
    logits = np.zeros((200, 4))
    logits[:, :2] = 8 * (np.eye(2)[truth[:, 0]] - 0.5) + rng.normal(0, 8, (200, 2))
    traits = (Trait("p", ("a", "b"), "p"), Trait("q", ("c", "d")))
    found = calibrated(traits, logits, truth)
    assert found[0].temperature > 1.5
    assert len(found[0].scores) == 200
    assert found[1] == traits[1]
    assert trait_scores(traits, logits, truth).keys() == {"p"}


def test_what_is_unknown_adds_no_loss() -> None:
    traits = (Trait("p", ("a", "b")), Trait("q", ("c", "d", "e")))
    loss = HybridLoss(
        torch.nn.Identity(),  # type: ignore[arg-type]
        4, class_loss=0.2, disc_radius=0.4, label_smoothing=0.0, traits=traits, trait_loss=1.0,
    )  # fmt: skip
    logits = torch.randn(6, 5, requires_grad=True)
    values = torch.full((6, 2), -1)
    values[0, 0] = 1
    told = loss._trait_loss(logits, values, torch.ones(6, 2))
    told.backward()
    assert logits.grad is not None
    assert logits.grad[0, :2].abs().sum() > 0
    assert logits.grad[1:].abs().sum() == 0
    assert logits.grad[0, 2:].abs().sum() == 0


def table_with_traits(folder: Path) -> Path:
    """Discs of several laboratories whose colour is a class and whose number an attribute."""
    write_discs(folder, {"train": 20, "val": 10}, ("blue", "red"))
    rows = []
    for path in sorted(folder.rglob("*.png")):
        number = int(path.stem)
        rows.append(
            {
                "path": str(path),
                "class": path.parent.name,
                "split": path.parent.parent.name,
                "laboratory": "one" if number % 2 else "two",
                "slide": f"{path.parent.parent.name}-{number % 3}",
                "warm": "yes" if path.parent.name == "red" else "no",
            }
        )
    pd.DataFrame(rows).to_csv(folder / "cells.csv", index=False)
    return folder / "cells.csv"


def test_a_model_learns_attributes_and_tells_them(tmp_path: Path) -> None:
    table = table_with_traits(tmp_path / "data")
    settings = toy_settings(
        table, tmp_path / "model", attributes=("warm",), steps=60, validate_every=30,
        trait_loss=2.0, learning_rate=5e-3,
    )  # fmt: skip
    model = load_bundle(train(settings), device="cpu")
    assert [t.name for t in model.traits] == ["warm"]
    assert "F1 of warm" in model.card
    history = pd.read_csv(tmp_path / "model.run" / "training.csv")
    assert {"validation_one", "validation_two"} <= set(history.columns)
    crops = np.stack([np.full((32, 32, 3), colour) for colour in ((70, 80, 200), (200, 60, 70))])
    result = classify(crops.astype(np.uint8), model)
    assert result.trait_probabilities is not None
    assert np.allclose(result.trait_probabilities.sum(axis=1), 1)
    assert set(attribute_columns(result)) == {"attr_warm"}
    assert np.allclose(finer_posterior(result), result.posterior)


def test_columns_of_a_table(tmp_path: Path) -> None:
    table = table_with_traits(tmp_path / "data")
    found = find_records(table)
    assert {r.laboratory for r in found} == {"one", "two"}
    assert all(r.slide == r.group for r in found)
    assert {r.attributes["warm"] for r in found} == {"yes", "no"}


@pytest.mark.parametrize("size", ["x", "-1", "1000"])
def test_a_pixel_size_that_is_none(tmp_path: Path, size: str) -> None:
    (tmp_path / "t.csv").write_text(f"path,class,pixel_size_um\na.png,x,{size}\n")
    with pytest.raises(InputError, match="row 2: the pixel size"):
        find_records(tmp_path / "t.csv")


@pytest.mark.parametrize(("word", "centred"), [("yes", True), ("no", False), ("", False)])
def test_a_table_says_that_cells_are_in_the_middle(
    tmp_path: Path, word: str, centred: bool
) -> None:
    (tmp_path / "t.csv").write_text(f"path,class,centred\na.png,x,{word}\n")
    assert find_records(tmp_path / "t.csv")[0].centred is centred


def test_a_word_that_is_neither_yes_nor_no(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,class,centred\na.png,x,perhaps\n")
    with pytest.raises(InputError, match="neither yes nor no"):
        find_records(tmp_path / "t.csv")
