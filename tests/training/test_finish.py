"""The bundle that a run leaves: it loads, classifies, and says where it comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import PIXEL_SIZE_UM, toy_settings, write_discs

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets.seen import overlap
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.run import Run
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.metrics.scores import summarise
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.segmenter import FlowNetwork, Segmenter
from cytodiffusion.model.testing import tiny_generator, tiny_slide_correction
from cytodiffusion.taxonomy import PALETTE, load_taxonomy
from cytodiffusion.training.data import CellSet, class_names, find_records, load_cells
from cytodiffusion.training.finish import (
    describe_classes,
    training_record,
)
from cytodiffusion.training.train import train


@pytest.fixture(scope="module")
def model(disc_model: Path) -> ModelBundle:
    return load_bundle(disc_model, device="cpu")


def held_out(disc_model: Path, model: ModelBundle) -> CellSet:
    records = find_records(disc_model.parent / "data")
    cells, _ = load_cells(
        [r for r in records if r.split == "test"],
        class_names(records),
        size=model.input_size,
        window_um=model.window_um,
        pixel_size_um=PIXEL_SIZE_UM,
    )
    return cells


def test_the_card_tells_what_matters(model: ModelBundle) -> None:
    card = model.card
    for words in (
        "# discs",
        "Not a medical device",
        "Drawn by the tests, CC0.",
        "seed 0",
        "torch",
        "90 steps of 32 crops",
        "32 x 32 px, 20 um",
        "| class | train | val | test |",
        "| red | 40 | 24 | 30 |",
        "Measured on the test split",
        "balanced accuracy",
        "recall, blue",
        "temperature",
    ):
        assert words in card, words
    assert str(Path.home()) not in card


def test_no_paths_of_this_machine_travel_with_it(disc_model: Path, model: ModelBundle) -> None:
    for file in ("classes.json", "config.json", "card.md", "calibration.json"):
        assert str(disc_model.parent) not in (disc_model / file).read_text()
    assert model.training["steps"] == 90
    assert not {"data", "output", "device", "resume"} & set(model.training)


def test_the_calibration_is_measured(model: ModelBundle) -> None:
    calibration = model.calibration
    assert len(calibration.levels) == 4
    assert len(set(calibration.levels)) == 4
    assert len(calibration.validation.scores) == 72
    assert (calibration.validation.scores.diff() >= 0).all()
    assert calibration.false_alarms <= 0.03
    assert np.isfinite(calibration.anomaly_threshold)
    assert len(calibration.early_thresholds) == 2
    assert calibration.threshold(1) == calibration.early_thresholds[0]
    assert calibration.threshold(3) == calibration.threshold(9) == calibration.anomaly_threshold


@pytest.mark.parametrize("trials", [1, 2, 12])
def test_false_alarms_do_not_depend_on_the_budget(
    disc_model: Path, model: ModelBundle, trials: int
) -> None:
    cells = held_out(disc_model, model)
    settings = ClassifySettings(trials=trials, min_trials=min(trials, 3))
    result = classify(
        cells.windows(model.input_size), model, settings, background=cells.backgrounds.numpy()
    )
    assert result.anomaly.mean() < 0.2
    assert result.anomaly_threshold == model.calibration.threshold(trials)


def test_the_card_and_the_bundle_agree(disc_model: Path, model: ModelBundle) -> None:
    cells = held_out(disc_model, model)
    result = classify(cells.windows(model.input_size), model, background=cells.backgrounds.numpy())
    figures = summarise(result, cells.labels.numpy())
    said = model.card.split("Measured on the test split")[1]
    value = float(said.split("| balanced accuracy | ")[1].split(" |")[0])
    assert figures["balanced_accuracy"] == pytest.approx(value, abs=0.025)  # half precision
    assert value > 0.9


def test_colours_as_known_and_as_asked_and_never_twice(tmp_path: Path) -> None:
    settings = toy_settings(
        tmp_path, tmp_path / "m", colors={"odd": "#123456"}, groups={"odd": "strange"}
    )
    classes = describe_classes(["odd", "neutrophil", "blast", "eosinophil", "puzzling"], settings)
    assert (classes[0].color, classes[0].group) == ("#123456", "strange")
    neutrophil = load_taxonomy("peripheral-blood").find("neutrophil")
    assert neutrophil is not None
    assert (classes[1].color, classes[1].group) == (neutrophil.color, neutrophil.group)
    assert len({c.color for c in classes}) == len(classes)


def test_spare_colours_are_colours() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 21
    assert all(len(c) == 7 and int(c[1:], 16) >= 0 for c in PALETTE)


def test_the_taxonomy_that_was_asked_for(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    classes = [{"name": n, "color": c} for n, c in (("red", "#aa0000"), ("blue", "#0000aa"))]
    own.write_text(json.dumps({"name": "discs", "title": "Discs", "classes": classes}))
    settings = toy_settings(tmp_path, tmp_path / "m", taxonomy=str(own))
    assert [c.color for c in describe_classes(["blue", "red"], settings)] == ["#0000aa", "#aa0000"]
    assert str(tmp_path) not in json.dumps(training_record(settings))
    with pytest.raises(InputError, match="no taxonomy 'none-such'"):
        describe_classes(["blue"], toy_settings(tmp_path, tmp_path / "m", taxonomy="none-such"))


def test_the_taxonomy_travels_with_the_bundle(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 3, "val": 2})
    own = tmp_path / "own.json"
    classes = [{"name": n, "color": f"#0000{k}0"} for k, n in enumerate(("red", "blue", "green"))]
    content = {"name": "discs", "classes": classes, "neighbours": [["red", "blue"]]}
    own.write_text(json.dumps(content))
    bundle = train(toy_settings(data, tmp_path / "m", steps=2, taxonomy=str(own)))
    own.unlink()
    asked = EvaluateSettings(model=str(bundle), data=data, output=tmp_path / "r", device="cpu")
    taxonomy = Run(asked.model_copy(update={"split": "val"})).taxonomy
    assert taxonomy is not None
    assert taxonomy.are_neighbours("red", "blue")


def test_the_bundle_knows_its_training_images(disc_model: Path, model: ModelBundle) -> None:
    assert model.training_images is not None
    assert len(model.training_images) == 3 * 40
    data = disc_model.parent / "data"
    seen = overlap(sorted((data / "train" / "red").iterdir()), model)
    assert len(seen.exact) == 40
    assert not overlap(sorted((data / "test").rglob("*.png")), model).exact


def test_the_training_record_is_json(disc_model: Path) -> None:
    content = json.loads((disc_model / "classes.json").read_text())
    assert content["training"]["name"] == content["name"] == "discs"


def test_what_does_not_depend_on_the_weights_is_kept(
    model: ModelBundle, disc_model: Path, tmp_path: Path
) -> None:
    parts = {"generator": tiny_generator(3), "segmenter": Segmenter(FlowNetwork((8, 16)), 0.25)}
    width = model.denoiser.config.widths[-1]
    parts["slide_correction"] = tiny_slide_correction(3, embedding=width)
    save_bundle(tmp_path / "old", replace(model, **parts))
    data = disc_model.parent / "data"
    settings = toy_settings(data, tmp_path / "new", init=str(tmp_path / "old"), steps=1)
    new = load_bundle(train(settings), device="cpu")
    old = load_bundle(tmp_path / "old", device="cpu")
    assert new.generator is not None
    assert old.generator is not None
    for name, value in old.generator.state_dict().items():
        torch.testing.assert_close(new.generator.state_dict()[name], value)
    assert new.segmenter is not None
    assert new.slide_correction is None, "it was made for other weights"
