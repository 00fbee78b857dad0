"""The commands: files that are there, one sentence where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cytodiffusion.cli import main
from cytodiffusion.files.synthetic_mark import is_synthetic
from cytodiffusion.image.image import open_image
from cytodiffusion.image.labels import read_labels


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.out))

    @property
    def error(self) -> str:
        """The one sentence that went wrong."""
        assert self.code == 1
        assert "Traceback" not in self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("Error:")]
        return line


Run = Callable[..., Outcome]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tiny_path: Path) -> Run:
    """Call the command line in this process with the tiny model."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([*map(str, arguments), "-m", str(tiny_path), "--device", "cpu"])
        out, err = capfd.readouterr()
        code = exited.value.code
        return Outcome(code if isinstance(code, int) else int(code is not None), out, err)

    return call


QUICK = ("--steps", 2, "--no-reject")


def test_generate_in_the_stain_of_an_image(run: Run, tmp_path: Path) -> None:
    rgb = np.full((90, 120, 3), (180, 220, 190), np.uint8)
    rgb[20:50, 20:60] = (170, 120, 140)
    Image.fromarray(rgb).save(tmp_path / "slide.png")
    Image.fromarray(np.full((64, 64, 3), 230, np.uint8)).save(tmp_path / "empty.png")
    arguments = ("generate", "-c", "neutrophil", "-n", 1, *QUICK)
    outcome = run(*arguments, "--stain", tmp_path / "slide.png", "-o", tmp_path / "a", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["stain"]["background"] == pytest.approx([180, 220, 190], abs=3)
    refused = run(*arguments, "--stain", tmp_path / "empty.png", "-o", tmp_path / "b")
    assert "shows no cells" in refused.error
    assert not (tmp_path / "b").exists()


def test_generate(run: Run, tmp_path: Path) -> None:
    arguments = ("-c", "neutrophil", "--class", "Platelet", "-n", 3, "--seed", 4, *QUICK)
    outcome = run("generate", *arguments, "-o", tmp_path / "a", "--json")
    assert outcome.code == 0, outcome.err
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "neutrophil", "platelet", "cells.csv", "contact_sheet.png", "provenance.json",
    }  # fmt: skip
    table = pd.read_csv(tmp_path / "a" / "cells.csv", dtype=str)
    assert table["class"].tolist() == ["neutrophil"] * 3 + ["platelet"] * 3
    assert (table["synthetic"] == "true").all()
    assert all(is_synthetic(tmp_path / "a" / path) for path in table["path"])
    told = outcome.json
    assert told["synthetic"] is True
    assert told["made"] == {"neutrophil": 3, "platelet": 3}
    assert told["seed"] == 4
    again = run("generate", *arguments, "-o", tmp_path / "b")
    assert "neutrophil" in again.out
    assert "contact_sheet.png first" in again.err
    for path in table["path"]:
        one, two = (open_image(tmp_path / x / path).rgb() for x in "ab")
        np.testing.assert_array_equal(one, two)


