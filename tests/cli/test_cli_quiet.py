"""What is odd about files is said in our words, once; libraries keep theirs to themselves."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.cli import main
from cytodiffusion.model.testing import tiny_bundle

Run = Callable[..., tuple[int, dict[str, Any]]]
NAMES = ("red", "blue", "green")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("m") / "tiny", NAMES)


def damaged_tiffs(folder: Path) -> Path:
    """Files that make tifffile talk: cut in the pixels, in the tags, with wrong offsets."""
    folder.mkdir(parents=True)
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    tifffile.imwrite(folder / "whole.tif", rgb, photometric="rgb", tile=(16, 16))
    whole = (folder / "whole.tif").read_bytes()
    for number, at in enumerate((3, 2, 1.2)):
        (folder / f"cut{number}.tif").write_bytes(whole[: int(len(whole) / at)])
    for number, at in enumerate(range(8, 160, 12)):
        part = bytearray(whole)
        part[at : at + 4] = b"\xff" * 4
        (folder / f"bent{number}.tif").write_bytes(bytes(part))
    return folder


@pytest.mark.parametrize("asked", [[], ["default"]])
@pytest.mark.parametrize("command", ["run", "classify", "train", "heatmap"])
def test_tifffile_never_speaks(
    command: str,
    asked: list[str],
    model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "warnoptions", asked)  # Python's -W asks for warnings, not for logs
    spoken: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: spoken.append(record.getMessage())  # type: ignore[method-assign]
    parser = logging.getLogger("tifffile")
    parser.addHandler(handler)
    folder = damaged_tiffs(tmp_path / "data" / "a")
    damaged_tiffs(tmp_path / "data" / "b")
    own = ["-m", str(model), "--device", "cpu"]
    arguments = {
        "run": [folder, "-o", tmp_path / "out", "--method", "watershed", *own],
        "classify": [folder, "-o", tmp_path / "c.csv", "--pixel-size", 0.2, *own],
        "train": [tmp_path / "data", "-o", tmp_path / "m", "--device", "cpu"],
        "heatmap": [folder / "cut0.tif", "-o", tmp_path / "h", *own],
    }[command]
    try:
        with pytest.raises(SystemExit):
            main([command, *map(str, arguments)])
    finally:
        parser.removeHandler(handler)
    assert spoken == []
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "cut" in said


def test_a_value_that_is_no_number_is_said_of_single_cells(
    run: Run, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_discs(tmp_path / "data", {"train": 2}) / "train" / "red"
    rgb = np.full((80, 80, 3), 0.8, np.float32)
    rgb[30:50, 30:50] = (0.3, 0.2, 0.5)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(data / name, rgb, photometric="rgb")
    rgb[4, 5, 1] = np.nan
    for name in ("nan.tif", "nan2.tif"):
        tifffile.imwrite(data / name, rgb, photometric="rgb")
    common = ("-m", model, "--device", "cpu", "--pixel-size", PIXEL_SIZE_UM)
    code, told = run("classify", data, "-o", tmp_path / "c.csv", *common)
    assert code == 0
    assert [note.split(":")[0] for note in told["notes"]] == ["nan.tif", "nan2.tif"]
    assert all("no numbers (NaN or infinity)" in note for note in told["notes"])
    with pytest.raises(SystemExit):
        main([str(a) for a in ("classify", data, "-o", tmp_path / "c.csv", *common)])
    said = " ".join(capfd.readouterr().err.split())
    assert said.count("no numbers") == 1  # one sentence for both
    assert "Warning: nan.tif, nan2.tif: 1 values that are no numbers" in said
