"""Error rates and coverages on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from toys import PIXEL_SIZE_UM, disc

from cytodiffusion.model.testing import tiny_bundle

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve coloured discs on one image."""
    rng = np.random.default_rng(0)
    colours = [(70, 80, 200), (60, 170, 80), (200, 60, 70)]
    rows = [np.concatenate([disc(colours[c], rng) for c in (0, 1, 2, k)], 1) for k in range(3)]
    path = tmp_path_factory.mktemp("field") / "field.png"
    Picture.fromarray(np.concatenate(rows)).save(path)
    return path


def test_unsure_cells_of_a_folder_are_for_review(
    run: Run, disc_model: Path, tmp_path: Path
) -> None:
    data = disc_model.parent / "data" / "test"
    always = ("classify", data, "-m", disc_model, "--device", "cpu", "--pixel-size", PIXEL_SIZE_UM)
    code, found = run(*always, "-o", tmp_path / "plain.csv", "--error-rate", "none")
    assert (code, found["review"], found["accepted_above"]) == (0, 0, None)
    assert not any("review" in text for text in found.get("warnings", ()))
    code, found = run(*always, "-o", tmp_path / "cells.csv", "--error-rate", 0.1)
    assert code == 0
    assert 0 <= found["accepted_above"] < 1
    plain, table = pd.read_csv(tmp_path / "plain.csv"), pd.read_csv(tmp_path / "cells.csv")
    assert not plain["review"].any()
    assert found["review"] == table["review"].sum()
    if table["review"].any():
        assert (
            table.loc[table["review"], "confidence"].max()
            <= table.loc[~table["review"], "confidence"].min()
        )
    right = table["path"].str.split("/").str[-2] == table["predicted"]
    assert (~right[~table["review"]]).mean() <= 0.1


def test_a_field_says_how_many_are_for_review(
    run: Run, disc_model: Path, field: Path, tmp_path: Path
) -> None:
    code, found = run(
        "run", field, "-o", tmp_path / "out", "-m", disc_model, "--device", "cpu",
        "--pixel-size", PIXEL_SIZE_UM, "--method", "watershed", "--error-rate", 0.05,
        "--coverage", 0.8, "--by-class",
    )  # fmt: skip
    assert code == 0
    table = pd.read_csv(tmp_path / "out" / "cells.csv")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert found["images"][0]["review"] == table["review"].sum() == record["results"]["review"]
    asked = {"error_rate": 0.05, "coverage": 0.8, "by_class": True}
    assert asked.items() <= record["settings"].items()


def test_a_model_that_can_promise_nothing_says_so_and_goes_on(
    run: Run, field: Path, tmp_path: Path
) -> None:
    model = tiny_bundle(tmp_path / "tiny", ("blue", "green"))
    code, found = run(
        "run", field, "-o", tmp_path / "out", "-m", model, "--device", "cpu",
        "--pixel-size", PIXEL_SIZE_UM, "--method", "watershed",
    )  # fmt: skip
    assert code == 0
    assert any("No cell is marked as too unsure" in said for said in found["images"][0]["warnings"])
    assert json.loads((tmp_path / "out" / "run.json").read_text())["accepted_above"] is None


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--error-rate", 0.05), "The model tiny cannot promise an error rate of 0.05"),
        (("--by-class",), "The model tiny was calibrated without a coverage of every class"),
        (("--error-rate", 1.5), "The setting error rate cannot be 1.5"),
        (("--error-rate", "few"), "The setting error rate cannot be"),
        (("--coverage", 0), "The setting coverage cannot be 0"),
    ],
)
def test_what_cannot_be_promised_is_one_sentence(
    run: Run, field: Path, tmp_path: Path, option: tuple[object, ...], words: str
) -> None:
    model = tiny_bundle(tmp_path / "tiny", ("blue", "green"))
    code, found = run(
        "run", field, "-o", tmp_path / "out", "-m", model, "--device", "cpu",
        "--pixel-size", PIXEL_SIZE_UM, "--method", "watershed", *option,
    )  # fmt: skip
    assert code != 0
    assert words in found["error"]
    assert not (tmp_path / "out" / "cells.csv").exists()
