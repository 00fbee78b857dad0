"""A folder of images: one scale, one table, done once, gone on with where it was stopped."""

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

from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.smear import SmearSettings, synthetic_smear

Run = Callable[..., tuple[int, dict[str, Any]]]
PIXEL_SIZE = 0.2
TABLES = {"cells.csv", "images.csv", "images.json"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    settings = {"height": 160, "width": 208, "pixel_size_um": PIXEL_SIZE, "n_white": 2}
    return [
        synthetic_smear(None, SmearSettings(**settings, n_platelets=1, seed=seed)).rgb
        for seed in range(3)
    ]


@pytest.fixture
def slides(tmp_path: Path, fields: list[np.ndarray]) -> Path:
    """Three images, one of them in a folder of its own, beside what is none."""
    folder = tmp_path / "slides"
    (folder / "more").mkdir(parents=True)
    for name, rgb in zip(("a.png", "b.png", "more/a.png"), fields, strict=True):
        Picture.fromarray(rgb).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "stack.czi").write_bytes(b"no image either")
    return folder


@pytest.fixture
def analyse(run: Run, model: Path, tmp_path: Path) -> Run:
    def call(*arguments: object) -> tuple[int, dict[str, Any]]:
        common = ("-o", tmp_path / "out", "-m", model, "--device", "cpu", "--trials", 1)
        return run("run", *arguments, *common, "--method", "watershed")

    return call


def done_now(told: dict[str, Any]) -> list[str]:
    return [Path(one["folder"]).name for one in told["images"] if not one["done_before"]]


def test_every_image_of_a_folder_and_one_table_of_all(
    analyse: Run, slides: Path, tmp_path: Path
) -> None:
    code, told = analyse(slides, "--pixel-size", PIXEL_SIZE)
    assert code == 0
    assert done_now(told) == ["a", "b", "a-2"]
    assert told["not_read"] == [str(slides / "stack.czi")]
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {"a", "b", "a-2", *TABLES}
    cells, images = pd.read_csv(out / "cells.csv"), pd.read_csv(out / "images.csv")
    assert images["image"].tolist() == ["a.png", "b.png", "more/a.png"]
    assert images["folder"].tolist() == ["a", "b", "a-2"]
    assert images["status"].tolist() == ["done"] * 3
    for one, row in zip(told["images"], images.itertuples(), strict=True):
        own = pd.read_csv(Path(one["folder"]) / "cells.csv")
        mine = cells[cells["image"] == row.image].drop(columns="image").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, own)
        assert row.cells == len(own) == one["cells"]
        assert sum(images.loc[row.Index, [f"n_{n}" for n in one["counts"]]]) == len(own)
    record = json.loads((out / "images.json").read_text())
    assert record["not_read"] == [str(slides / "stack.czi")]


def test_what_is_done_is_skipped_and_done_again_when_asked(
    analyse: Run, slides: Path, tmp_path: Path
) -> None:
    size = ("--pixel-size", PIXEL_SIZE)
    assert analyse(slides, *size)[0] == 0
    first = (tmp_path / "out" / "cells.csv").read_bytes()
    stamp = (tmp_path / "out" / "a" / "run.json").stat().st_mtime_ns
    code, told = analyse(slides, *size)
    assert (code, done_now(told)) == (0, [])
    assert len(told["images"]) == 3
    assert told["images"][0]["files"]["cells"] == str(tmp_path / "out" / "a" / "cells.csv")
    assert (tmp_path / "out" / "a" / "run.json").stat().st_mtime_ns == stamp
    assert (tmp_path / "out" / "cells.csv").read_bytes() == first
    assert done_now(analyse(slides, *size, "--batch-size", 3)[1]) == []  # changes no number
    assert done_now(analyse(slides, *size, "--redo")[1]) == ["a", "b", "a-2"]
    assert (tmp_path / "out" / "cells.csv").read_bytes() == first


@pytest.mark.parametrize("option", [("--seed", 7), ("--pixel-size", 0.21), ("--alone",)])
def test_other_settings_do_it_again(analyse: Run, slides: Path, option: tuple[object, ...]) -> None:
    assert analyse(slides, "--pixel-size", PIXEL_SIZE)[0] == 0
    _, told = analyse(slides, "--pixel-size", PIXEL_SIZE, *option)
    assert done_now(told) == ["a", "b", "a-2"]


