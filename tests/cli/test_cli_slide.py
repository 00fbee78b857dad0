"""Cells of a folder or image together, or each alone, on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.model.testing import tiny_bundle, tiny_slide_correction

Run = Callable[..., tuple[int, dict[str, Any]]]
NAMES = ("red", "blue", "green")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m") / "tiny"
    return tiny_bundle(folder, NAMES, slide_correction=tiny_slide_correction(3))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs") / "data", {"train": 6, "val": 6})


def test_cells_of_a_folder_together_or_alone(
    run: Run, model: Path, data: Path, tmp_path: Path
) -> None:
    tables = {}
    for name, more in (("together", []), ("alone", ["--alone"])):
        table = tmp_path / f"{name}.csv"
        code, said = run(
            *("classify", data / "train", "-o", table, "--model", model, *more),
            *("--pixel-size", PIXEL_SIZE_UM, "--device", "cpu"),
        )
        assert code == 0
        assert said["corrected_for_slide"] is (name == "together")
        tables[name] = pd.read_csv(table)
    assert len(tables["alone"]) == 18
    columns = [f"p_{name}" for name in NAMES]
    assert not tables["alone"][columns].equals(tables["together"][columns])
    pd.testing.assert_series_equal(
        tables["alone"]["anomaly_score"], tables["together"]["anomaly_score"]
    )


def test_a_correction_is_trained_and_used(run: Run, data: Path, tmp_path: Path) -> None:
    plain = tiny_bundle(tmp_path / "plain", NAMES)
    code, _ = run(
        *("train", data, "-o", tmp_path / "slides", "--kind", "laboratory", "--init", plain),
        *("--laboratories", 3, "--steps", 4, "--pixel-size", PIXEL_SIZE_UM),
        *("--duplicates", "allow", "--device", "cpu"),
    )
    assert code == 0
    code, said = run(
        *("classify", data / "val", "-o", tmp_path / "cells.csv", "--model", tmp_path / "slides"),
        *("--pixel-size", PIXEL_SIZE_UM, "--device", "cpu"),
    )
    assert code == 0
    assert said["corrected_for_slide"] is True


def test_a_correction_without_its_model_is_told(run: Run, data: Path, tmp_path: Path) -> None:
    code, said = run("train", data, "-o", tmp_path / "slides", "--kind", "laboratory")
    assert code == 1
    assert "init" in said["error"]
