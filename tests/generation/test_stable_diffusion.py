"""Synthetic cells by Stable Diffusion's network, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytodiffusion.cli import main
from cytodiffusion.files.synthetic_mark import is_synthetic
from cytodiffusion.image.image import open_image
from cytodiffusion.model.testing import tiny_stable_diffusion_bundle

NAMES = ("eosinophil", "neutrophil", "platelet")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_stable_diffusion_bundle(tmp_path_factory.mktemp("models") / "sd", NAMES)


def generate(bundle: Path, out: Path, seed: int = 4) -> dict[str, np.ndarray]:
    """Draw two cells each of two classes; pictures by their path."""
    with pytest.raises(SystemExit) as exited:
        main(
            [
                *("generate", "-c", "neutrophil", "-c", "platelet", "-n", "2", "--steps", "3"),
                *("--no-reject", "--seed", str(seed), "-m", str(bundle), "-o", str(out)),
                *("--device", "cpu", "--json"),
            ]
        )
    assert not exited.value.code
    table = pd.read_csv(out / "cells.csv", dtype=str)
    assert table["class"].tolist() == ["neutrophil"] * 2 + ["platelet"] * 2
    assert all(is_synthetic(out / path) for path in table["path"])
    return {path: open_image(out / path).rgb() for path in table["path"]}


def test_it_draws_cells_in_its_own_size(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cells = generate(bundle, tmp_path / "a")
    told = json.loads(capfd.readouterr().out)
    assert told["made"] == {"neutrophil": 2, "platelet": 2}
    record = json.loads((tmp_path / "a" / "provenance.json").read_text())
    assert record["model"]["name"] == "tiny stable diffusion"
    assert {pixels.shape for pixels in cells.values()} == {(40, 40, 3)}
    pictures = list(cells.values())
    assert all(np.ptp(pixels) > 0 for pixels in pictures)  # latents went through the VAE
    assert len({pixels.tobytes() for pixels in pictures}) == 4


def test_the_seed_decides(bundle: Path, tmp_path: Path) -> None:
    first, again, other = (
        list(generate(bundle, tmp_path / name, seed).values())
        for name, seed in (("a", 4), ("b", 4), ("c", 5))
    )
    np.testing.assert_array_equal(again, first)
    assert all((one != two).any() for one, two in zip(first, other, strict=True))
