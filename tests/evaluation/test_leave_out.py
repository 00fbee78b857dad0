"""A class that the model knows is left out: a copy is trained, kept and used again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cytodiffusion.datasets import Record, find_records
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation import leave_out as module
from cytodiffusion.evaluation.leave_out import model_without, slug, write_table
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import read_report
from cytodiffusion.model import load_bundle
from toys import PIXEL_SIZE_UM


def settings_for(data: Path, output: Path, **more) -> EvaluateSettings:
    return EvaluateSettings(
        model="unused",
        data=data,
        output=output,
        leave_out="red",
        pixel_size_um=PIXEL_SIZE_UM,
        resamples=20,
        trial_cells=0,
        device="cpu",
        **more,
    )


def test_a_copy_is_trained_once_and_measured(disc_model, tmp_path, monkeypatch) -> None:
    data = disc_model.parent / "data"
    settings = settings_for(data, tmp_path / "r", leave_out_steps=4)
    settings = settings.model_copy(update={"model": str(disc_model)})
    first = read_report(evaluate(settings)).metrics
    copy = load_bundle(tmp_path / "r" / "without-red")
    assert copy.class_names == ("blue", "green")
    assert copy.training["steps"] == 4
    assert copy.training["widths"] == load_bundle(disc_model).training["widths"]
    assert first["anomaly"]["trained_for_it"]
    assert (first["anomaly"]["n_known"], first["anomaly"]["n_unknown"]) == (60, 30)
    assert first["n"] == 90
    assert first["per_class"]["red"]["n"] == 30

    def refuse(*_) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr("cytodiffusion.training.trainer.train", refuse)
    again = read_report(evaluate(settings)).metrics
    assert again["anomaly"] == first["anomaly"]
    other = settings.model_copy(update={"leave_out_steps": 5})
    with pytest.raises(InputError, match="trained for 4 steps, not 5"):
        evaluate(other)


def test_a_given_model_must_not_know_the_class(disc_model, tmp_path) -> None:
    data = disc_model.parent / "data"
    settings = settings_for(data, tmp_path, leave_out_model=disc_model)
    model = load_bundle(disc_model)
    with pytest.raises(InputError, match="knows the class red"):
        model_without(model, find_records(data), settings, disc_model)
    nowhere = tmp_path / "nowhere"
    settings = settings_for(data, tmp_path, leave_out_model=nowhere)
    with pytest.raises(InputError, match="There is no model in"):
        model_without(model, find_records(data), settings, nowhere)


def test_a_model_that_does_not_say_how_it_was_trained(disc_model, tmp_path) -> None:
    data = disc_model.parent / "data"
    model = replace(load_bundle(disc_model), training={})
    with pytest.raises(InputError, match="does not say how it was trained"):
        model_without(model, find_records(data), settings_for(data, tmp_path), tmp_path / "copy")


def test_the_table_to_train_from_has_neither_the_class_nor_the_test_images(tmp_path) -> None:
    records = [
        Record(tmp_path / f"{label}-{split}.png", label, split)
        for label in ("red", "blue", "green")
        for split in ("train", "val", "test")
    ]
    found = find_records(write_table(records, "red", tmp_path / "cells.csv"))
    assert {(r.label, r.split) for r in found} == {
        (label, split) for label in ("blue", "green") for split in ("train", "val")
    }
    with pytest.raises(InputError, match="no images in its train split"):
        write_table([r for r in records if r.split != "train"], "red", tmp_path / "cells.csv")


def test_weights_that_know_the_class_are_not_started_from() -> None:
    assert "init" in module.NOT_COPIED
    assert slug("Immature granulocyte!") == "immature-granulocyte"


def test_the_pace_is_told_once(caplog) -> None:
    caplog.set_level("INFO", "cytodiffusion")
    seen = []
    pace = module._Pace(lambda share, text: seen.append(share), 100)
    for step in range(0, 100, 10):
        pace(step / 100, f"step {step}/100, ...")
    assert seen == [step / 100 for step in range(0, 100, 10)]
    assert sum("seconds a step" in line for line in caplog.messages) == 1


def test_options_of_leaving_out_need_a_class(tmp_path) -> None:
    with pytest.raises(ValueError, match="--leave-out"):
        EvaluateSettings(data=tmp_path, output=tmp_path, leave_out_steps=3)
