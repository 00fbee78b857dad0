"""``cytodiffusion evaluate``: files, contract, exit codes, one sentence for what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from toys import PIXEL_SIZE_UM, tiny_baseline, write_discs

from cytodiffusion.cli import main
from cytodiffusion.evaluation.figures import CONTRACT
from cytodiffusion.model.testing import tiny_bundle

NAMES = ("blue", "green", "red")
FILES = {"cells.csv", "metrics.json", "montage.png", "report.html"}
SCALE = ("--pixel-size", PIXEL_SIZE_UM, "--shift-pixel-size", PIXEL_SIZE_UM)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


Run = Callable[..., Outcome]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(["evaluate", *map(str, arguments)])
        out, err = capfd.readouterr()
        return Outcome(int(exited.value.code or 0), out, " ".join(err.split()))

    return call


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("m") / "tiny", NAMES)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 2, "val": 1, "test": 4})


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    return write_discs(folder, {"test": 2}, ("blue", "red")) / "test"


@pytest.fixture(scope="module")
def rival(tmp_path_factory) -> Path:
    return tiny_baseline(tmp_path_factory.mktemp("rival") / "rival", NAMES)


def write_table(path: Path, rows: list[tuple[Path, str, str]]) -> Path:
    table = pd.DataFrame(rows, columns=["path", "class", "split"])
    table.to_csv(path, index=False)
    return path


def test_a_report_with_everything_beside_it(run, model, data, elsewhere, rival, tmp_path) -> None:
    out = tmp_path / "report"
    more = ("--shift", f"lab b={elsewhere}", "--shift", elsewhere, "--baseline", rival)
    done = run(model, data, "-o", out, *SCALE, *more, "--trials", 4, "--coverage", 0.9, "--json")
    assert done.code == 0, done.err
    assert {p.name for p in out.iterdir()} == FILES
    metrics = json.loads((out / "metrics.json").read_text())
    said = done.json
    assert (said["ok"], said["command"]) == (True, "evaluate")
    assert said["metrics"] == metrics
    assert Path(said["page"]) == out / "report.html"
    assert metrics["n"] == 12
    assert set(metrics["shift"]) == {"lab b", "test"}
    assert set(metrics["baselines"]) == {"rival"}
    beside = metrics["baselines"]["rival"]
    assert set(beside) >= {*CONTRACT, "difference"}
    for found in (metrics, beside):
        for key in ("n", "accuracy", "balanced_accuracy", "macro_f1", "ece", "coverage"):
            assert isinstance(found[key], float | int), key
        assert set(found["anomaly"]) >= {"auc", "sensitivity", "specificity"}
        for shift in found["shift"].values():
            assert set(shift) >= {"accuracy", "balanced_accuracy", "shared_balanced_accuracy"}
            assert shift["shared_balanced_accuracy"] >= shift["balanced_accuracy"]
    assert metrics["settings"]["coverage"] == 0.9
    assert metrics["trials_mean"] <= 4
    assert beside["trials_mean"] == 1
    table = pd.read_csv(out / "cells.csv")
    assert table.groupby(["model", "set"]).size().to_dict() == {
        (who, name): n
        for who in ("model", "rival")
        for name, n in (("data", 12), ("lab b", 4), ("test", 4))
    }


def test_what_people_read(run, model, data, tmp_path) -> None:
    done = run(model, data, "-o", tmp_path / "r", "--pixel-size", PIXEL_SIZE_UM, "--limit", 5)
    assert done.code == 0
    assert done.out.startswith("5 cells: balanced accuracy ")
    assert str(tmp_path / "r" / "report.html") in done.out
    again = run(model, data, "-o", tmp_path / "r", "--pixel-size", PIXEL_SIZE_UM, "-q")
    assert (again.code, again.out) == (0, "")
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["n"] == 12


def test_what_is_odd_in_the_data_is_said(run, model, data, tmp_path) -> None:
    broken, empty = tmp_path / "broken.png", tmp_path / "empty.png"
    broken.write_bytes(b"no image")
    empty.write_bytes(b"")
    blue = sorted((data / "test" / "blue").iterdir())
    rows = [(path, "blue", "test") for path in blue[:3]]
    rows += [(broken, "blue", "test"), (empty, "blue", "test")]
    rows += [(sorted((data / "test" / "red").iterdir())[0], "purple", "test")]
    copy = tmp_path / "copy.png"
    copy.write_bytes(blue[0].read_bytes())
    rows += [(copy, "blue", "train")]
    table = write_table(tmp_path / "cells.csv", rows)
    done = run(model, table, "-o", tmp_path / "r", "--pixel-size", PIXEL_SIZE_UM, "--json")
    assert done.code == 0, done.err
    metrics = done.json["metrics"]
    # a single class is left, and one cell of a class that the model lacks
    assert metrics["n"] == 3
    assert list(metrics["per_class"]) == ["blue"]
    assert metrics["accuracy"] == metrics["balanced_accuracy"]
    assert len(metrics["skipped"]["data"]) == 2
    assert "2 images could not be read" in done.err
    assert "broken.png" in done.err
    assert "empty.png" in done.err
    assert "does not know the class purple (1 cells)" in done.err
    assert "no cells of green, red" in done.err
    assert "also in the training split" in done.err
    assert str(blue[0]) in done.err
    assert "NaN" not in (tmp_path / "r" / "metrics.json").read_text()


def test_one_image_of_a_class(run, model, data, tmp_path) -> None:
    rows = [(sorted((data / "test" / n).iterdir())[0], n, "test") for n in ("red", "blue")]
    table = write_table(tmp_path / "cells.csv", rows)
    done = run(model, table, "-o", tmp_path / "r", "--pixel-size", PIXEL_SIZE_UM, "--json")
    assert done.code == 0, done.err
    assert {n: row["n"] for n, row in done.json["metrics"]["per_class"].items()} == {
        "blue": 1,
        "red": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shift", "a=nowhere"), "nowhere is neither a folder of class folders nor a CSV file"),
        (("--shift", "a=x", "--shift", "a=y"), "Two --shift are called a"),
        (("--shift", "a="), "names no data"),
        (("--shift", "data=nowhere"), "data is the evaluated set: call the other one NAME=FOLDER"),
        (("--baseline", "nowhere"), "nowhere"),
        (("--leave-out", "purple"), "no images of the class 'purple' to leave out"),
        (("--set", "leave_out_steps=5"), "name the class to leave out with --leave-out"),
        (("--set", "taxonomy=none-such"), "no taxonomy 'none-such'"),
        (("--low-data", "10;20"), "low data cannot be '10;20': it must be a whole number"),
        (("--low-data", "0"), "greater than 0"),
        (("--low-data", "2,3"), "has 2 training cells, but 3 are to be labelled"),
        (("--leave-out", "red", "--leave-out-model", "nowhere"), "There is no model in nowhere"),
        (("--set", "split=holdout"), "split cannot be 'holdout'"),
        (("--set", "seed=3"), "There is no setting 'seed'. Did you mean seeds?"),
        (("--set", "classify.trails=3"), "Did you mean classify.trials?"),
        (("--set", "layout=pcb"), "There is no layout 'pcb': choose auto or"),
        (("--coverage", "nan"), "coverage"),
        (("--error-rate", "1.5"), "error rate"),
        (("--error-rate", "0.001"), "error rate"),
        (("--pixel-size", "nan"), "pixel size"),
        (("--by-class",), "class"),
        (("--annotations", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_wrong_input_is_one_sentence(
    run, model, data, tmp_path, arguments, words, monkeypatch
) -> None:
    def refuse(*_) -> None:
        raise AssertionError("images were measured before all was checked")

    monkeypatch.setattr("cytodiffusion.evaluation.context.Frames", refuse)
    done = run(model, data, "-o", tmp_path / "r", *arguments, "--json")
    assert done.code == 1
    said = done.json
    assert said["ok"] is False
    assert words in said["error"]
    assert "Traceback" not in done.err
    assert not (tmp_path / "r").exists()


def test_data_with_nothing_in_it(run, model, data, tmp_path) -> None:
    (tmp_path / "empty" / "red").mkdir(parents=True)
    done = run(model, tmp_path / "empty", "-o", tmp_path / "r")
    assert done.code == 1
    assert "holds no images" in done.err
    done = run(model, tmp_path / "nowhere", "-o", tmp_path / "r")
    assert "neither a folder of class folders nor a CSV file" in done.err
    broken = tmp_path / "broken" / "red"
    broken.mkdir(parents=True)
    (broken / "a.png").write_bytes(b"no image")
    done = run(model, tmp_path / "broken", "-o", tmp_path / "r")
    assert "no labelled images in its test split" in done.err
    assert "choose with --split, or all" in done.err
    done = run(model, tmp_path / "broken", "-o", tmp_path / "r", "--split", "all")
    assert done.code == 1
    assert "None of the 1 images could be read" in done.err
    done = run("nobody/nothing", data, "-o", tmp_path / "r")
    assert "download" in done.err
    assert not (tmp_path / "r").exists()


def test_other_classes_altogether(run, data, tmp_path) -> None:
    other = tiny_bundle(tmp_path / "other", ("cat", "dog"))
    done = run(other, data, "-o", tmp_path / "r")
    assert done.code == 1
    assert "None of the labels (blue, green, red) is a class of the model" in done.err


def test_a_folder_of_something_else_is_not_overwritten(run, model, data, tmp_path) -> None:
    (tmp_path / "r").write_text("a file")
    done = run(model, data, "-o", tmp_path / "r")
    assert done.code == 1
    assert (tmp_path / "r").read_text() == "a file"


def test_blank_images_are_no_trouble(run, model, tmp_path) -> None:
    for name, value in (("red", 0), ("blue", 255)):
        folder = tmp_path / "blank" / name
        folder.mkdir(parents=True)
        Picture.fromarray(np.full((40, 40, 3), value, np.uint8)).save(folder / "a.png")
    done = run(model, tmp_path / "blank", "-o", tmp_path / "r", "--split", "all", "--json")
    assert done.code == 0, done.err
    assert done.json["metrics"]["n"] == 2