def test_another_model_does_it_again(run: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    other = tiny_bundle(tmp_path / "other", seed=5)
    for bundle, expected in ((model, 3), (model, 0), (other, 3)):
        _, told = run(
            *("run", slides, "-o", tmp_path / "out", "-m", bundle, "--device", "cpu"),
            *("--trials", 1, "--pixel-size", PIXEL_SIZE, "--method", "watershed"),
        )
        assert len(done_now(told)) == expected


def test_a_changed_image_a_lost_file_and_a_new_image_are_done(
    analyse: Run, slides: Path, fields: list[np.ndarray], tmp_path: Path
) -> None:
    size = ("--pixel-size", PIXEL_SIZE)
    assert analyse(slides, *size)[0] == 0
    Picture.fromarray(fields[2]).save(slides / "b.png")
    assert done_now(analyse(slides, *size)[1]) == ["b"]
    (tmp_path / "out" / "a" / "overlay.png").unlink()
    assert done_now(analyse(slides, *size)[1]) == ["a"]
    (tmp_path / "out" / "a" / "run.json").write_text('{"request": 3')
    assert done_now(analyse(slides, *size)[1]) == ["a"]
    Picture.fromarray(fields[0]).save(slides / "z.png")
    assert done_now(analyse(slides, *size)[1]) == ["z"]


def test_an_interrupted_run_goes_on(
    analyse: Run, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cytodiffusion.pipeline

    whole, calls = cytodiffusion.pipeline.classify_labels, []

    def stopped(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments, **more)

    monkeypatch.setattr(cytodiffusion.pipeline, "classify_labels", stopped)
    code, _ = analyse(slides, "--pixel-size", PIXEL_SIZE)
    assert code == 130
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {"a", *TABLES}
    images = pd.read_csv(out / "images.csv")
    assert images["status"].tolist() == ["done", "not reached", "not reached"]
    code, told = analyse(slides, "--pixel-size", PIXEL_SIZE)
    assert (code, done_now(told)) == (0, ["b", "a-2"])
    assert set(pd.read_csv(out / "cells.csv")["image"]) == {"a.png", "b.png", "more/a.png"}


def test_an_image_that_fails_is_in_the_tables_and_tried_again(
    analyse: Run, slides: Path, tmp_path: Path
) -> None:
    (slides / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    for again in (False, True):
        code, told = analyse(slides, "--pixel-size", PIXEL_SIZE)
        assert code == 1
        assert [Path(f["image"]).name for f in told["failed"]] == ["bad.png"]
        assert len(done_now(told)) == (0 if again else 3)
        images = pd.read_csv(tmp_path / "out" / "images.csv").set_index("image")
        assert images.loc["bad.png", "status"] == "failed"
        assert "not an image" in images.loc["bad.png", "error"]


def test_a_folder_of_one_image_may_grow(
    analyse: Run, slides: Path, fields: list[np.ndarray], tmp_path: Path
) -> None:
    size = ("--pixel-size", PIXEL_SIZE)
    assert analyse(slides / "more", *size)[0] == 0
    Picture.fromarray(fields[0]).save(slides / "more" / "b.png")
    code, told = analyse(slides / "more", *size)
    assert (code, done_now(told)) == (0, ["b"])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a", "b", *TABLES}


def test_results_of_other_kinds_are_not_overwritten(
    run: Run, analyse: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    size = ("--pixel-size", PIXEL_SIZE)
    assert analyse(slides / "a.png", *size)[0] == 0
    code, told = analyse(slides, *size)
    assert code == 1
    assert "holds the results of one image" in told["error"]
    shutil.rmtree(tmp_path / "out")
    assert analyse(slides, *size)[0] == 0
    code, told = analyse(slides / "a.png", *size)
    assert code == 1
    assert "holds the results of several images" in told["error"]
    (slides / "cells.csv").write_text("my own annotations")
    common = ("-m", model, "--device", "cpu", "--trials", 1, "--method", "watershed")
    code, told = run("run", slides, "-o", slides, *common, *size)
    assert code == 1
    assert "no result of an earlier run" in told["error"]
    assert (slides / "cells.csv").read_text() == "my own annotations"


def test_a_single_image_is_skipped_too(analyse: Run, slides: Path) -> None:
    one = (slides / "a.png", "--pixel-size", PIXEL_SIZE)
    assert len(done_now(analyse(*one)[1])) == 1
    code, told = analyse(*one)
    assert (code, done_now(told), len(told["images"])) == (0, [], 1)


# --- one scale ---------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, slides: Path) -> dict[str, tuple[float, str, int]]:
    """What the red cells of the images measure, by name; the tests say it."""
    import cytodiffusion.batch
    from cytodiffusion.slide_scale import OwnScale

    said = {
        "a.png": (0.2, "estimated", 12),
        "b.png": (0.12, "estimated", 6),
        "c.png": (0.21, "estimated", 12),
        "d.png": (0.1, "assumed", 0),
    }
    for name in ("c.png", "d.png"):
        shutil.copy(slides / "a.png", slides / name)

    def own_scale(path: Path, method: str) -> OwnScale:
        with Picture.open(path) as opened:
            width, height = opened.size
        return OwnScale(*said[path.name], (height, width))

    monkeypatch.setattr(cytodiffusion.batch, "own_scale", own_scale)
    return said


def test_the_images_of_a_folder_have_one_scale(
    analyse: Run, slides: Path, measured: dict[str, Any], tmp_path: Path
) -> None:
    code, told = analyse(slides)
    assert code == 0
    found = {Path(one["image"]).relative_to(slides).as_posix(): one for one in told["images"]}
    fields = [found[name] for name in ("a.png", "b.png", "c.png", "d.png")]
    assert [one["pixel_size_um"] for one in fields] == [pytest.approx(0.2)] * 4
    assert {one["pixel_size_source"] for one in fields} == {"slide"}
    assert found["more/a.png"]["pixel_size_source"] != "slide"  # alone in its folder
    named = [any("red cells measure" in w for w in one["warnings"]) for one in fields]
    assert named == [False, True, False, False]
    assert "Too few red cells" in fields[3]["warnings"][0]
    record = json.loads((tmp_path / "out" / "b" / "run.json").read_text())
    assert any("red cells measure 0.12 um" in w for w in record["warnings"])
    assert record["segmentation"]["slide"]["own_um"] == 0.12
    images = pd.read_csv(tmp_path / "out" / "images.csv").set_index("image")
    assert images.loc["b.png", "own_pixel_size_um"] == 0.12
    assert "red cells measure" in images.loc["b.png", "said"]


def test_each_its_own_scale_when_asked(
    analyse: Run, slides: Path, measured: dict[str, Any]
) -> None:
    code, told = analyse(slides, "--own-scale")
    assert code == 0
    assert "slide" not in {one["pixel_size_source"] for one in told["images"]}


def test_images_of_another_size_are_another_slide(
    analyse: Run, slides: Path, fields: list[np.ndarray], measured: dict[str, Any]
) -> None:
    for name in ("b.png", "c.png"):
        Picture.fromarray(fields[0][:150]).save(slides / name)
    measured |= {"b.png": (0.12, "estimated", 12), "c.png": (0.122, "estimated", 12)}
    _, told = analyse(slides)
    sizes = {Path(one["image"]).name: one["pixel_size_um"] for one in told["images"][:3]}
    assert sizes["b.png"] == sizes["c.png"] == pytest.approx(0.121, abs=1e-3)


def test_a_new_image_that_agrees_leaves_the_others_as_they_are(
    analyse: Run, slides: Path, measured: dict[str, Any]
) -> None:
    assert analyse(slides)[0] == 0
    assert done_now(analyse(slides)[1]) == []
    shutil.copy(slides / "a.png", slides / "e.png")
    measured["e.png"] = (0.205, "estimated", 12)
    code, told = analyse(slides)
    assert (code, done_now(told)) == (0, ["e"])
    assert len({one["pixel_size_um"] for one in told["images"][:5]}) == 1
