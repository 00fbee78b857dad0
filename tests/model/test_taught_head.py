"""What a model was taught, as two files of its bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cytodiffusion.errors import BundleError
from cytodiffusion.model.bundle import CellClass, ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.taught_head import KEPT_OF_EACH, TaughtCells, TaughtHead
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.model.validation_record import ValidationRecord

NAMES = ("lymphocyte", "monocyte")


def head(cells: int = 5, classes: int = 3) -> TaughtHead:
    rng = np.random.default_rng(0)
    taught = TaughtCells(
        keys=np.arange(cells) - 2**40,
        classes=np.arange(cells) % classes,
        base=np.log(rng.dirichlet(np.ones(2), cells)).astype(np.float32),
        embedding=rng.normal(size=(cells, 16)).astype(np.float32),
        unusual=np.zeros(cells, np.float32),
    )
    return TaughtHead(
        scale=1.5,
        offsets=np.array([0.0, 1.0, -1.0], np.float32),
        weights=rng.normal(size=(16, 3)).astype(np.float32),
        unknown=-3.5,
        carried=np.ones(cells, np.float32),
        cells=taught,
        validation=ValidationRecord(),
        origin={"name": "tiny", "version": "0", "sha256": "abc"},
    )


def taught(folder: Path, own: TaughtHead) -> ModelBundle:
    model = load_bundle(tiny_bundle(folder, NAMES), device="cpu")
    return replace(model, classes=(*model.classes, CellClass("blast", "#112233")), head=own)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    own = head()
    save_bundle(tmp_path / "b", taught(tmp_path / "a", own))

    found = load_bundle(tmp_path / "b", device="cpu")
    assert found.class_names == (*NAMES, "blast")
    assert found.head is not None
    assert np.array_equal(found.head.weights, own.weights)
    assert np.array_equal(found.head.cells.keys, own.cells.keys)
    assert (found.head.scale, found.head.unknown) == (1.5, -3.5)
    assert found.untaught.class_names == NAMES
    assert found.untaught.checksum == "abc"
    assert found.untaught.untaught.head is None


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": np.zeros(2, np.float32)},
        {"weights": np.full((16, 3), np.nan, np.float32)},
        {"scale": -1.0},
        {"carried": np.zeros(4, np.float32)},
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict) -> None:
    save_bundle(tmp_path / "b", taught(tmp_path / "a", replace(head(), **change)))

    with pytest.raises(BundleError, match="describes nothing that was taught"):
        load_bundle(tmp_path / "b", device="cpu")


def test_its_promises_are_those_of_taught_cells_beside_few_others() -> None:
    many = ValidationRecord(
        scores=torch.linspace(0, 1, 200),
        classes=torch.arange(200) % 2,
        confidence=torch.linspace(0.5, 1, 200).double(),
        correct=torch.ones(200, dtype=torch.bool),
        true=torch.arange(200) % 2,
        called=torch.arange(200) % 2,
    )
    own = replace(many, classes=torch.full((200,), 2), true=torch.full((200,), 2))

    joined = replace(head(), validation=own).joined(many)

    assert joined.classes.bincount().tolist() == [KEPT_OF_EACH, KEPT_OF_EACH, 200]
    assert torch.equal(joined.scores, joined.scores.sort().values)
    joined.check(3)
    assert head().joined(many) is many
