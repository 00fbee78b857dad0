"""The low-data curve: draws, runs that are kept, and what they add up to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from toys import PIXEL_SIZE_UM, toy_settings, write_discs

from cytodiffusion import __version__
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.evaluation import low_data
from cytodiffusion.evaluation.low_data import (
    GENTLE,
    LowDataSettings,
    draw_labelled,
    low_data_curve,
    low_data_figures,
    summarise_runs,
)
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.sets import load_sets

Sets = tuple[list[str], dict[str, CellSet]]
#: Trainings of a second or so.
TINY: dict[str, Any] = {"steps": 2, "batch_size": 6, "warmup": 1}
OURS: dict[str, Any] = TINY | {
    "widths": (8, 16),
    "blocks": (1, 1),
    "head_channels": 8,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 8, "val": 3, "test": 4})


@pytest.fixture(scope="module")
def sets(data: Path) -> Sets:
    return load_sets(toy_settings(data, data / "m"))


def asked(**changes: Any) -> LowDataSettings:
    small: dict[str, Any] = {
        "counts": (2, 4),
        "seeds": 1,
        "models": ("diffusion", "resnet18"),
        "input_size": 32,
        "trials": 1,
        "levels": (60,),
        "ours": OURS,
        "rivals": TINY,
    }
    return LowDataSettings(**(small | changes))


@pytest.fixture(scope="module")
def curve(sets: Sets, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("curve") / "low-data"
    return folder, low_data_curve(*sets, folder, asked())


def test_draws_are_nested_exact_and_differ_by_seed() -> None:
    labels = torch.arange(4).repeat(30)[torch.randperm(120, generator=torch.Generator())]
    few, more = draw_labelled(labels, 5, 1), draw_labelled(labels, 9, 1)
    assert torch.bincount(few[few >= 0]).tolist() == [5] * 4
    assert torch.bincount(more[more >= 0]).tolist() == [9] * 4
    assert (labels[more >= 0] == more[more >= 0]).all()
    assert (more[few >= 0] >= 0).all()
    assert not torch.equal(few, draw_labelled(labels, 5, 2))
    assert torch.equal(few, draw_labelled(labels, 5, 1))


def test_variations_for_other_laboratories_are_off() -> None:
    """Each kind of variation that a share of the crops gets, also those that come later."""
    shares = {k: v for k, v in GENTLE.model_dump().items() if k.endswith("_share")}
    assert shares.pop("plain_share") > 0
    assert shares
    assert set(shares.values()) == {0.0}


def test_runs_add_up_to_means_and_deviations() -> None:
    runs = [
        {"model": m, "cells": n, "seed": s, "balanced_accuracy": v}
        for m, n, s, v in (
            ("diffusion", 10, 0, 0.8),
            ("diffusion", 10, 1, 0.9),
            ("diffusion", 20, 0, 0.95),
            ("vit", 10, 0, 0.5),
        )
    ]
    settings = LowDataSettings(counts=(20, 10), models=("diffusion", "vit"), split="val")
    found = summarise_runs(runs, settings)
    ten, twenty = found["curves"]["diffusion"]
    assert ten == {
        "cells": 10,
        "balanced_accuracy": pytest.approx(0.85),
        "sd": pytest.approx(np.sqrt(2) * 0.05),
        "seeds": 2,
    }
    assert (twenty["cells"], twenty["sd"], twenty["seeds"]) == (20, 0.0, 1)
    assert [p["cells"] for p in found["curves"]["vit"]] == [10]  # the other is not done yet
    assert (found["split"], found["runs"]) == ("val", runs)


def test_the_curve_has_every_run(curve: tuple[Path, dict[str, Any]]) -> None:
    folder, result = curve
    assert set(result["curves"]) == {"diffusion", "resnet18"}
    for points in result["curves"].values():
        assert [p["cells"] for p in points] == [2, 4]
        assert all(0 <= p["balanced_accuracy"] <= 1 for p in points)
    assert json.loads((folder / "low_data.json").read_text()) == result
    table = pd.read_csv(folder / "low_data.csv")
    assert table[["model", "cells", "seed"]].to_numpy().tolist() == [
        ["diffusion", 2, 0],
        ["resnet18", 2, 0],
        ["diffusion", 4, 0],
        ["resnet18", 4, 0],
    ]
    assert not (folder / "run.run").exists()  # only results and the pre-training are kept


def test_a_stopped_curve_goes_on(
    sets: Sets,
    curve: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(share: float, message: str) -> None:
        if message.startswith("diffusion, 4"):
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        low_data_curve(*sets, tmp_path, asked(), stop)
    partial = json.loads((tmp_path / "low_data.json").read_text())
    assert [len(p) for p in partial["curves"].values()] == [1, 1]
    trained = count_runs(monkeypatch)
    assert low_data_curve(*sets, tmp_path, asked()) == curve[1]
    assert trained == [("diffusion", 4), ("resnet18", 4)]
    trained.clear()
    both = low_data_curve(*sets, tmp_path, asked(seeds=2, counts=(2,)))
    assert trained == [("diffusion", 2), ("resnet18", 2)]  # of the second draw
    assert [p["seeds"] for points in both["curves"].values() for p in points] == [2, 2]


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    trained: list[tuple[str, int]] = []
    run: Callable[..., None] = low_data._Study._run

    def counted(study: Any, model: str, cells: int, seed: int) -> None:
        trained.append((model, cells))
        run(study, model, cells, seed)

    monkeypatch.setattr(low_data._Study, "_run", counted)
    return trained


def test_other_settings_are_not_mixed_in(sets: Sets, curve: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="other settings or cells; name a new folder"):
        low_data_curve(*sets, curve[0], asked(rivals=TINY | {"steps": 3}))


def test_runs_on_other_cells_are_not_mixed_in(
    sets: Sets, curve: tuple[Path, dict[str, Any]]
) -> None:
    """As many crops of the same classes, cut at another scale."""
    names, both = sets
    other = {k: replace(c, pixels=c.pixels.flip(3)) for k, c in both.items()}
    with pytest.raises(InputError, match="other settings or cells"):
        low_data_curve(names, other, curve[0], asked())
    assert curve[1]["version"] == __version__


def test_a_curve_can_be_cancelled_within_a_training(sets: Sets, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []

    def progress(share: float, text: str) -> None:
        told.append((share, text))
        if text.startswith("step"):
            raise Cancelled

    with pytest.raises(Cancelled):
        low_data_curve(*sets, tmp_path / "stopped", asked(models=("resnet18",)), progress)
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert max(shares) <= 0.5  # the first of two runs


def test_rivals_may_use_the_unlabelled_cells_too(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    starts: list[bool] = []

    class Watched(low_data.BaselineTrainer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            seen.append(len(self.labelled))
            starts.append(self.start is not None)

    monkeypatch.setattr(low_data, "BaselineTrainer", Watched)
    models = ("resnet18", "resnet18+pseudo")
    settings = asked(models=models, counts=(2,), confidence=1e-3)
    result = low_data_curve(*sets, tmp_path, settings)
    assert seen == [6, 24]  # two of each class, then all
    assert starts == [False, True]
    assert set(result["curves"]) == set(models)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_what_cannot_be_measured_is_told(sets: Sets, tmp_path: Path) -> None:
    names, cells = sets
    with pytest.raises(InputError, match="class blue has 8 training cells, but 9"):
        low_data_curve(names, cells, tmp_path, asked(counts=(2, 9)))
    with pytest.raises(InputError, match="needs a test split"):
        low_data_curve(names, {"train": cells["train"]}, tmp_path, asked())
    with pytest.raises(ValidationError):
        LowDataSettings(models=("svm",))


def test_the_curve_is_a_part_of_an_evaluation(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[Any] = []

    def curve(names: Any, cells: Any, folder: Path, settings: Any, progress: Any) -> dict[str, Any]:
        asked_for.append((names, cells, folder, settings))
        return {"curves": {}}

    def load(settings: Any, progress: Any) -> Sets:
        asked_for.append(settings)
        return sets

    monkeypatch.setattr(low_data, "low_data_curve", curve)
    monkeypatch.setattr("cytodiffusion.training.sets.load_sets", load)
    settings = SimpleNamespace(
        low_data=(2, 3),
        low_data_steps=7,
        seeds=2,
        split="val",
        output=tmp_path,
        data=tmp_path / "cells.csv",
        layout="csv",
        pixel_size_um=PIXEL_SIZE_UM,
        seed=5,
        device="cpu",
    )
    context = SimpleNamespace(settings=settings, next=lambda title: lambda share, text: None)
    assert low_data_figures(context) == {"curves": {}}
    reading, (names, cells, folder, own) = asked_for
    assert (reading.data, reading.pixel_size_um) == (tmp_path / "cells.csv", PIXEL_SIZE_UM)
    assert (reading.layout, reading.input_size) == ("csv", own.input_size)
    assert (names, cells) == sets
    assert folder == tmp_path / "low-data"
    assert (own.counts, own.seeds, own.split) == ((2, 3), 2, "val")
    assert (own.first_seed, own.device) == (5, "cpu")
    assert own.ours == own.rivals == {"steps": 7}


def test_seeds_and_device_reach_the_trainings(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, str]] = []

    def train(study: Any, model: str, few: Any, seed: int, views: Any) -> Any:
        settings = study._settings(seed, **TINY)
        seen.append((settings.seed, settings.device))
        yield model, views.labels

    monkeypatch.setattr(low_data._Study, "_ours", train)
    own = asked(counts=(2,), models=("diffusion",), seeds=2, first_seed=4, device="cpu")
    found = low_data_curve(*sets, tmp_path, own)
    assert seen == [(4, "cpu"), (5, "cpu")]
    assert [run["seed"] for run in found["runs"]] == [4, 5]
    # neither is a reason to begin anew
    low_data_curve(*sets, tmp_path, asked(counts=(2,), models=("diffusion",), first_seed=5))
    assert len(seen) == 2


def test_cells_that_are_added_are_in_every_run(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, both = sets
    added = both["val"]
    seen: list[torch.Tensor] = []

    def train(self: Any, model: str, few: dict[str, CellSet], seed: int, views: Any) -> Any:
        seen.append(few["train"].labels)
        assert len(few["train"]) == len(both["train"]) + len(added)
        yield model, views.labels

    monkeypatch.setattr(low_data._Study, "_ours", train)
    monkeypatch.setattr(low_data._Study, "_rival", train)
    low_data_curve(names, both, tmp_path / "with", asked(), added=added)
    assert len(seen) == 4
    for labels, cells in zip(seen, (2, 2, 4, 4), strict=True):
        assert torch.equal(labels[-len(added) :], added.labels)
        assert int((labels[: -len(added)] >= 0).sum()) == cells * len(names)
    with pytest.raises(InputError, match="other settings or cells"):
        low_data_curve(names, both, tmp_path / "with", asked())
