"""What cannot be measured is refused before an image is read, not after hours of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.model.testing import tiny_bundle


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("images were read before all was checked")

    monkeypatch.setattr("cytodiffusion.evaluation.context.Frames", refuse)
    monkeypatch.setattr("cytodiffusion.evaluation.leakage.fingerprints", refuse)


def refusal(model: Path, data: Path, **more: Any) -> str:
    output = data.parent / "report"
    settings = EvaluateSettings(model=str(model), data=data, output=output, **more)
    with pytest.raises(InputError) as told:
        evaluate(settings)
    assert not list(output.parent.glob("report*"))
    return str(told.value)


def test_a_class_cannot_be_left_out_without_training_images(
    disc_model: Path, tmp_path: Path
) -> None:
    data = write_discs(tmp_path / "data", {"test": 2})
    said = refusal(disc_model, data, leave_out="red")
    assert said.startswith("The data has no images in its train split, so no model without red")
    assert "--leave-out-model" in said


def test_a_copy_needs_two_classes_to_learn(disc_model: Path, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 2, "val": 2, "test": 2}, ("red", "blue"))
    said = refusal(disc_model, data, leave_out="red")
    assert said == "Training needs at least two classes of images; found: blue."


def test_a_model_that_does_not_say_how_it_was_trained_has_no_copy(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 2, "val": 2, "test": 2})
    model = tiny_bundle(tmp_path / "model", ("blue", "green", "red"))
    assert "does not say how it was trained" in refusal(model, data, leave_out="red")


def test_the_class_left_out_must_be_among_what_is_evaluated(
    disc_model: Path, tmp_path: Path
) -> None:
    data = write_discs(tmp_path / "data", {"train": 2, "val": 2})
    write_discs(data, {"test": 2}, ("blue", "green"))
    said = refusal(disc_model, data, leave_out="red")
    assert "no images of the class 'red' to leave out among those" in said
    assert said.endswith("that are evaluated (--split test).")
    alone = write_discs(tmp_path / "alone", {"train": 2, "val": 2})
    write_discs(alone, {"test": 2}, ("red",))
    said = refusal(disc_model, alone, leave_out="red", limit=2)
    assert "(--split test, --limit 2) have none but" in said


def test_few_labels_need_a_split_to_measure_on(disc_model: Path, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 4, "val": 2})
    said = refusal(disc_model, data, split="all", low_data=(2,))
    assert f"{data} has no images in its test split, which the low-data curve needs" in said
    assert "--split val" in said


def test_few_labels_need_all_classes(disc_model: Path, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"train": 4, "val": 2, "test": 2})
    (data / "train" / "violet").mkdir()
    said = refusal(disc_model, data, low_data=(2,))
    assert said == f"{data}/train/violet holds no images; fill it or remove it."
    (data / "train" / "violet").rmdir()
    one = write_discs(tmp_path / "one", {"train": 4, "val": 2, "test": 2}, ("red",))
    assert "at least two classes of images; found: red" in refusal(disc_model, one, low_data=(2,))


def test_another_laboratory_with_other_classes_only(disc_model: Path, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"test": 2})
    other = write_discs(tmp_path / "other", {"test": 2}, ("red", "blue")) / "test"
    (other / "red").rename(other / "cat")
    (other / "blue").rename(other / "dog")
    said = refusal(disc_model, data, shift={"b": other})
    assert said.startswith("None of the labels (cat, dog) is a class of the model discs")
    assert str(other) in said


def test_a_baseline_with_other_classes_only(
    disc_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_discs(tmp_path / "data", {"test": 2}, ("red", "blue"))
    stranger = tiny_bundle(tmp_path / "stranger", ("cat", "dog"))
    said = refusal(disc_model, data, baselines=(stranger,), pixel_size_um=PIXEL_SIZE_UM)
    assert said.startswith("None of the labels (blue, red) is a class of the model ")
    assert "(cat, dog)" in said


def test_a_layout_that_there_is_not(disc_model: Path, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"test": 2})
    assert "no layout 'pcb': choose auto or" in refusal(disc_model, data, layout="pcb")
