"""The command line is a contract: files, columns, exit codes, one sentence for what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Picture

from cytodiffusion.cli import main
from cytodiffusion.files.atomic import sha256
from cytodiffusion.image.formats import image_files
from cytodiffusion.image.labels import read_labels, write_labels_tif
from cytodiffusion.model.testing import DEFAULT_NAMES, tiny_bundle
from cytodiffusion.results import CELL_COLUMNS
from cytodiffusion.smear import Smear, SmearSettings, synthetic_smear

RESULTS = [
    *("cells.csv", "cells.geojson", "labels.tif"),
    *("overlay.png", "run.json", "uncertainty.png"),
]
PIXEL_SIZE = 0.2


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
    """Call the command line in this process."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        code = exited.value.code
        return Outcome(code if isinstance(code, int) else int(code is not None), out, err)

    return call


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def smear() -> Smear:
    return synthetic_smear(
        None,
        SmearSettings(
            height=160, width=208, pixel_size_um=PIXEL_SIZE, n_white=3, n_platelets=2, seed=3
        ),
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, smear: Smear) -> Path:
    path = tmp_path_factory.mktemp("images") / "field.png"
    Picture.fromarray(smear.rgb).save(path)
    return path


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, smear: Smear) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.tif"
    return write_labels_tif(path, smear.labels, PIXEL_SIZE)


@pytest.fixture(scope="module")
def single_cells(tmp_path_factory: pytest.TempPathFactory, smear: Smear) -> Path:
    """A folder of class folders of single-cell images, one of them damaged."""
    folder = tmp_path_factory.mktemp("cells")
    for number, (y, x) in enumerate([(60, 60), (100, 100), (110, 150)]):
        target = folder / ("a" if number else "b/deep") / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(smear.rgb[y - 50 : y + 50, x - 50 : x + 50]).save(target)
    (folder / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (folder / "a" / "notes.txt").write_text("no image")
    (folder / "a" / "._0.png").write_text("a resource fork")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def check_table(path: Path, key: str = "label") -> pd.DataFrame:
    frame = pd.read_csv(path)
    first = [key, *CELL_COLUMNS[1:]]
    assert list(frame.columns[: len(first)]) == first
    rest = list(frame.columns[len(first) :])
    assert rest
    assert all(name.startswith("p_") for name in rest)
    np.testing.assert_allclose(frame[rest].sum(axis=1), 1, atol=1e-9)
    assert frame["anomaly"].dtype == bool
    assert frame["touches_border"].dtype == bool
    kinds = {name.removeprefix("p_") for name in rest}
    assert set(frame["predicted"]) <= kinds
    assert all(set(row.split("|")) <= kinds for row in frame["prediction_set"])
    assert (frame["trials"] >= 1).all()
    return frame


# --- the program -------------------------------------------------------------------------------


def shell(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cytodiffusion", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom cytodiffusion.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as done:\n    assert not done.code\n"
        "heavy = {'torch', 'scipy', 'pandas', 'skimage', 'cv2', 'diffusers', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    after = os.times()
    assert done.returncode == 0, done.stderr
    assert "not a medical device" in done.stdout
    # Of the processor, so that other work on the machine does not count.
    used = after.children_user - before.children_user
    assert used + after.children_system - before.children_system < 1.5


def test_version_and_help_of_every_command(run: Run) -> None:
    assert run("--version").out.startswith("cytodiffusion 0.")
    for command in ("run", "segment", "classify", "train", "demo", "models"):
        outcome = run(command, "--help")
        assert outcome.code == 0
        assert "Usage" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("run", "image.png"),
        ("run", "-o", "out"),
        ("run", "image.png", "-o", "out", "--trials", "many"),
        ("run", "image.png", "-o", "out", "--method", "magic"),
        ("segment", "image.png"),
        ("classify", "image.png"),
    ],
)
def test_wrong_usage(run: Run, arguments: Sequence[str]) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--trials", 0), ("--batch-size", -1), ("--coverage", "nan"), ("--pixel-size", 0)],
)
def test_values_out_of_bounds(
    run: Run, image: Path, tmp_path: Path, option: str, value: object
) -> None:
    said = one_sentence(run("run", image, "-o", tmp_path / "out", option, value))
    assert option.strip("-").replace("-", " ") in said
    assert names(tmp_path) == []


