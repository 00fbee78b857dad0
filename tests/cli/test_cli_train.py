"""Training on the command line: what cannot begin leaves nothing, what goes on is the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.training.trainer import Trainer

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data") / "discs", {"train": 8, "val": 2})


@pytest.fixture
def train(run: Run, discs: Path, tmp_path: Path) -> Run:
    def call(*more: object, data: Path = discs) -> tuple[int, dict[str, Any]]:
        sizes = ("input_size=32", "widths=8,16", "blocks=1,1", "head_channels=8", "warmup=1")
        small = [part for size in sizes for part in ("--set", size)]
        return run(
            *("train", data, "-o", tmp_path / "m", "--device", "cpu", "--batch-size", 4),
            *("--pixel-size", PIXEL_SIZE_UM, "--set", "duplicates=allow", *small, *more),
        )

    return call


@pytest.fixture
def stopped(train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with the seed 0 that was stopped after its first checkpoint."""
    with monkeypatch.context() as broken:

        def step(self: Trainer, *arguments: Any) -> None:
            raise KeyboardInterrupt

        broken.setattr("cytodiffusion.training.train.finish_bundle", step)
        code, _ = train("--steps", 2, "--set", "checkpoint_every=1")
        assert code == 130
    assert (tmp_path / "m.run" / "checkpoint").is_dir()
    return tmp_path / "m.run"


@pytest.mark.parametrize("seed", [("--seed", 5), ("--set", "seed=5")])
def test_a_run_goes_on_with_its_own_seed_only(
    train: Run, stopped: Path, seed: tuple[object, ...]
) -> None:
    code, told = train("--steps", 2, "--resume", *seed)
    assert code == 1
    assert "was begun with the seed 0" in told["error"]
    assert stopped.is_dir()
    code, told = train("--steps", 2, "--resume", "--seed", 0)
    assert code == 0, told


@pytest.mark.parametrize(
    "wrong",
    [
        ("--init", "/no/such/model"),
        ("--set", "widths=8,12"),
        ("--device", "cuda:99"),
        ("--kind", "generator", "--init", "/no/such/model"),
        ("--kind", "resnet18", "--init", "/no/such/model"),
    ],
)
def test_what_cannot_begin_leaves_nothing(
    train: Run, tmp_path: Path, wrong: tuple[object, ...]
) -> None:
    code, told = train("--steps", 1, *wrong)
    assert code == 1
    assert told["error"].endswith(".")
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_trained_on_leave_nothing(train: Run, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "one", {"train": 2, "val": 1}, ("red",))
    code, told = train(data=data)
    assert code == 1
    assert "two classes" in told["error"]
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_a_folder_that_was_there_before_stays(train: Run, tmp_path: Path) -> None:
    (tmp_path / "m.run").mkdir()
    assert train("--init", "/no/such/model")[0] == 1
    assert (tmp_path / "m.run").is_dir()


@pytest.mark.parametrize("amount", ["augment.hue=50", "augment.blur=1e9", "augment.noise=3.01"])
def test_amounts_of_variation_are_bounded(train: Run, tmp_path: Path, amount: str) -> None:
    code, told = train("--set", amount, "--dry-run")
    assert code == 1
    name, value = amount.split("=")
    assert told["error"].startswith(f"The setting {name} cannot be {float(value):g}: it must be")
    assert train("--set", f"{name}=3", "--dry-run")[0] == 0
