"""The command line of a study, from a new one to what others read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from studies import fill
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.cli import main
from cytodiffusion.errors import InputError
from cytodiffusion.model.testing import TRAITS, tiny_bundle
from cytodiffusion.smear import SmearSettings, synthetic_smear
from cytodiffusion.study import Study

Run = Callable[..., tuple[int, dict[str, Any]]]
PIXEL_SIZE = 0.2
FIRST = ["image", "label", "predicted", "human", "observer", "effective", "effective_source"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model") / "tiny", traits=TRAITS)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fields, in folders of their own."""
    folder = tmp_path_factory.mktemp("fields")
    settings = {"height": 160, "width": 208, "pixel_size_um": PIXEL_SIZE, "n_white": 2}
    for seed, name in enumerate(("a.png", "more/a.png")):
        (folder / name).parent.mkdir(exist_ok=True)
        rgb = synthetic_smear(None, SmearSettings(**settings, n_platelets=1, seed=seed)).rgb
        Picture.fromarray(rgb).save(folder / name)
    return folder


@pytest.fixture
def add(run: Run, model: Path) -> Run:
    def call(study: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
        common = ("-m", model, "--device", "cpu", "--trials", 1)
        return run("study", "add", study, *arguments, *common)

    return call


def test_from_images_to_exports(
    run: Run, add: Run, model: Path, fields: Path, tmp_path: Path
) -> None:
    slides, study = shutil.copytree(fields, tmp_path / "slides"), tmp_path / "study"
    assert run("study", "new", study)[0] == 0
    assert run("study", "new", study)[1]["error"].endswith("is a study already.")
    how = ("--method", "watershed", "--pixel-size", PIXEL_SIZE)
    (slides / "broken.png").write_bytes(b"no image")
    code, told = add(study, slides, *how)
    assert code == 1
    assert (told["added"], len(told["failed"])) == (2, 1)
    assert "broken.png" in told["failed"][0]["error"]
    (slides / "broken.png").unlink()
    code, told = add(study, slides, *how)
    assert (code, told["added"], told["there"]) == (0, 0, 2)
    assert [one["image"] for one in told["images"]] == ["a.png", "more/a.png"]
    assert told["images"][0]["pixel_size_source"] == "given"

    # the same numbers as those of `run`
    code, _ = run("run", slides, "-o", tmp_path / "out", "-m", model, "--device", "cpu",
                  "--trials", 1, *how)  # fmt: skip
    assert code == 0
    own = pd.read_csv(tmp_path / "out" / "cells.csv", keep_default_na=False)
    table = tmp_path / "cells.csv"
    assert run("study", "export", study, "-o", table)[0] == 0
    frame = pd.read_csv(table, keep_default_na=False)
    assert list(frame.columns[:7]) == FIRST
    assert set(own.columns) <= set(frame.columns)
    pd.testing.assert_frame_equal(frame[list(own.columns)], own)

    said = tmp_path / "said.csv"
    said.write_text(
        "image,label,class\na.png,1,monocyte\nmore/a.png,2,blast\nnone.png,1,monocyte\n"
    )
    code, told = run("study", "annotate", study, said, "--observer", "Ada")
    assert (code, told["placed"], told["not_placed"]) == (0, 2, ["1 of none.png"])
    assert told["new_classes"] == ["blast"]
    code, told = run("study", "info", study)
    assert code == 0
    assert (told["cells"], told["annotated"], told["observers"]) == (len(own), 2, {"Ada": 2})
    run("study", "export", study, "-o", table)
    frame = pd.read_csv(table, keep_default_na=False)
    assert frame["predicted"].tolist() == own["predicted"].tolist()
    assert sorted(frame["human"][frame["human"] != ""]) == ["blast", "monocyte"]
    assert (frame["effective_source"] == "human").sum() == 2

    code, told = run("study", "export", study, "-o", tmp_path / "cells.geojson")
    features = json.loads((tmp_path / "cells.geojson").read_text(encoding="utf-8"))["features"]
    assert len(features) == len(own)
    assert len(told["files"]) == 3
    assert run("study", "export", study, "-o", tmp_path / "crops")[0] == 0
    assert len(list((tmp_path / "crops").rglob("*.png"))) == len(own)
    assert (tmp_path / "crops" / "blast").is_dir()
    assert run("study", "export", study, "-o", tmp_path / "cells.txt")[0] == 1

    code, told = run("study", "check", study)
    assert (code, told["problems"]) == (0, [])
    shutil.move(slides / "a.png", tmp_path / "moved.png")
    code, told = run("study", "check", study)
    assert code == 1
    assert "a.png is no longer at" in told["error"]
    assert run("study", "check", study, "--images", tmp_path)[0] == 0


def test_another_model_looks_at_the_same_cells(
    run: Run, add: Run, fields: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    run("study", "new", study)
    how = ("--method", "watershed", "--pixel-size", PIXEL_SIZE)
    add(study, fields / "a.png", *how)
    with Study(study) as opened:
        opened.annotate(("a.png", 1), "monocyte", "Ada")
        before = opened.cells()
        cells, kept = opened.classification("a.png")
        assert cells.tolist() == before.index.tolist()
        assert kept.embedding is not None
        posterior = before[[f"p_{name}" for name in kept.class_names]].to_numpy()
        np.testing.assert_array_equal(kept.posterior, posterior)
    other = tiny_bundle(tmp_path / "other", seed=5)
    code, told = add(study, fields / "a.png", *how)
    assert (code, told["there"]) == (0, 1)
    code, told = run("study", "add", study, fields / "a.png", "-m", other, "--device", "cpu")
    assert (code, told["classified"], told["added"]) == (0, 1, 0)
    with Study(study) as opened:
        after = opened.cells()
        assert after.index.tolist() == before.index.tolist()
        assert after["human"].tolist() == before["human"].tolist()
        assert after["confidence"].tolist() != before["confidence"].tolist()
        old = opened.runs()[1].id
        assert opened.cells(run=old)["confidence"].tolist() == before["confidence"].tolist()


def test_a_folder_keeps_its_scale_when_it_grows(
    run: Run, add: Run, fields: Path, tmp_path: Path
) -> None:
    study, slides = tmp_path / "study", tmp_path / "slides"
    slides.mkdir()
    run("study", "new", study)
    found = []
    for name, file in (("one.png", "a.png"), ("two.png", "more/a.png")):
        shutil.copy(fields / file, slides / name)
        code, told = add(study, slides, "--method", "watershed")
        assert code == 0
        found.append(told["images"])
    assert [one["status"] for one in found[1]] == ["there", "added"]
    assert found[1][1]["pixel_size_source"] == "slide"
    with Study(study) as opened:
        record = opened.image("two.png").record["segmentation"]["slide"]
        assert record["own_um"] > 0


def test_images_of_one_cell_each(run: Run, add: Run, tmp_path: Path) -> None:
    study, data = tmp_path / "study", write_discs(tmp_path / "discs", {"train": 3}) / "train"
    run("study", "new", study)
    (data / "red" / "bad.png").write_bytes(b"no image")
    how = ("--cells", "--pixel-size", PIXEL_SIZE_UM)
    code, told = add(study, data, *how)
    assert (code, told["added"]) == (1, 9)
    assert "bad.png" in told["failed"][0]["error"]
    (data / "red" / "bad.png").unlink()
    code, told = add(study, data, *how)
    assert (code, told["added"], told["there"]) == (0, 0, 9)
    said = tmp_path / "said.csv"
    said.write_text("path,class\ngreen/000.png,monocyte\nnone/000.png,monocyte\n000.png,monocyte\n")
    code, told = run("study", "annotate", study, said, "--observer", "Ada")
    assert (code, told["placed"]) == (0, 1)
    assert told["not_placed"] == ["none/000.png", "000.png"]
    assert run("study", "export", study, "-o", tmp_path / "cells.csv")[0] == 0
    frame = pd.read_csv(tmp_path / "cells.csv", keep_default_na=False)
    assert frame["label"].tolist() == [1] * 9
    assert frame.loc[frame["human"] == "monocyte", "image"].tolist() == ["green/000.png"]
    assert run("study", "export", study, "-o", tmp_path / "crops")[0] == 0
    copied = tmp_path / "crops" / "monocyte" / "000.png"
    pictures = [path.read_bytes() for path in (tmp_path / "crops" / "monocyte").glob("*.png")]
    assert (data / "green" / "000.png").read_bytes() in pictures, copied
    code, told = run("study", "export", study, "-o", tmp_path / "cells.geojson")
    assert "have no outlines" in told["error"]


@pytest.mark.parametrize("command", ["add", "annotate", "export", "info", "check"])
def test_what_is_no_study_is_told(run: Run, fields: Path, tmp_path: Path, command: str) -> None:
    more = {
        "add": [fields, "-m", "default"],
        "annotate": [tmp_path / "a.csv", "--observer", "Ada"],
        "export": ["-o", tmp_path / "a.csv"],
    }
    code, told = run("study", command, tmp_path, *more.get(command, []))
    assert code == 1
    assert told["command"] == f"study {command}"
    assert "is not a study: make one with cytodiffusion study new" in told["error"]


def test_observers_who_disagree(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    with Study.create(folder) as study:
        fill(study, tmp_path / "a.png", 4)
        for who, names in (("Ada", ("monocyte",) * 4), ("[b]", ("monocyte", "neutrophil") * 2)):
            for label, name in enumerate(names, 1):
                study.annotate(("a.png", label), name, who)
    table = tmp_path / "shared.csv"
    code, told = run("study", "agreement", folder, "-o", table)
    assert code == 0
    assert (told["shared"], told["agreed"], told["without_majority"]) == (4, 2, 2)
    assert told["pairs"][0]["observers"] == ["Ada", "[b]"]
    assert told["pairs"][0]["kappa"] == 0.0
    assert told["fleiss"]["cells"] == 4
    assert [cell["label"] for cell in told["disputed"]] == [2, 4]
    assert pd.read_csv(table, keep_default_na=False)["class by [b]"].tolist().count("monocyte") == 2
    with pytest.raises(SystemExit):
        main(["study", "agreement", str(folder)])
    page = capfd.readouterr()
    assert "Ada and [b] agree in 50%" in page.err
    assert "Ada: monocyte, [b]: neutrophil" in page.out


def test_suspect_labels_of_a_study_without_any(run: Run, tmp_path: Path) -> None:
    folder, table = tmp_path / "study", tmp_path / "suspects.csv"
    with Study.create(folder) as study:
        fill(study, tmp_path / "a.png", 4)
    code, told = run("study", "suspects", folder, "-o", table)
    assert (code, told["suspects"]) == (0, [])
    assert table.read_text().startswith("image,label,human,")


def test_a_report_takes_observers_from_a_study(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, given = tmp_path / "study", []
    with Study.create(folder) as study:
        name = fill(study, tmp_path / "a.png", 1)
        with study.database.transaction() as connection:  # as `study add --cells` keeps it
            connection.execute("UPDATE images SET labels = NULL")
        study.annotate((name, 1), "monocyte", "Ada")

    def evaluate(settings: Any, progress: Any, answers: pd.DataFrame) -> Path:
        given.append(answers.values.tolist())
        raise InputError("Not measured here.")

    monkeypatch.setattr("cytodiffusion.evaluation.run.evaluate", evaluate)
    report = ("default", tmp_path, "-o", tmp_path / "report", "--annotations", folder)
    assert run("evaluate", *report)[1]["error"] == "Not measured here."
    assert given == [[[str(tmp_path / "a.png"), "Ada", "monocyte"]]]
