"""The code of docs/python.md runs as it stands, on a synthetic smear and a tiny model."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cytodiffusion.model.loading import load_bundle, load_segmenter_of
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.testing import tiny_bundle, tiny_generator
from cytodiffusion.smear import SmearSettings, synthetic_smear

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^(<!-- not run: [^\n]+ -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the page names, where the default model is tiny."""
    bundle = tiny_bundle(tmp_path / "tiny", generator=tiny_generator(10))
    own = load_segmenter_of("default")
    save_bundle(bundle, replace(load_bundle(bundle, device="cpu"), segmenter=own))
    monkeypatch.setattr("cytodiffusion.model.loading.default_bundle_path", lambda: bundle)
    monkeypatch.chdir(tmp_path)
    smear = synthetic_smear(None, SmearSettings(width=480, height=360, n_white=4, n_platelets=2))
    cv2.imwrite("smear.tif", smear.rgb[..., ::-1])
    Path("slides").mkdir()
    shutil.copy("smear.tif", "slides/one.tif")
    rng = np.random.default_rng(0)
    for name in ("neutrophil", "monocyte"):
        Path("my_cells", name).mkdir(parents=True)
        for number in range(6):
            cell = np.full((160, 160, 3), 235, np.uint8)
            cv2.circle(cell, (80, 80), int(rng.integers(40, 60)), (150, 60, 120), -1)
            cv2.imwrite(f"my_cells/{name}/{number}.png", cell)
    shutil.copytree("my_cells/monocyte", "cell_images")
    return tmp_path


@pytest.mark.slow
def test_the_code_of_the_page_runs(workplace: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 10
    names: dict[str, Any] = {}
    for skipped, code in blocks:
        compiled = compile(code, str(PAGE), "exec")  # what is not run is at least Python
        if not skipped:
            exec(compiled, names)
    assert len(names["result"].table) == names["cells"].n_cells
    assert (workplace / "results" / "one" / "cells.csv").is_file()
    assert (workplace / "why" / "figure.png").is_file()
    assert (workplace / "report" / "report.html").is_file()
    assert names["made"].settings.seed == 1
