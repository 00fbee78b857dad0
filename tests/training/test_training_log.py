"""The log of a run: means since the last row, validation figures, kills and resumption."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from toys import toy_settings, write_discs

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.training import training_log
from cytodiffusion.training.trainer import Trainer
from cytodiffusion.training.training_log import TrainingLog


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 8, "val": 2})


def read(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "training.csv")


def test_a_row_has_means_and_the_heading_grows(tmp_path: Path) -> None:
    table = TrainingLog(tmp_path)
    table.add({"loss": 1.0})
    table.add({"loss": 2.0})
    table.write(2, 0.1)
    table.add({"loss": 5.0})
    table.write(3, 0.2, {"kinds right": 0.75})
    table.add({"loss": 7.0})
    table.write(4, 0.2)
    found = read(tmp_path)
    assert list(found) == ["step", "seconds", "learning_rate", "loss", "kinds_right"]
    assert found["loss"].tolist() == [1.5, 5.0, 7.0]
    assert found["kinds_right"].isna().tolist() == [True, False, True]
    assert found["learning_rate"].tolist() == [0.1, 0.2, 0.2]


def test_going_on_drops_later_rows_and_half_ones(tmp_path: Path) -> None:
    text = "step,seconds,learning_rate,loss\n10,100.0,0.1,3\n20,200.0,0.1,2\n30,3"
    (tmp_path / "training.csv").write_text(text)
    table = TrainingLog(tmp_path, 15)
    assert read(tmp_path)["step"].tolist() == [10]
    table.add({"loss": 2.5})
    table.write(20, 0.1)
    found = read(tmp_path)
    assert found["step"].tolist() == [10, 20]
    assert found["loss"].tolist() == [3.0, 2.5]
    assert 100 <= found["seconds"][1] < 110
    TrainingLog(tmp_path)
    assert (tmp_path / "training.csv").read_text() == ""


def test_rows_wait_while_the_table_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    table = TrainingLog(tmp_path)
    with monkeypatch.context() as locked:

        def refuse(*args: object) -> None:
            raise PermissionError(13, "Permission denied")

        locked.setattr(os, "replace", refuse)
        for step in (1, 2):
            table.add({"loss": float(step)})
            table.write(step, 0.1, {"validation": 0.5} if step == 1 else None)
    assert len(caplog.records) == 1
    assert not (tmp_path / "training.csv").exists()
    table.add({"loss": 3.0})
    table.write(3, 0.1)
    found = read(tmp_path)
    assert found["step"].tolist() == [1, 2, 3]
    assert found["validation"].count() == 1


def stop_at(step: int) -> Callable[[float, str], None]:
    def progress(share: float, message: str) -> None:
        if message.startswith(f"step {step}/"):
            raise Cancelled("Cancelled.")

    return progress


def test_a_killed_and_resumed_run_logs_as_an_unbroken_one(discs: Path, tmp_path: Path) -> None:
    small = {"steps": 44, "batch_size": 4, "checkpoint_every": 14, "validate_every": 30}
    small |= {"log_every": 4}
    Trainer(toy_settings(discs, tmp_path / "whole", **small)).fit()
    with pytest.raises(Cancelled):
        Trainer(toy_settings(discs, tmp_path / "broken", **small), stop_at(40)).fit()
    assert read(tmp_path / "broken.run")["step"].max() == 36
    Trainer(toy_settings(discs, tmp_path / "broken", resume=True, **small)).fit()
    whole, broken = read(tmp_path / "whole.run"), read(tmp_path / "broken.run")
    wanted = [*range(4, 45, 4), 14, 30, 42]
    assert whole["step"].tolist() == sorted(wanted)
    assert {"loss", "denoising", "classes", "accuracy", "validation"} <= set(whole)
    pd.testing.assert_frame_equal(
        whole.drop(columns="seconds"), broken.drop(columns="seconds"), rtol=1e-4
    )
    assert whole["validation"].count() == 2
    assert broken["seconds"].is_monotonic_increasing


def test_a_missing_tracker_is_told_before_the_work(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.utils.is_tensorboard_available", lambda: False)
    with pytest.raises(InputError, match="needs the package tensorboard"):
        Trainer(toy_settings(discs, tmp_path / "m", tracker="tensorboard"))
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_gets_the_same_figures(discs: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small = {"steps": 6, "batch_size": 4, "log_every": 2, "tracker": "tensorboard"}
    Trainer(toy_settings(discs, tmp_path / "m", **small)).fit()
    folder = next((tmp_path / "m.run").rglob("events.out.tfevents*")).parent
    events = EventAccumulator(str(folder))
    events.Reload()
    logged = {e.step: e.value for e in events.Scalars("loss")}
    found = read(tmp_path / "m.run").set_index("step")["loss"]
    assert logged == pytest.approx(found.to_dict(), rel=1e-4)
    assert training_log.LOG_FILE == "training.csv"