def test_generate_everything_towards_one_class(run: Run, tmp_path: Path) -> None:
    outcome = run(
        "generate", "--all", "-n", 1, *QUICK, "--towards", "platelet=0.3", "-o", tmp_path, "--json"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["towards"] == {"name": "platelet", "share": 0.3}
    table = pd.read_csv(tmp_path / "cells.csv")
    assert table["class"].tolist() == ["eosinophil", "neutrophil", "platelet"]
    assert (table["share"] == 0.3).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-c", "neutrophil", "-n", 0), "at least one cell"),
        (("-c", "neutrophil", "-n", -2), "not -2"),
        (("-c", "neutrofil"), "Did you mean neutrophil"),
        (("-n", 2), "--class or --all"),
        (("--all", "-c", "neutrophil"), "--class or --all"),
        (("--all", "--guidance", 21), "guidance cannot be 21"),
        (("--all", "--steps", 1), "steps cannot be 1"),
        (("--all", "--tries", 0), "tries cannot be 0"),
        (("--all", "--towards", "platelet=2"), "share cannot be '2'"),
        (("--all", "--towards", "platelet=x"), "share cannot be 'x'"),
        (("--all", "--towards", "blast"), "draws no 'blast'"),
        (("--all", "-n", 10**6), "--yes"),
    ],
)
def test_what_cannot_be_generated(
    run: Run, tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    outcome = run("generate", *arguments, "-o", tmp_path / "out")
    assert words in outcome.error
    assert not (tmp_path / "out").exists()


def test_what_was_left_out_is_told(run: Run, tmp_path: Path) -> None:
    outcome = run("generate", "--all", "-n", 3, "--steps", 2, "--tries", 1, "-o", tmp_path)
    assert outcome.code == 0, outcome.err
    missing = 9 - len(pd.read_csv(tmp_path / "cells.csv"))
    assert missing > 0, "random weights cannot tell cells"
    assert "Warning: Left out:" in outcome.err


def test_smear(run: Run, tmp_path: Path) -> None:
    outcome = run(
        "smear", "-o", tmp_path, "--sketches", "--png", "--json", "--width", 320, "--height", 300,
        "--white", 3, "--platelets", 2, "--red", 6, "--artefacts", 0, "--seed", 7,
        "--differential", "neutrophil=2", "--differential", "lymphocyte=1", "--overlap", 0,
        "--pixel-size", 0.15, "--stain-variation", 0.8, "--light-variation", 2,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert {p.name for p in tmp_path.iterdir()} == {
        "smear.tif", "smear.png", "labels.tif", "truth.csv", "provenance.json",
    }  # fmt: skip
    truth = pd.read_csv(tmp_path / "truth.csv", dtype={"synthetic": str})
    counts = {"red cell": 6, "neutrophil": 2, "platelet": 2, "lymphocyte": 1}
    assert truth["class"].value_counts().to_dict() == counts
    assert (truth["synthetic"] == "true").all()
    labels = read_labels(tmp_path / "labels.tif")
    assert labels.shape == (300, 320)
    assert sorted(set(labels.ravel()) - {0}) == truth["label"].tolist()
    image = open_image(tmp_path / "smear.tif")
    assert image.pixel_size_um == pytest.approx(0.15)
    np.testing.assert_array_equal(image.rgb(), open_image(tmp_path / "smear.png").rgb())
    assert is_synthetic(tmp_path / "smear.tif")
    assert is_synthetic(tmp_path / "smear.png")
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["synthetic"] is True
    assert record["settings"]["stain_variation"] == 0.8
    assert record["model"] is None
    assert outcome.json["counts"] == counts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--white", -1), "n white cannot be -1"),
        (("--width", 10), "width cannot be 10"),
        (("--overlap", 2), "overlap cannot be 2"),
        (("--differential", "x"), "NAME=VALUE"),
        (("--differential", "=1"), "NAME=VALUE"),
        (("--differential", "neutrophil=-1"), "share of neutrophil"),
        (("--differential", "neutrophil=1", "--differential", "neutrophil=2"), "given twice"),
        (("--differential", "unicorn=1"), "'unicorn' is no white cell"),
    ],
)
def test_smears_that_cannot_be(
    run: Run, tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    outcome = run("smear", "--sketches", *arguments, "-o", tmp_path / "out")
    assert words in outcome.error
    assert not (tmp_path / "out").exists()


def test_augment(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, name, n in (
        ("train", "neutrophil", 3),
        ("train", "platelet", 1),
        ("train", "blast", 2),
        ("val", "platelet", 1),
    ):
        folder = tmp_path / "data" / split / name
        folder.mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    out = tmp_path / "out"
    outcome = run("augment", tmp_path / "data", "-o", out, *QUICK, "--pixel-size", 0.5)
    assert outcome.code == 0, outcome.err
    assert "does not draw blast" in outcome.err
    assert "--pixel-size 0.5" in outcome.err
    table = pd.read_csv(out / "training.csv", dtype=str)
    drawn = table[table["synthetic"] == "true"]
    assert drawn["class"].tolist() == ["platelet"] * 2
    assert (drawn["split"] == "train").all()
    assert [open_image(out / path).shape for path in drawn["path"]] == [(40, 40)] * 2
    assert len(table) == 7 + 2
    full = run("augment", tmp_path / "data", "-o", out, "--to", 1)
    assert "nothing is lacking" in full.error
    nowhere = run("augment", tmp_path / "nothing", "-o", out)
    assert "neither a folder" in nowhere.error
