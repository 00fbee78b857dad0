"""A class that the model knows is left out: a copy is trained, kept and used again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from toys import PIXEL_SIZE_UM, tiny_baseline, write_discs

from cytodiffusion.classification.decision import check_promises
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import Record, find_records
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation import leave_out as module
from cytodiffusion.evaluation.leave_out import (
    NoCopy,
    given_copies,
    model_without,
    slug,
    write_table,
)
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import read_report
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.predict import load_classifier
from cytodiffusion.training.finish import training_record
from cytodiffusion.training.settings import TrainSettings


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

    monkeypatch.setattr("cytodiffusion.training.train.train", refuse)
    again = read_report(evaluate(settings)).metrics
    assert again["anomaly"] == first["anomaly"]
    other = settings.model_copy(update={"leave_out_steps": 5})
    with pytest.raises(InputError, match="trained for 4 steps, not 5"):
        evaluate(other)


def test_the_copy_of_another_model_is_refused(disc_model, tmp_path) -> None:
    """A report folder may hold the copy of a classifier of another kind, name or training."""
    settings = settings_for(disc_model.parent / "data", tmp_path / "r", leave_out_steps=4)
    folder = tmp_path / "r" / "without-red"
    records = find_records(settings.data)
    main = load_bundle(disc_model)
    copy = model_without(main, records, settings, folder)
    assert model_without(main, records, settings, folder).checksum == copy.checksum
    others = (
        replace(main, name="another"),
        replace(main, training=main.training | {"learning_rate": 0.5}),
        replace(load_classifier(tiny_baseline(tmp_path / "b", ("red",)), "cpu"), name=main.name),
    )
    for other in others:
        with pytest.raises(InputError, match="made for another classifier"):
            model_without(other, records, settings, folder)


def test_a_copy_varies_what_its_model_was_varied_in(disc_model, tmp_path, caplog) -> None:
    """Settings that came later are not those of a model trained before."""
    main = load_bundle(disc_model)
    early = {k: v for k, v in main.training["augment"].items() if k not in ("bend", "dried_share")}
    before = replace(main, training=main.training | {"augment": early, "init": "older"})
    settings = settings_for(disc_model.parent / "data", tmp_path / "r", leave_out_steps=2)
    folder = tmp_path / "r" / "without-red"
    copy = model_without(before, find_records(settings.data), settings, folder)
    assert copy.training["augment"]["bend"] == copy.training["augment"]["dried_share"] == 0
    assert copy.training["augment"]["blur"] == early["blur"]
    assert "began with the weights of older" in caplog.text


def test_settings_that_came_later_do_not_make_a_copy_another_model_s() -> None:
    """A model may have been trained before there were some of the settings of today."""
    today = load_bundle("default", device="cpu")
    of_then = {name: value for name, value in today.training.items() if name != "laboratories"}
    model = replace(today, training=of_then)
    recorded = module._recorded(model)
    assert "laboratories" not in recorded
    settings = TrainSettings(**recorded | {"data": Path("data"), "output": Path("copy")})
    copy = SimpleNamespace(training=training_record(settings), kind="diffusion")
    assert module._learnt(copy) == module._learnt(model)


def test_a_copy_need_not_promise_an_error_rate(disc_model, tmp_path, monkeypatch) -> None:
    """What only the model was asked for does not end the evaluation at its last station."""
    data = disc_model.parent / "data"
    copy = tiny_bundle(tmp_path / "c", ("blue", "green"))
    settings = settings_for(data, tmp_path / "r", leave_out_model=(copy,)).model_copy(
        update={"model": str(disc_model), "classify": ClassifySettings(error_rate=0.4, trials=2)}
    )
    found = load_bundle(copy)
    with pytest.raises(InputError):
        check_promises(found.calibration.validation, settings.classify, found)
    assert read_report(evaluate(settings)).metrics["anomaly"]["n_unknown"] == 30


def test_a_copy_that_knows_nothing_here_is_refused(disc_model, tmp_path) -> None:
    copy = tiny_bundle(tmp_path / "c", ("cat", "dog"))
    settings = settings_for(
        disc_model.parent / "data", tmp_path / "r", leave_out_model=(copy,)
    ).model_copy(update={"model": str(disc_model)})
    with pytest.raises(InputError, match="knows none of the classes"):
        evaluate(settings)


def test_a_given_model_must_not_know_the_class(disc_model, tmp_path) -> None:
    data, models = disc_model.parent / "data", [load_bundle(disc_model)]
    with pytest.raises(InputError, match="knows the class red"):
        given_copies(models, settings_for(data, tmp_path, leave_out_model=(disc_model,)))
    nowhere = (tmp_path / "nowhere",)
    with pytest.raises(InputError, match=r"There is no model in .*nowhere"):
        given_copies(models, settings_for(data, tmp_path, leave_out_model=nowhere))


def test_copies_are_handed_out_by_kind(tmp_path) -> None:
    def rival(name: str, kind: str, names: tuple[str, ...] = ("blue", "red")) -> Path:
        return tiny_baseline(tmp_path / name, names, kind)

    def copies(*folders: Path) -> list[str | None]:
        settings = settings_for(tmp_path, tmp_path, leave_out_model=folders)
        return [c and Path(c.source).name for c in given_copies(models, settings)]

    model = tiny_bundle(tmp_path / "ours", ("blue", "red"))
    sources = (model, rival("one", "resnet18"), rival("two", "vit"), rival("three", "resnet18"))
    models = [load_classifier(source, "cpu") for source in sources]
    ours = tiny_bundle(tmp_path / "ours-copy", ("blue", "green"))
    first, second, third = (
        rival(f"copy-{n}", kind, ("blue", "green"))
        for n, kind in enumerate(("resnet18", "vit", "resnet18"))
    )
    assert copies() == [None] * 4
    assert copies(second) == [None, None, "copy-1", None]
    assert copies(third, ours, first) == ["ours-copy", "copy-2", None, "copy-0"]
    with pytest.raises(InputError, match=r"copy-1 \(vit, .* stands for no classifier here"):
        copies(second, second)
    models[2] = load_classifier(rival("four", "vit", ("blue", "green")), "cpu")
    with pytest.raises(InputError, match="each that knows red can have one copy"):
        copies(second)


def test_a_baseline_without_a_copy_does_not_end_the_run(tmp_path) -> None:
    data = write_discs(tmp_path / "data", {"test": 3})
    names = ("blue", "green", "red")
    ours, copy = tiny_bundle(tmp_path / "m", names), tiny_bundle(tmp_path / "c", names[:2])
    rivals = (
        tiny_baseline(tmp_path / "one", names, "resnet18"),
        tiny_baseline(tmp_path / "two", names, "resnet18"),
    )
    own = tiny_baseline(tmp_path / "without", names[:2], "resnet18")
    settings = settings_for(
        data, tmp_path / "r", leave_out_model=(copy, own), baselines=rivals, split="all"
    ).model_copy(update={"model": str(ours)})
    metrics = read_report(evaluate(settings)).metrics
    one, two = metrics["baselines"]["one"]["anomaly"], metrics["baselines"]["two"]["anomaly"]
    assert metrics["anomaly"]["model"]["source"] == str(copy)
    assert one["model"]["source"] == str(own)
    assert (one["n_known"], one["n_unknown"], one["trained_for_it"]) == (6, 3, True)
    assert two["auc"] is None
    assert "no copy of it without red" in two["why"]
    (said,) = [w for w in metrics["warnings"] if "has no anomaly score here" in w]
    assert said.startswith("The baseline two ")
    assert "give one with --leave-out-model" in said
    # the model itself is what the report is about
    alone = settings.model_copy(update={"leave_out_model": (own,), "output": tmp_path / "s"})
    with pytest.raises(NoCopy, match="give one with --leave-out-model"):
        evaluate(alone)


def test_the_most_anomalous_are_those_of_the_copy(tmp_path) -> None:
    data = write_discs(tmp_path / "data", {"test": 3})
    ours = tiny_bundle(tmp_path / "m", ("blue", "green", "red"))
    copy = tiny_bundle(tmp_path / "c", ("blue", "green"), seed=3)
    settings = settings_for(data, tmp_path / "r", leave_out_model=(copy,), split="all")
    report = read_report(evaluate(settings.model_copy(update={"model": str(ours)})))
    table = pd.read_csv(report.folder / "cells.csv")
    found = table[table["set"] == "without red"].sort_values("anomaly_score", ascending=False)
    shown = report.metrics["montage"]["anomalous"]
    assert [entry["path"] for entry in shown] == found["path"].tolist()
    assert [entry["anomaly_score"] for entry in shown] == pytest.approx(
        found["anomaly_score"].tolist()
    )
    assert {entry["p_true"] for entry in shown if entry["label"] == "red"} == {None}
    page = report.page.read_text(encoding="utf-8")
    assert "those of the copy that was trained without red" in page
    # the hardest are still those of the model
    own = table[table["set"] == "data"]
    assert len(report.metrics["montage"]["hardest"]) == len(own) == 9
    assert {entry["p_true"] for entry in report.metrics["montage"]["hardest"]} & {None} == set()


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
    assert slug("Immature granulocyte") == "immature-granulocyte"
    different = ["Immature granulocyte!", "\u6dcb\u5df4\u7ec6\u80de", "\u5355\u6838\u7ec6\u80de"]
    different += ["Gr\u00f6\u00dfe", "Gr\u00fc\u00dfe", "immature granulocyte"]
    found = [slug(name) for name in different]
    assert len(set(found)) == len(different)
    assert all(name.isascii() and "/" not in name for name in found)


def test_the_pace_is_told_once(caplog) -> None:
    caplog.set_level("INFO", "cytodiffusion")
    seen = []
    pace = module._Pace(lambda share, text: seen.append(share), 100)
    for step in range(0, 100, 10):
        pace(step / 100, f"step {step}/100, ...")
    assert seen == [step / 100 for step in range(0, 100, 10)]
    assert sum("seconds a step" in line for line in caplog.messages) == 1


def test_one_copy_or_several(tmp_path) -> None:
    for given, found in ((None, ()), (tmp_path, (tmp_path,)), ([tmp_path] * 2, (tmp_path,) * 2)):
        assert settings_for(tmp_path, tmp_path, leave_out_model=given).leave_out_model == found


def test_options_of_leaving_out_need_a_class(tmp_path) -> None:
    with pytest.raises(ValueError, match="--leave-out"):
        EvaluateSettings(data=tmp_path, output=tmp_path, leave_out_steps=3)
