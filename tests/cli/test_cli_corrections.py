"""Corrected cells on the command line: ``--corrections`` of `classify` and `run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion import classify
from cytodiffusion.image.labels import write_labels_tif
from cytodiffusion.model.testing import tiny_bundle, tiny_slide_correction
from cytodiffusion.smear import Smear, SmearSettings, synthetic_smear

Run = Callable[..., tuple[int, dict[str, Any]]]
NAMES = ("red", "blue", "green")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m") / "tiny"
    return tiny_bundle(folder, NAMES, slide_correction=tiny_slide_correction(3))


@pytest.fixture(scope="module")
def smear() -> Smear:
    return synthetic_smear(
        None, SmearSettings(height=160, width=208, pixel_size_um=0.2, n_white=3, seed=3)
    )


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory, smear: Smear) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    for name in ("one.png", "two.png"):
        Picture.fromarray(smear.rgb).save(folder / name)
    return folder


def test_a_folder_of_cells(run: Run, model: Path, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "discs", {"train": 6})
    said = tmp_path / "said.csv"
    said.write_text("path,class,observer\ngreen/000.png,green,ada\nnot/there.png,green,ada\n")
    table = tmp_path / "cells.csv"
    code, told = run(
        *("classify", data / "train", "-o", table, "--model", model, "--corrections", said),
        *("--pixel-size", PIXEL_SIZE_UM, "--device", "cpu"),
    )
    assert code == 0
    assert told["corrections"]["cells"] == 1
    assert "not/there.png" in told["corrections"]["not_placed"]
    frame = pd.read_csv(table, keep_default_na=False)
    corrected = frame[frame["human"] != ""]
    assert list(corrected["observer"]) == ["ada"]
    assert corrected["path"].iloc[0].endswith("green/000.png")
    np.testing.assert_allclose(frame[[f"p_{n}" for n in NAMES]].sum(axis=1), 1)


def test_a_field_with_labels(run: Run, model: Path, smear: Smear, tmp_path: Path) -> None:
    image = tmp_path / "field.png"
    Picture.fromarray(smear.rgb).save(image)
    labels = write_labels_tif(tmp_path / "labels.tif", smear.labels, 0.2)
    said = tmp_path / "said.csv"
    said.write_text("label,class\n1,blast\n2,green\n")
    frames = []
    for more in ([], ["--corrections", said]):
        table = tmp_path / "cells.csv"
        code, told = run(
            *("classify", image, "--labels", labels, "-o", table, "--model", model, *more),
            *("--device", "cpu"),
        )
        assert code == 0
        frames.append(pd.read_csv(table, keep_default_na=False))
    assert told["counts"]["blast"] >= 1
    assert set(frames[1]) - set(frames[0]) == {"human", "observer", "p_blast"}
    assert not frames[0]["p_green"].equals(frames[1]["p_green"])
    by_hand = classify(image, labels, model, corrections={1: "blast", 2: "green"})
    np.testing.assert_allclose(by_hand.table["p_green"], frames[1]["p_green"])


def test_runs_do_again_what_was_corrected(
    run: Run, model: Path, fields: Path, tmp_path: Path
) -> None:
    said = tmp_path / "said.csv"
    out = tmp_path / "out"
    how = ("run", fields, "-o", out, "--model", model, "--method", "watershed", "--device", "cpu")
    assert run(*how)[0] == 0
    said.write_text("image,label,class\none,1,blast\nthree,1,green\n")
    code, told = run(*how, "--corrections", said)
    assert code == 0
    done = {Path(i["image"]).name: i for i in told["images"]}
    assert (done["one.png"]["done_before"], done["two.png"]["done_before"]) == (False, True)
    assert done["one.png"]["counts"]["blast"] >= 1
    frame = pd.read_csv(out / "one" / "cells.csv", keep_default_na=False)
    assert list(frame.loc[frame["label"] == 1, "human"]) == ["blast"]
    everything = pd.read_csv(out / "cells.csv", keep_default_na=False)
    assert list(everything.loc[everything["human"] != "", "image"]) == ["one.png"]


def test_what_does_not_fit_is_told_before_the_work(
    run: Run, model: Path, fields: Path, tmp_path: Path
) -> None:
    said = tmp_path / "said.csv"
    said.write_text("label,class\n1,red\n")
    for source, command in ((fields, "run"), (fields, "classify")):
        out = tmp_path / ("out" if command == "run" else "cells.csv")
        code, told = run(command, source, "-o", out, "--model", model, "--corrections", said)
        assert code == 1
        assert "column" in told["error"]
        assert not out.exists()