# --- run ---------------------------------------------------------------------------------------


def test_run_one_image(run: Run, image: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    outcome = run(
        "run", image, "-o", out, "-m", model, "--trials", 4, "--seed", 5, "--json",
        "--pixel-size", PIXEL_SIZE,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert names(out) == RESULTS
    frame = check_table(out / "cells.csv")
    found = read_labels(out / "labels.tif")
    assert frame["label"].tolist() == list(range(1, found.max() + 1))
    assert frame["trials"].max() <= 4

    told = outcome.json
    assert told["ok"] is True
    assert told["command"] == "run"
    (one,) = told["images"]
    assert one["cells"] == len(frame)
    assert one["pixel_size_um"] == PIXEL_SIZE
    assert sum(one["counts"].values()) == len(frame)
    assert one["files"]["cells"] == str(out / "cells.csv")

    record = json.loads((out / "run.json").read_text())
    assert record["inputs"][0]["sha256"] == sha256(image)
    assert {o["path"]: o["sha256"] for o in record["outputs"]} == {
        name: sha256(out / name) for name in RESULTS if name != "run.json"
    }
    assert '"seed": 5' in json.dumps(record)
    assert '"trials": 4' in json.dumps(record)
    assert record["segmentation"]["pixel_size_source"] == "given"
    assert "tiny" in json.dumps(record["model"])
    white = frame["predicted"].isin(DEFAULT_NAMES[:2] + DEFAULT_NAMES[3:7])
    assert record["differential"]["counted"] == (white & ~frame["touches_border"]).sum()
    outlines = json.loads((out / "cells.geojson").read_text(encoding="utf-8"))["features"]
    assert [f["properties"]["measurements"]["Label"] for f in outlines] == frame["label"].tolist()


def test_a_slide_that_is_new_to_the_model_is_told(
    run: Run, image: Path, labels: Path, model: Path, tmp_path: Path
) -> None:
    """Where a fifth of the cells are anomalous, the slide is, and who runs it should know."""
    scale = ("--pixel-size", PIXEL_SIZE, "--trials", 4)
    for threshold, told in ((1e9, False), (-1e9, True)):
        chosen = shutil.copytree(model, tmp_path / f"model-{told}")
        numbers = json.loads((chosen / "calibration.json").read_text())
        numbers["anomaly_threshold"] = threshold
        (chosen / "calibration.json").write_text(json.dumps(numbers))
        sums = json.loads((chosen / "checksums.json").read_text())
        sums["calibration.json"] = sha256(chosen / "calibration.json")
        (chosen / "checksums.json").write_text(json.dumps(sums))
        folder = tmp_path / f"out-{told}"
        table = ("-o", folder / "again.csv", "--labels", labels)
        for arguments in (("run", image, "-o", folder), ("classify", image, *table)):
            outcome = run(*arguments, "-m", chosen, *scale)
            assert outcome.code == 0, outcome.err
            said = " ".join(outcome.err.split())
            assert ("unlike those the model was trained on" in said) is told


def test_same_seed_same_files_for_any_batch_size(
    run: Run, image: Path, model: Path, tmp_path: Path
) -> None:
    for name, size in (("a", 256), ("b", 3)):
        common = ("--pixel-size", PIXEL_SIZE, "--trials", 4, "--seed", 1, "--quiet")
        outcome = run(
            "run", image, "-o", tmp_path / name, "-m", model, "--batch-size", size, *common
        )
        assert outcome == Outcome(0, "", "")
    assert sha256(tmp_path / "a" / "labels.tif") == sha256(tmp_path / "b" / "labels.tif")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "a" / "cells.csv"),
        pd.read_csv(tmp_path / "b" / "cells.csv"),
        rtol=1e-4,
        atol=1e-5,
    )


