"""Commands ``counterfactual`` and ``morph``: what they write, and one sentence for bad input."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture
from toys import COLORS, PIXEL_SIZE_UM, disc

from cytodiffusion.cli import main
from cytodiffusion.files.synthetic_mark import is_synthetic
from cytodiffusion.image.labels import write_labels_tif
from cytodiffusion.model.testing import tiny_bundle

SCALE = ("--pixel-size", PIXEL_SIZE_UM)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Run:
    """Call the command line in this process."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        code = exited.value.code
        return Outcome(code if isinstance(code, int) else int(code is not None), out, err)

    return run


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("single") / "blue.png"
    Picture.fromarray(disc(COLORS["blue"], np.random.default_rng(5))).save(path)
    return path


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A blue cell (4) within and a green one (9) at the border, and their labels."""
    rng = np.random.default_rng(2)
    image = np.full((96, 120, 3), 235, np.uint8)
    labels = np.zeros((96, 120), np.int32)
    for label, colour, x in ((4, "blue", 40), (9, "green", 114)):
        cv2.circle(image, (x, 48), 11, COLORS[colour], -1, cv2.LINE_AA)
        drawn: NDArray[np.uint8] = np.zeros((96, 120), np.uint8)
        cv2.circle(drawn, (x, 48), 11, 1, -1)
        labels[drawn > 0] = label
    image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    folder = tmp_path_factory.mktemp("field")
    Picture.fromarray(image).save(folder / "field.png")
    return folder / "field.png", write_labels_tif(folder / "labels.tif", labels, PIXEL_SIZE_UM)


def quick(model: Path) -> Sequence[object]:
    return ("-m", model, "--device", "cpu", "--strength", 0.4, "--guidance", 1, "--steps", 4)


def test_single_cell(call: Run, single: Path, disc_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    outcome = call(
        "counterfactual", single, "-o", out, "-t", "Red", *SCALE, *quick(disc_model), "--json"
    )
    assert outcome.code == 0, outcome.err
    names = sorted(path.name for path in out.iterdir())
    assert names == ["counterfactual.json", "counterfactual.png", "figure.png", "in_image.png"]
    record = json.loads((out / "counterfactual.json").read_text())
    assert record["predicted"] == "blue"
    assert record["target"] == "red"
    assert record["flipped"] is True
    assert record["confidence"] > 0.5
    assert record["distance"] > 0
    assert record["settings"]["strength"] == 0.4
    assert record["model"]["name"] == "discs"
    assert record["version"]
    assert record["seed"] == 0
    assert record["synthetic"] is True
    assert is_synthetic(out / "counterfactual.png")
    assert is_synthetic(out / "figure.png")
    assert is_synthetic(out / "in_image.png")
    with Picture.open(out / "counterfactual.png") as picture:
        assert picture.size == (32, 32)
        red, _, blue = np.asarray(picture)[14:18, 14:18].mean(axis=(0, 1))
    assert red > blue
    told = json.loads(outcome.out)
    assert told["ok"] is True
    assert told["files"]["figure.png"] == str(out / "figure.png")
    again = tmp_path / "again"
    call("counterfactual", single, "-o", again, "-t", "red", *SCALE, *quick(disc_model))
    pictures = [(folder / "counterfactual.png") for folder in (out, again)]
    first, second = (np.asarray(Picture.open(path).convert("RGB")) for path in pictures)
    np.testing.assert_array_equal(first, second)


def test_labelled_cell(
    call: Run, field: tuple[Path, Path], disc_model: Path, tmp_path: Path
) -> None:
    image, labels = field
    out = tmp_path / "out"
    outcome = call(
        "counterfactual", image, "-l", labels, "--cell", 4, "-o", out, *quick(disc_model)
    )
    assert outcome.code == 0, outcome.err
    assert "border" not in outcome.err
    record = json.loads((out / "counterfactual.json").read_text())
    assert record["cell"] == 4
    assert record["predicted"] == "blue"
    assert record["target"] in {"green", "red"}  # the runner-up
    assert record["offset"] == pytest.approx([48.5 - 24, 40.5 - 24], abs=1)
    with Picture.open(out / "counterfactual.png") as picture:
        made = np.asarray(picture)
    np.testing.assert_allclose(made[:4].mean(axis=(0, 1)), 235, atol=2)  # nothing changed there
    with Picture.open(image) as whole, Picture.open(out / "in_image.png") as here:
        top, left = (round(value) for value in record["offset"])
        before = np.asarray(whole)[top : top + here.height, left : left + here.width]
        changed = (np.asarray(here) != before).any(axis=2)
    assert changed.any()
    assert not changed[:5].any()  # around the cell it is the image to the pixel
    assert not changed[:, :5].any()


def test_a_cell_at_the_border(
    call: Run, field: tuple[Path, Path], disc_model: Path, tmp_path: Path
) -> None:
    image, labels = field
    out = tmp_path / "out"
    outcome = call(
        "counterfactual", image, "-l", labels, "--cell", 9, "-o", out, *quick(disc_model),
        "-t", "blue",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "touches the border" in outcome.err
    assert json.loads((out / "counterfactual.json").read_text())["touches_border"] is True


def test_morph(call: Run, single: Path, disc_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "film.tif"
    outcome = call(
        "morph", single, "-o", out, "-t", "red", "--frames", 5, *SCALE, *quick(disc_model), "--json"
    )
    assert outcome.code == 0, outcome.err
    assert tifffile.imread(out).shape == (5, 32, 32, 3)
    assert is_synthetic(out)
    record = json.loads((tmp_path / "film.tif.json").read_text())
    assert record["frames"] == 5
    assert record["flipped"] is True
    assert record["synthetic"] is True
    assert json.loads(outcome.out)["record"] == str(tmp_path / "film.tif.json")


def test_a_version_that_does_not_turn_is_said(
    call: Run, single: Path, disc_model: Path, tmp_path: Path
) -> None:
    outcome = call(
        "counterfactual", single, "-o", tmp_path / "out", "-t", "red", "-m", disc_model, *SCALE,
        "--strength", 0.1, "--guidance", 0, "--steps", 2,
    )  # fmt: skip
    assert outcome.code == 0
    assert ", not for red: try more --strength or --guidance" in outcome.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-t", "blue"), "taken for already"),
        (("-t", "purple"), "knows no class 'purple'; it knows blue, green, red"),
        (("-t", "red", "--strength", "0"), "strength cannot be 0.0"),
        (("-t", "red", "--guidance", "21"), "guidance cannot be 21.0"),
        (("-t", "red", "--steps", "1"), "steps cannot be 1"),
        (("-t", "red", "--cell", "3"), "without --labels"),
        (("-t", "red", "--pixel-size", "0"), "pixel size"),
    ],
)
def test_bad_input(
    call: Run, single: Path, disc_model: Path, tmp_path: Path, options: Sequence[str], sentence: str
) -> None:
    outcome = call("counterfactual", single, "-o", tmp_path / "out", "-m", disc_model, *options)
    assert outcome.code == 1
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "out").exists()


def test_bad_files(
    call: Run, single: Path, field: tuple[Path, Path], disc_model: Path, tmp_path: Path
) -> None:
    image, labels = field
    out = tmp_path / "out"

    def fails(*arguments: object) -> str:
        outcome = call(*arguments)
        assert outcome.code == 1
        assert outcome.err.count("Error:") == 1
        return outcome.err

    model = ("-m", disc_model)
    assert "does not exist" in fails("counterfactual", tmp_path / "no.png", "-o", out, *model)
    assert "is a folder" in fails("counterfactual", tmp_path, "-o", out, *model)
    given = ("counterfactual", image, "-l", labels, "-o", out, *model)
    assert "2 cells: say which one" in fails(*given)
    assert "no cell 7 in labels.tif" in fails(*given, "--cell", 7)
    assert "should end in .gif, .png, .tif or .tiff" in fails(
        "morph", single, "-o", tmp_path / "film.avi", *model
    )
    assert "2 to 240 frames" in fails(
        "morph", single, "-o", tmp_path / "film.gif", "-t", "red", "--frames", 1, *SCALE, *model
    )
    lonely = tiny_bundle(tmp_path / "one", ("blue",))
    assert "one class only" in fails("counterfactual", single, "-o", out, "-m", lonely, *SCALE)
    assert not out.exists()
