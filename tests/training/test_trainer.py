"""Runs that are killed and resumed, and data that cannot be trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from toys import toy_settings, write_discs

from cytodiffusion.errors import BundleError, Cancelled, InputError
from cytodiffusion.training.loop import rate_at
from cytodiffusion.training.trainer import Trainer


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 8, "val": 2})


def stop_at(fraction: float) -> Callable[[float, str], None]:
    def progress(share: float, message: str) -> None:
        if message.startswith("step") and share >= fraction:
            raise Cancelled("Cancelled.")

    return progress


def weights(run: Trainer) -> list[torch.Tensor]:
    return [*run.model.parameters(), *run.ema.shadow_params]


def test_a_killed_run_ends_as_an_unbroken_one(discs: Path, tmp_path: Path) -> None:
    small = {"steps": 26, "batch_size": 4, "checkpoint_every": 7, "dropout": 0.2}
    whole = Trainer(toy_settings(discs, tmp_path / "whole", **small))
    whole.fit()
    first = Trainer(toy_settings(discs, tmp_path / "broken", **small), stop_at(0.7))
    with pytest.raises(Cancelled):
        first.fit()
    assert first.step == 20  # of which the last checkpoint holds 14
    second = Trainer(toy_settings(discs, tmp_path / "broken", resume=True, **small))
    assert second.step == 14
    second.fit()
    assert second.step == whole.step == 26
    for a, b in zip(weights(whole), weights(second), strict=True):
        assert torch.equal(a, b)
    assert second.history == whole.history
    again = Trainer(toy_settings(discs, tmp_path / "broken", resume=True, **small))
    again.fit()  # nothing is left to do
    assert again.step == 26


def test_a_seed_repeats_and_differs(discs: Path, tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = Trainer(toy_settings(discs, tmp_path / name, seed=seed, steps=1))
        run.fit()
        runs.append(torch.cat([w.flatten() for w in weights(run)]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_crops_without_a_label_take_part(discs: Path, tmp_path: Path) -> None:
    rows = ["path,class,split"]
    for path in sorted(discs.rglob("*.png")):
        split, name = path.parts[-3], path.parts[-2]
        known = "" if split == "train" and path.stem in {"006", "007"} else name
        rows.append(f"{path},{known},{split}")
    table = tmp_path / "cells.csv"
    table.write_text("\n".join(rows) + "\n")
    run = Trainer(toy_settings(table, tmp_path / "m", steps=1, unlabelled_share=0.5))
    assert run.names == ["blue", "green", "red"]
    assert (len(run.labelled), len(run.unlabelled)) == (18, 6)
    labels, conditions = run._batch(0)[3:5]
    assert (labels < 0).sum() == 8
    assert (conditions[labels < 0] == -1).all()
    run.fit()
    assert run.step == 1


def test_a_tilted_run_sees_rather_low_levels(discs: Path, tmp_path: Path) -> None:
    middles = {}
    for tilt in (1.25, 3.0):
        run = Trainer(toy_settings(discs, tmp_path / str(tilt), level_tilt=tilt, batch_size=16))
        middles[tilt] = float(run._batch(0)[1].double().median())
    assert middles[1.25] == pytest.approx(1000 * 0.5**1.25, abs=60)
    assert middles[3.0] == pytest.approx(1000 * 0.5**3, abs=60)


def test_runs_of_one_process_may_differ_in_precision(discs: Path, tmp_path: Path) -> None:
    for name, precision in (("a", "no"), ("b", "bf16"), ("c", "no")):
        run = Trainer(toy_settings(discs, tmp_path / name, mixed_precision=precision))
        assert run.accelerator.mixed_precision == precision


def test_an_earlier_run_is_not_overwritten_unasked(discs: Path, tmp_path: Path) -> None:
    Trainer(toy_settings(discs, tmp_path / "m", steps=1)).fit()
    with pytest.raises(InputError, match="--resume"):
        Trainer(toy_settings(discs, tmp_path / "m", steps=1))


def test_a_run_with_other_classes_is_not_resumed(discs: Path, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 2, "val": 1})
    Trainer(toy_settings(data, tmp_path / "m", steps=1)).fit()
    for split in ("train", "val"):
        (data / split / "red").rename(data / split / "crimson")
    with pytest.raises(InputError, match=r"other classes \(blue, green, red\)"):
        Trainer(toy_settings(data, tmp_path / "m", steps=2, resume=True))
    for split in ("train", "val"):
        (data / split / "crimson" / "000.png").rename(data / split / "blue" / "x.png")
    with pytest.raises(InputError, match=r"train into a new folder|holds no images"):
        Trainer(toy_settings(data, tmp_path / "m", steps=2, resume=True))


def test_resuming_without_a_run_begins_one(discs: Path, tmp_path: Path) -> None:
    assert Trainer(toy_settings(discs, tmp_path / "m", resume=True)).step == 0


def test_a_run_that_diverges_ends_before_its_next_checkpoint(discs: Path, tmp_path: Path) -> None:
    wild = toy_settings(discs, tmp_path / "m", learning_rate=1e30, warmup=1, checkpoint_every=1)
    run = Trainer(wild)
    with pytest.raises(InputError, match="lower learning rate"):
        run.fit()
    assert run.step < 6


def test_data_without_a_validation_split_get_one(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 4})
    run = Trainer(toy_settings(data, tmp_path / "m"))
    for cells in (run.sets["train"], run.sets["val"]):
        assert set(cells.labels.tolist()) == {0, 1, 2}
    assert not set(run.sets["train"].paths) & set(run.sets["val"].paths)


def test_a_class_of_unreadable_images_is_told(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 2, "val": 1})
    for path in (data / "train" / "red").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="class red could be read"):
        Trainer(toy_settings(data, tmp_path / "m"))


def test_output_is_checked_before_the_work(discs: Path, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "patient.tif").touch()
    with pytest.raises(BundleError, match=r"patient\.tif"):
        Trainer(toy_settings(discs, tmp_path / "slides"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        Trainer(toy_settings(discs, tmp_path / "file" / "model"))
    with pytest.raises(BundleError, match="new folder"):
        Trainer(toy_settings(discs, Path(".")))


@pytest.mark.parametrize(
    "values",
    [
        {"input_size": 33},
        {"input_size": 36},
        {"patch": 3},
        {"widths": (8, 12)},
        {"widths": (8,)},
        {"widths": (), "blocks": ()},
        {"blocks": (1, 0)},
        {"seed": 2**40},
        {"steps": 0},
        {"window_um": 0.0},
        {"mixed_precision": "fp16"},
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        toy_settings(Path("data"), Path("model"), **values)


def test_the_rate_rises_stays_and_falls() -> None:
    settings = toy_settings(Path("d"), Path("m"), steps=100, warmup=10, cooldown=0.3)
    rates = [rate_at(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:70] == [1.0] * 60
    assert rates[99] == pytest.approx(1 / 30)
    flat = toy_settings(Path("d"), Path("m"), warmup=1, cooldown=0)
    assert rate_at(5, flat) == 1


def test_a_handful_of_unlabelled_crops_does_not_fill_batches(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 20, "val": 2})
    other = data / "train" / "unlabelled"
    other.mkdir()
    (data / "train" / "red" / "000.png").rename(other / "a.png")
    run = Trainer(toy_settings(data, tmp_path / "m", steps=1, unlabelled_share=0.5))
    assert len(run.unlabelled) == 1
    drawn = torch.stack([run._draw(step) for step in range(20)])
    assert (drawn == int(run.unlabelled[0])).sum(1).max() <= 2