def test_several_images_one_of_them_bad(run: Run, image: Path, model: Path, tmp_path: Path) -> None:
    for name in ("x/field.png", "y/Field.png", "y/field.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Picture.open(image).save(tmp_path / name)
    bad = tmp_path / "x" / "bad.tif"
    bad.write_bytes(b"II*\0 and then nothing")
    out = tmp_path / "out"
    outcome = run(
        "run", tmp_path / "x", tmp_path / "y", tmp_path / "x" / "field.png", "-o", out,
        "-m", model, "--trials", 2, "--pixel-size", PIXEL_SIZE, "--json",
    )  # fmt: skip
    assert outcome.code == 1
    folders = [name for name in names(out) if (out / name).is_dir()]
    assert folders in (["Field-2", "field", "field-3"], ["Field", "field-2", "field-3"])
    assert {name for name in names(out) if name not in folders} == {
        "cells.csv",
        "images.csv",
        "images.json",
    }
    for folder in folders:
        assert names(out / folder) == RESULTS
    told = outcome.json
    assert told["ok"] is False
    assert len(told["images"]) == 3
    assert told["error"] == "1 of 4 images failed."
    assert [f["image"] for f in told["failed"]] == [str(bad)]
    assert "1 of 4 images failed" in outcome.err
    assert "given twice" in outcome.err


def test_results_in_the_folder_of_the_images_are_not_analysed(
    run: Run, image: Path, model: Path, tmp_path: Path
) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in ("one.png", "labels.png"):
        Picture.open(image).save(slides / name)
    for _ in range(2):
        outcome = run(
            "run", slides, "-o", slides, "-m", model, "--trials", 1, "--pixel-size", PIXEL_SIZE,
            "--json",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        analysed = [Path(told["image"]).name for told in outcome.json["images"]]
        assert analysed == ["labels.png", "one.png"]
    Picture.open(image).save(slides / "overlay.png")  # one's own: no record lies beside it
    assert slides / "overlay.png" in image_files(slides)


def test_the_pixel_size_of_the_file_is_used(
    run: Run, smear: Smear, model: Path, tmp_path: Path
) -> None:
    image = tmp_path / "field.ome.tif"
    tifffile.imwrite(
        image,
        smear.rgb,
        photometric="rgb",
        ome=True,
        metadata={"axes": "YXS", "PhysicalSizeX": PIXEL_SIZE, "PhysicalSizeY": PIXEL_SIZE},
    )
    outcome = run("run", image, "-o", tmp_path / "out", "-m", model, "--trials", 1, "--json")
    assert outcome.code == 0, outcome.err
    (one,) = outcome.json["images"]
    assert one["pixel_size_um"] == pytest.approx(PIXEL_SIZE)
    assert one["pixel_size_source"] == "file"
    frame = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert frame["trials"].max() == 1


# --- segment and classify ----------------------------------------------------------------------


def test_segment_then_classify_is_run(run: Run, image: Path, model: Path, tmp_path: Path) -> None:
    size = ("--pixel-size", PIXEL_SIZE)
    chosen = ("-m", model, "--trials", 4, "--seed", 2)
    one = run("segment", image, "-o", tmp_path / "l.tif", "--json", *size)
    assert one.code == 0, one.err
    assert one.json["cells"] == read_labels(tmp_path / "l.tif").max()
    two = run(
        "classify", image, "--labels", tmp_path / "l.tif", "-o", tmp_path / "c.csv",
        "--json", *chosen,
    )  # fmt: skip
    assert two.code == 0, two.err
    assert two.json["pixel_size_source"] == "labels"
    assert two.json["cells"] == one.json["cells"]
    assert two.json["model"]["name"]
    assert run("run", image, "-o", tmp_path / "run", *size, *chosen).code == 0
    # what the segmentation saw of each cell is not in its labels
    tables = [pd.read_csv(tmp_path / name) for name in ("c.csv", "run/cells.csv")]
    seen = ["review", "contradiction"]
    pd.testing.assert_frame_equal(*(table.drop(columns=seen) for table in tables))
    assert not tables[0][seen].any(axis=None)
    assert sha256(tmp_path / "l.tif") == sha256(tmp_path / "run" / "labels.tif")


def test_classify_own_labels_with_gaps(
    run: Run, image: Path, smear: Smear, model: Path, tmp_path: Path
) -> None:
    mine = np.where(smear.labels > 0, smear.labels * 1000 + 70_000, 0)
    write_labels_tif(tmp_path / "mine.tif", mine)
    outcome = run(
        "classify", image, "-l", tmp_path / "mine.tif", "-o", tmp_path / "c.csv", "-m", model,
        "--trials", 2,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "Give --pixel-size" in outcome.err  # neither given nor in the file
    frame = check_table(tmp_path / "c.csv")
    assert frame["label"].tolist() == sorted(set(mine.ravel().tolist()) - {0})


def grey(rgb: np.ndarray, path: Path) -> None:
    Picture.fromarray(rgb).convert("L").save(path.with_suffix(".png"))


def with_alpha(rgb: np.ndarray, path: Path) -> None:
    Picture.fromarray(rgb).convert("RGBA").save(path.with_suffix(".png"))


def sixteen_bit(rgb: np.ndarray, path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), rgb.astype(np.uint16) * 257, photometric="rgb")


def floats(rgb: np.ndarray, path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), (rgb / 255).astype(np.float32), photometric="rgb")


def cmyk(rgb: np.ndarray, path: Path) -> None:
    Picture.fromarray(rgb).convert("CMYK").save(path.with_suffix(".jpg"), quality=95)


@pytest.mark.parametrize("save", [grey, with_alpha, sixteen_bit, floats, cmyk])
def test_images_of_every_kind(
    run: Run, smear: Smear, labels: Path, model: Path, tmp_path: Path, save: Callable[..., None]
) -> None:
    save(smear.rgb, tmp_path / "field")
    (image,) = tmp_path.iterdir()
    outcome = run("classify", image, "-l", labels, "-o", tmp_path / "c.csv", "-m", model, "-q")
    assert outcome == Outcome(0, "", "")
    assert len(check_table(tmp_path / "c.csv")) == smear.labels.max()


def test_cells_at_the_border_and_beyond_the_window(
    run: Run, image: Path, smear: Smear, model: Path, tmp_path: Path
) -> None:
    whole = np.ones_like(smear.labels)  # larger than the window of 20 um
    whole[100, 100] = 2  # and a cell of one pixel
    write_labels_tif(tmp_path / "l.tif", whole, PIXEL_SIZE)
    outcome = run(
        "classify", image, "-l", tmp_path / "l.tif", "-o", tmp_path / "c.csv", "-m", model,
        "--pixel-size", PIXEL_SIZE,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    frame = check_table(tmp_path / "c.csv")
    assert frame["touches_border"].tolist() == [True, False]
    assert frame["area_um2"].tolist() == pytest.approx(
        [(whole.size - 1) * PIXEL_SIZE**2, PIXEL_SIZE**2]
    )


def test_a_model_with_other_classes(run: Run, image: Path, labels: Path, tmp_path: Path) -> None:
    model = tiny_bundle(tmp_path / "other", class_names=["round", "long one"])
    outcome = run("classify", image, "-l", labels, "-o", tmp_path / "c.csv", "-m", model)
    assert outcome.code == 0, outcome.err
    frame = check_table(tmp_path / "c.csv")
    assert list(frame.columns[-2:]) == ["p_round", "p_long one"]


def test_classify_a_folder(run: Run, single_cells: Path, model: Path, tmp_path: Path) -> None:
    outcome = run(
        "classify", single_cells, "-o", tmp_path / "cells.csv", "-m", model, "--trials", 2,
        "--pixel-size", PIXEL_SIZE, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    frame = check_table(tmp_path / "cells.csv", key="path")
    expected = [single_cells / p for p in ("a/1.png", "a/2.png", "b/deep/0.png")]
    assert frame["path"].tolist() == [str(p) for p in expected]
    (skipped,) = outcome.json["skipped"]
    assert str(single_cells / "a" / "broken.png") in skipped
    assert skipped in outcome.err
    assert "1 of 4 images were skipped" in outcome.err


# --- what goes wrong ---------------------------------------------------------------------------


def text_file(folder: Path) -> Path:
    path = folder / "image.png"
    path.write_text("this is no image")
    return path


def cut_tiff(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    tifffile.imwrite(folder / "cut.tif", noise, compression="zlib")
    whole = (folder / "cut.tif").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 3])
    return folder / "cut.tif"


def one_pixel(folder: Path) -> Path:
    Picture.new("RGB", (1, 1)).save(folder / "one.png")
    return folder / "one.png"


def nothing_on_it(folder: Path) -> Path:
    Picture.new("RGB", (200, 200), (230, 225, 232)).save(folder / "empty.png")
    return folder / "empty.png"


def no_such_file(folder: Path) -> Path:
    return folder / "missing.png"


def empty_folder(folder: Path) -> Path:
    (folder / "nothing").mkdir()
    return folder / "nothing"


def one_sentence(outcome: Outcome, code: int = 1) -> str:
    """Check that the outcome is one clear sentence on standard error, and return it."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, outcome.err
    assert lines[0].endswith((".", "!", "?"))
    return lines[0]


@pytest.mark.parametrize(
    "make", [text_file, cut_tiff, one_pixel, nothing_on_it, no_such_file, empty_folder]
)
def test_bad_images(run: Run, model: Path, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    image = make(tmp_path)
    before = names(tmp_path)
    sentence = one_sentence(run("run", image, "-o", tmp_path / "out", "-m", model))
    assert image.stem in sentence or "image" in sentence
    if image.suffix:
        one_sentence(run("segment", image, "-o", tmp_path / "new" / "l.tif"))
    assert names(tmp_path) == before  # nothing is left behind


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "1e-9", "100"])
def test_absurd_pixel_sizes(run: Run, image: Path, model: Path, tmp_path: Path, size: str) -> None:
    for command in (("run", image), ("classify", image.parent)):
        outcome = run(*command, "-o", tmp_path / "out.csv", "-m", model, f"--pixel-size={size}")
        assert "pixel size" in one_sentence(outcome)
    one_sentence(run("segment", image, "-o", tmp_path / "l.tif", f"--pixel-size={size}"))
    assert names(tmp_path) == []


def test_labels_that_do_not_belong(run: Run, image: Path, model: Path, tmp_path: Path) -> None:
    other, empty = np.ones((50, 60), np.int32), np.zeros((160, 208), np.int32)
    cases = {
        "another image": write_labels_tif(tmp_path / "other.tif", other),
        "no cells": write_labels_tif(tmp_path / "empty.tif", empty),
        "damaged": text_file(tmp_path).rename(tmp_path / "text.tif"),
        "does not exist": tmp_path / "missing.tif",
        "one number per pixel": image,
    }
    for words, path in cases.items():
        outcome = run("classify", image, "-l", path, "-o", tmp_path / "c.csv", "-m", model)
        assert words in one_sentence(outcome)
    assert not (tmp_path / "c.csv").exists()


def test_arguments_that_contradict(run: Run, image: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.csv"
    assert "--labels" in one_sentence(run("classify", image, "-o", out))
    assert "folder" in one_sentence(run("classify", image.parent, "-l", labels, "-o", out))
    assert ".csv" in one_sentence(run("classify", image.parent, "-o", tmp_path / "c.txt"))
    assert ".tif" in one_sentence(run("segment", image, "-o", tmp_path / "l.png"))
    assert "is the input" in one_sentence(run("segment", labels, "-o", labels))
    assert "does not exist" in one_sentence(run("classify", tmp_path / "no", "-o", out))
    assert names(tmp_path) == []


def missing_file(bundle: Path) -> None:
    (bundle / "classes.json").unlink()


def altered_file(bundle: Path) -> None:
    with (bundle / "card.md").open("a") as stream:
        stream.write("altered")


def pickle_in_disguise(bundle: Path) -> None:
    import pickle

    weights = next(bundle.glob("diffusion*.safetensors"))
    weights.write_bytes(pickle.dumps({"weight": [1.0]}))
    sums = json.loads((bundle / "checksums.json").read_text())
    (bundle / "checksums.json").write_text(json.dumps(sums | {weights.name: sha256(weights)}))


@pytest.mark.parametrize("spoil", [missing_file, altered_file, pickle_in_disguise])
def test_spoilt_models(
    run: Run, image: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    assert run("models", "verify", bundle).code == 0
    spoil(bundle)
    sentence = one_sentence(run("run", image, "-o", tmp_path / "out", "-m", bundle))
    assert sentence == one_sentence(run("models", "inspect", bundle))
    verified = run("models", "verify", bundle, "--json")
    assert verified.code == 1
    assert verified.json["models"][0]["sound"] is False
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["/no/such/folder", "./nowhere", "owner/not-there"])
def test_models_that_are_not_there(run: Run, image: Path, tmp_path: Path, source: str) -> None:
    sentence = one_sentence(run("run", image, "-o", tmp_path / "out", "-m", source))
    assert ("--allow-download" in sentence) == (source == "owner/not-there")


def test_devices_that_are_not_there(run: Run, image: Path, model: Path, tmp_path: Path) -> None:
    for device in ("cuda:99", "toaster"):
        outcome = run("run", image, "-o", tmp_path / "out", "-m", model, "--device", device)
        assert device in one_sentence(outcome)


def test_places_that_cannot_be_written(
    run: Run,
    image: Path,
    labels: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("kept")
    for out in (in_the_way, in_the_way / "below"):
        sentence = one_sentence(run("run", image, "-o", out, "-m", model))
        assert "there is a file where a folder is needed" in sentence
    common = ("-l", labels, "-m", model, "--trials", 1)
    one_sentence(run("classify", image, *common, "-o", in_the_way / "c.csv"))
    (tmp_path / "folder.csv").mkdir()
    one_sentence(run("classify", image, *common, "-o", tmp_path / "folder.csv"))
    assert in_the_way.read_text() == "kept"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    common = ("-m", model, "--trials", 1, "--pixel-size", PIXEL_SIZE)
    assert "No space" in one_sentence(run("run", image, "-o", tmp_path / "out", *common))
    outcome = run("classify", image, "-l", labels, *common, "-o", tmp_path / "c.csv")
    assert "No space" in one_sentence(outcome)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "read-only" in one_sentence(run("run", image, "-o", tmp_path / "out", *common))
    assert names(tmp_path) == ["file", "folder.csv"]


def test_errors_are_json_as_well(run: Run, tmp_path: Path) -> None:
    outcome = run("segment", tmp_path / "no.png", "-o", tmp_path / "l.tif", "--json", "--quiet")
    assert outcome.code == 1
    assert outcome.json["ok"] is False
    assert "no.png" in outcome.json["error"]
    assert outcome.json["error"] in outcome.err


def test_standard_output_holds_json_only(
    run: Run, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cytodiffusion.pipeline

    original = cytodiffusion.pipeline.segment

    def noisy(*arguments: object, **options: object) -> object:
        print("a library that talks")
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cytodiffusion.pipeline, "segment", noisy)
    outcome = run("segment", image, "-o", tmp_path / "l.tif", "--json")
    assert outcome.json["cells"] > 0
    assert "a library that talks" in outcome.err


# --- cancelling --------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_cancelled_from_outside(image: Path, model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cytodiffusion", "run", image, "-o", tmp_path / "out"]
    command += ["-m", model, "--trials", "2000", "--pixel-size", str(PIXEL_SIZE)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    with process.stderr as stream:
        assert any(line.startswith("Model") for line in stream)  # the work begins
        process.send_signal(signal.SIGINT)
        rest = stream.read()
    assert process.wait(timeout=60) == 130
    assert "Cancelled." in rest
    assert "Traceback" not in rest
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_terminated_while_writing(
    run: Run, image: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cytodiffusion.results

    before = signal.getsignal(signal.SIGTERM)

    def terminate(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(cytodiffusion.results, "write_run_json", terminate)
    common = ("-m", model, "--trials", 1, "--pixel-size", PIXEL_SIZE)
    outcome = run("run", image, "-o", tmp_path / "a" / "b", *common)
    assert "Cancelled" in one_sentence(outcome, 130)
    assert names(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_cancelled_between_images(
    run: Run, image: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cytodiffusion.pipeline

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cytodiffusion.pipeline, "classify_labels", stop)
    Picture.open(image).save(tmp_path / "copy.png")
    outcome = run(
        "run", image, tmp_path / "copy.png", "-o", tmp_path / "out", "-m", model, "--json"
    )
    assert outcome.code == 130
    assert outcome.json["error"] == "Cancelled."
    assert names(tmp_path) == ["copy.png"]


# --- models, training, demo --------------------------------------------------------------------


def test_models(run: Run, model: Path, tmp_path: Path) -> None:
    listed = run("models", "list", model.parent, "--json").json["models"]
    assert {m["source"] for m in listed} == {"default", str(model)}
    assert run("models", "list", model.parent).code == 0
    told = run("models", "inspect", model, "--json").json
    assert told["input_size"] > 0
    assert told["parameters"] > 0
    assert {"name", "color", "group"} <= told["classes"][0].keys()
    page = run("models", "inspect", model)
    assert page.code == 0
    assert told["classes"][0]["name"] in page.out
    verified = run("models", "verify", model, "--json").json["models"]
    assert verified[0]["sound"] is True
    assert verified[0]["checksum"] == told["checksum"]
    one_sentence(run("models", "list", tmp_path / "nowhere"))


def test_every_setting_of_training_can_be_given(run: Run, tmp_path: Path) -> None:
    from cytodiffusion.training.augmentation.settings import AugmentSettings
    from cytodiffusion.training.settings import TrainSettings

    page = run("train", "--help").out
    for option in ("--kind", "--steps", "--duplicates", "--set", "--list-settings"):
        assert option in page
    assert "--weight-decay" not in page
    listed = run("train", "--list-settings")
    assert listed.code == 0
    for field in TrainSettings.model_fields:
        assert f"\n{field} = " in "\n" + listed.out or field == "augment"
    for field in AugmentSettings.model_fields:
        assert f"\naugment.{field} = " in listed.out
    assert "Standard deviation of the rotation of colours" in listed.out

    (tmp_path / "s.json").write_text('{"steps": 11, "seed": 4, "augment": {"hue": 0.5}}')
    outcome = run(
        "train", tmp_path, "-o", tmp_path / "m", "--dry-run", "--json", "--seed", 9,
        "--settings", tmp_path / "s.json", "--set", "widths=8,16", "--set", "blocks=1,1",
        "--set", "colors.red cell=#ff0000", "--pixel-size", 0.1, "--set", "weight-decay=0.5",
        "--set", "taxonomy=none", "--set", "pretrained=false", "--set", "colors.blast=#00ff00",
    )  # fmt: skip
    chosen = outcome.json["settings"]
    assert (chosen["steps"], chosen["seed"], chosen["augment"]["hue"]) == (11, 9, 0.5)
    assert chosen["widths"] == [8, 16]
    assert chosen["colors"] == {"red cell": "#ff0000", "blast": "#00ff00"}
    assert chosen["pixel_size_um"] == 0.1
    assert (chosen["weight_decay"], chosen["taxonomy"], chosen["pretrained"]) == (0.5, None, False)
    assert names(tmp_path) == ["s.json"]


def test_options_of_training_change_single_entries(run: Run, tmp_path: Path) -> None:
    """What a settings file or a kind's own recipe says of the rest stays."""
    file = tmp_path / "s.json"
    file.write_text(
        '{"augment": {"hue": 0.5, "tint": 0.0}, "resume": true, "allow_download": true}'
    )
    wanted = ("train", tmp_path, "-o", tmp_path / "m", "--dry-run", "--json")
    chosen = run(*wanted, "--settings", file, "--set", "augment.hue=0.1").json["settings"]
    assert (chosen["augment"]["hue"], chosen["augment"]["tint"]) == (0.1, 0.0)
    assert chosen["resume"] is True
    assert chosen["allow_download"] is True
    drawn = run(
        *wanted, "--kind", "generator", "--init", "default", "--set", "augment.scale=0.02"
    ).json["settings"]["augment"]
    assert (drawn["scale"], drawn["cut_share"], drawn["bend_share"]) == (0.02, 0.0, 0.0)


def test_slide_correction_has_an_alias(run: Run, tmp_path: Path) -> None:
    wanted = ("train", tmp_path, "-o", tmp_path / "m", "--dry-run", "--json", "--init", "default")
    one, other = (
        run(*wanted, "--kind", kind).json["settings"] for kind in ("slide-correction", "laboratory")
    )
    assert one == other
    assert one["learning_rate"] == 2e-3
    assert one["kind"] == "laboratory"  # as on disk


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--steps", -1), "steps cannot be -1"),
        (("--set", "widths=8,x"), "widths cannot be 'x': it must be a whole number"),
        (("--set", "widths=8,16,32,64"), "same number of levels"),
        (("--set", "augment.hue"), "NAME=VALUE"),
        (("--set", "augment.hue=red"), "augment.hue cannot be 'red': it must be a number"),
        (("--settings", "/no/such/file"), "No such file"),
        (("--settings", __file__), "not JSON"),
        (("--set", "augment.blurr=2"), "Did you mean augment.blur?"),
        (("--set", "wieght_decay=2"), "Did you mean weight_decay?"),
        (("--set", "steps.x=2"), "steps has no parts"),
        (("--set", "augment.texture_share=-3"), "texture share"),
        (("--set", "augment.blur=nan"), "blur"),
        (("--set", "resume=perhaps"), "it must be true or false"),
        (("--set", "mixed_precision=half"), "mixed precision cannot be 'half'"),
        (
            ("--kind", "generator", "--init", "default", "--set", "input_size=32"),
            "from an input size",
        ),
        (
            ("--kind", "generator", "--init", "default", "--set", "base_widths=64"),
            "base_widths",
        ),
        (("--kind", "slide-correction"), "name the model that the correction is for"),
        ((), "neither a folder"),
    ],
)
def test_training_that_cannot_begin(
    run: Run, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    outcome = run("train", tmp_path / "no-data", "-o", tmp_path / "m", *options)
    assert words in one_sentence(outcome)


def test_demo(
    run: Run, smear: Smear, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cytodiffusion.demo

    monkeypatch.setattr(cytodiffusion.demo, "synthetic_smear", lambda *_, **__: smear)
    out = tmp_path / "demo"
    outcome = run("demo", "-o", out, "-m", model, "--trials", 1, "--json")
    assert outcome.code == 0, outcome.err
    assert set(RESULTS) < set(names(out))
    assert {"smear.tif", "truth.csv", "truth_labels.tif", "provenance.json"} < set(names(out))
    assert str(out) in outcome.err
    told = outcome.json
    assert told["truth"]["made"] >= told["truth"]["found"] >= told["truth"]["right"] >= 0
    classes = told["truth"]["classes"].values()
    for name in ("made", "found", "right"):
        assert told["truth"][name] == sum(count[name] for count in classes)
    assert told["smear"]["seed"] == smear.seed
    assert told["pixel_size_source"] == "file"
    record = json.loads((out / "run.json").read_text())
    assert record["inputs"][0]["sha256"] == sha256(out / "smear.tif")


@pytest.mark.data
def test_a_real_field(run: Run, data_root: Path, model: Path, tmp_path: Path) -> None:
    image = data_root / "bccd" / "images" / "BloodImage_00001.jpg"
    outcome = run("run", image, "-o", tmp_path / "out", "-m", model, "--trials", 1, "--json")
    assert outcome.code == 0, outcome.err
    check_table(tmp_path / "out" / "cells.csv")
    assert outcome.json["images"][0]["cells"] > 5
