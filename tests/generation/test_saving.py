"""Generated cells on disk: every file says that it is synthetic, and tables can be read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cytodiffusion.datasets import find_records
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.files.synthetic_mark import (
    is_synthetic,
    read_record,
    write_synthetic_png,
    write_synthetic_tiff,
)
from cytodiffusion.generation import (
    GeneratedCells,
    GenerationSettings,
    Mix,
    contact_sheet,
    generate_into,
    save_generated,
)
from cytodiffusion.generation.generate import generate
from cytodiffusion.image.image import open_image
from cytodiffusion.model import ModelBundle

RAW = GenerationSettings(steps=2, reject=False, seed=5)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def cells(tiny: ModelBundle) -> GeneratedCells:
    return generate(tiny, {"neutrophil": 3, "platelet": 2}, RAW)


def test_a_png_says_that_it_is_synthetic(tmp_path: Path) -> None:
    path = write_synthetic_png(tmp_path / "a" / "cell.png", PIXELS, {"who": "Müller"}, 0.2)
    assert is_synthetic(path)
    assert read_record(path) == {"who": "Müller"}
    with Image.open(path) as picture:
        assert picture.info["Synthetic"] == "true"
        assert picture.info["Description"].startswith("SYNTHETIC IMAGE")
        assert "synthetic" in picture.info["Software"]
    image = open_image(path)
    np.testing.assert_array_equal(image.rgb(), PIXELS)
    assert image.pixel_size_um == pytest.approx(0.2, rel=1e-4)


def test_a_tiff_says_that_it_is_synthetic(tmp_path: Path) -> None:
    path = write_synthetic_tiff(tmp_path / "field.tif", PIXELS, {"who": "Müller"}, 0.12)
    assert is_synthetic(path)
    image = open_image(path)
    np.testing.assert_array_equal(image.rgb(), PIXELS)
    assert image.pixel_size_um == pytest.approx(0.12)
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        assert "SYNTHETIC IMAGE" in tags["ImageDescription"].value
        assert "synthetic" in tags["Software"].value


@pytest.mark.parametrize("name", ["real.png", "real.tif", "real.jpg", "absent.png", "text.png"])
def test_other_files_are_not_synthetic(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "text.png":
        path.write_text("Synthetic: true")
    elif name != "absent.png":
        Image.fromarray(PIXELS).save(path)
    assert not is_synthetic(path)
    assert read_record(path) == {}


def test_what_is_saved(cells: GeneratedCells, tmp_path: Path) -> None:
    saved = save_generated(cells, tmp_path / "out")
    out = saved.folder
    assert sorted(p.name for p in out.iterdir()) == [
        "cells.csv", "contact_sheet.png", "neutrophil", "platelet", "provenance.json",
    ]  # fmt: skip
    table = pd.read_csv(out / "cells.csv", dtype=str)
    assert (table["synthetic"] == "true").all()
    assert (table["split"] == "train").all()
    assert (table["seed"] == "5").all()
    for row, path in enumerate(table["path"]):
        assert is_synthetic(out / path)
        assert read_record(out / path)["class"] == cells.classes[row]
        np.testing.assert_array_equal(open_image(out / path).rgb(), cells.pixels[row])
    assert is_synthetic(out / "contact_sheet.png")
    record = json.loads((out / "provenance.json").read_text())
    assert record["synthetic"] is True
    assert record["statement"].startswith("SYNTHETIC IMAGE")
    assert record["made"] == {"neutrophil": 3, "platelet": 2}
    assert record["settings"]["seed"] == 5
    assert record["model"]["sha256"] == cells.model["sha256"]


def test_the_table_is_a_training_set(cells: GeneratedCells, tmp_path: Path) -> None:
    saved = save_generated(cells, tmp_path)
    records = find_records(saved.files["cells"])
    assert [r.label for r in records] == list(cells.classes)
    assert all(r.label_confidence is None for r in records)
    assert all(r.attributes["synthetic"] == "true" for r in records)


def test_names_tell_seeds_and_mixtures_apart(tiny: ModelBundle, tmp_path: Path) -> None:
    for settings, towards in (
        (RAW, None),
        (RAW.model_copy(update={"seed": 6}), None),
        (RAW, Mix(name="platelet", share=0.5)),
    ):
        save_generated(generate(tiny, {"neutrophil": 1}, settings, towards=towards), tmp_path)
    assert len(list((tmp_path / "neutrophil").glob("*.png"))) == 3


def test_writing_as_it_goes_is_saving_at_the_end(
    tiny: ModelBundle, cells: GeneratedCells, tmp_path: Path
) -> None:
    at_end = save_generated(cells, tmp_path / "a")
    going = generate_into(tmp_path / "b", tiny, {"neutrophil": 3, "platelet": 2}, RAW)
    assert going.frame.equals(at_end.frame)
    first = going.frame["path"][0]
    a, b = (open_image(tmp_path / x / first).rgb() for x in "ab")
    np.testing.assert_array_equal(a, b)


def test_images_of_an_earlier_order_are_told(
    tiny: ModelBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generate_into(tmp_path, tiny, {"neutrophil": 3}, RAW)
    generate_into(tmp_path, tiny, {"neutrophil": 3}, RAW)
    assert not caplog.messages
    generate_into(tmp_path, tiny, {"neutrophil": 1, "platelet": 1}, RAW)
    assert "holds 2 images of an earlier order" in caplog.messages[-1]


def test_cancelling_leaves_what_is_done_with_its_table(
    tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    engine = importlib.import_module("cytodiffusion.generation.generate")
    monkeypatch.setitem(engine.PART, "cpu", 2)

    def stop(error: BaseException):
        def progress(share: float, message: str) -> None:
            if share > 0.5:
                raise error

        return progress

    counts = {"neutrophil": 6}
    saved = generate_into(tmp_path / "a", tiny, counts, RAW, progress=stop(Cancelled("Cancelled.")))
    assert len(saved.frame) == 2
    assert not saved.cells.complete
    with pytest.raises(KeyboardInterrupt):
        generate_into(tmp_path / "b", tiny, counts, RAW, progress=stop(KeyboardInterrupt()))
    for folder in (tmp_path / "a", tmp_path / "b"):
        assert len(pd.read_csv(folder / "cells.csv")) == 2
        assert len(list((folder / "neutrophil").glob("*.png"))) == 2
        assert json.loads((folder / "provenance.json").read_text())["complete"] is False


def test_another_scale(tiny: ModelBundle, tmp_path: Path) -> None:
    saved = generate_into(tmp_path, tiny, {"neutrophil": 1}, RAW, pixel_size_um=0.1)
    image = open_image(tmp_path / saved.frame["path"][0])
    assert image.shape == (200, 200)
    assert image.pixel_size_um == pytest.approx(0.1, rel=1e-4)


def test_a_place_that_cannot_be_written(tiny: ModelBundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        generate_into(tmp_path / "file", tiny, {"neutrophil": 1}, RAW)


def test_the_contact_sheet_shows_every_cell_once(cells: GeneratedCells) -> None:
    sheet = contact_sheet(cells)
    assert sheet.dtype == np.uint8
    for cell in cells.pixels:
        assert len(places_of(cell, sheet)) == 1
    columns = sorted({x for cell in cells.pixels for _, x in places_of(cell, sheet)})
    assert len(columns) == 3


def test_the_contact_sheet_stays_short(tiny: ModelBundle) -> None:
    few, many = (
        contact_sheet(generate(tiny, {"platelet": n}, RAW.model_copy(update={"steps": 2})))
        for n in (20, 24)
    )
    assert few.shape == many.shape
    assert (few != many).any()  # it says how many there are


def test_an_empty_contact_sheet(cells: GeneratedCells) -> None:
    from dataclasses import replace

    nothing = replace(cells, pixels=cells.pixels[:0], classes=(), accepted=cells.accepted[:0])
    assert contact_sheet(nothing).ndim == 3


def places_of(cell: np.ndarray, sheet: np.ndarray) -> list[tuple[int, int]]:
    """Where a picture lies on a sheet."""
    first = np.argwhere((sheet[: 1 - len(cell)] == cell[0, 0]).all(axis=-1))
    side = len(cell)
    return [
        (int(y), int(x))
        for y, x in first
        if np.array_equal(sheet[y : y + side, x : x + side], cell)
    ]
