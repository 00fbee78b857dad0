"""The commands of docs/walk-through.md run one after the other, with a tiny model."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from teachable import teachable_bundle

from cytodiffusion.model.bundle import CellClass
from cytodiffusion.model.loading import load_bundle, load_segmenter_of
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.study import Study
from cytodiffusion.study.classes import class_finder

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "walk-through.md"
BLOCK = re.compile(r"^```(csv)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.mark.slow
def test_every_command_of_the_page_runs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = teachable_bundle(tmp_path / "tiny").source
    names = ("neutrophil", "platelet", "red cell")
    classes = tuple(CellClass(name, f"#{n}f7a4c") for n, name in enumerate(names))
    known = replace(load_bundle(bundle, device="cpu"), classes=classes)
    save_bundle(Path(bundle), replace(known, segmenter=load_segmenter_of("default")))
    monkeypatch.setattr("cytodiffusion.model.loading.default_bundle_path", lambda: Path(bundle))
    monkeypatch.chdir(tmp_path)
    told: dict[str, list[dict[str, Any]]] = {}
    for kind, block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "csv":
            Path("said.csv").write_text(block, encoding="utf-8")
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "cytodiffusion", line
            if arguments[0] == "smear":
                arguments.append("--sketches")  # a tiny model draws no cells
            code, said = run(*arguments)
            assert code == 0, f"{line}: {said}"
            told.setdefault(said["command"], []).append(said)
    assert [one["placed"] for one in told["study annotate"]] == [5, 5]
    assert told["study add"][1]["classified"] == 1
    assert told["study info"][1]["annotated"] == 5
    assert told["study info"][1]["observers"] == {"Ada": 5}
    assert [one["model"] for one in told["study info"][1]["models"]] == ["tiny", "tiny"]
    assert told["study agreement"][0]["shared"] == 5
    corrected = pd.read_csv("changed/cells.csv", keep_default_na=False)
    assert (corrected["human"] != "").sum() == 5
    with Study("my-study", writable=False) as study:
        assert class_finder(study.database)("platelet") is not None
        assert (study.cells()["human"] == "platelet").sum() == 3


def test_what_the_page_says_of_the_window_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    manifest = yaml.safe_load((ROOT / "src/napari_cytodiffusion/napari.yaml").read_text("utf-8"))
    docks = {one["display_name"] for one in manifest["contributions"]["widgets"]}
    for name in re.findall(r"\*Layers > Classify > ([^*]+)\*", text):
        assert name in docks
    source = "".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "src/napari_cytodiffusion").rglob("*.py")
    )
    for button in ("New study ...", "Add images ...", "Segment and classify", "Before", "Teach"):
        assert f"*{button}*" in text
        assert f'"{button}"' in source
