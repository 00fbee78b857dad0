"""Every table of a report has the baseline in it, and the report says what means nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from toys import PIXEL_SIZE_UM, tiny_baseline, write_discs

from cytodiffusion.evaluation.montage import Montage
from cytodiffusion.evaluation.report import render
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import StoredReport, read_report
from cytodiffusion.model.testing import tiny_bundle, tiny_stable_diffusion_bundle

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"test": 4})


def asked(model: str | Path, data: Path, output: Path, **more: object) -> EvaluateSettings:
    small = {"pixel_size_um": PIXEL_SIZE_UM, "resamples": 20, "trial_cells": 0, "device": "cpu"}
    return EvaluateSettings(model=str(model), data=data, output=output, **(small | more))


@pytest.fixture(scope="module")
def report(data: Path, tmp_path_factory: pytest.TempPathFactory) -> StoredReport:
    folder = tmp_path_factory.mktemp("report")
    classes = [
        {"name": n, "color": "#808080", "group": g} for n, g in zip(NAMES, "aab", strict=True)
    ]
    taxonomy = {"name": "discs", "classes": classes, "neighbours": [["blue", "green"]]}
    (folder / "discs.json").write_text(json.dumps(taxonomy))
    settings = asked(
        tiny_bundle(folder / "tiny", NAMES),
        data,
        folder / "r",
        baselines=(tiny_baseline(folder / "rival", NAMES),),
        taxonomy=str(folder / "discs.json"),
        shift={"elsewhere": data},
    )
    return read_report(evaluate(settings))


def test_a_baseline_has_scores_of_the_hierarchy(report: StoredReport) -> None:
    ours = report.metrics["hierarchy"]
    theirs = report.metrics["baselines"]["rival"]["hierarchy"]
    assert set(ours) == set(theirs)
    assert theirs["strict"]["accuracy"] == report.metrics["baselines"]["rival"]["accuracy"]
    assert theirs["tolerant"]["accuracy"] >= theirs["strict"]["accuracy"]


def test_every_table_has_the_baseline_in_it(report: StoredReport) -> None:
    assert report.sheet is not None
    metrics = report.metrics
    review = {"accept_above": 0.5, "share": 0.25, "error": 0.125}
    metrics["settings"]["error_rate"] = 0.1
    metrics["review"] = metrics["baselines"]["rival"]["review"] = review
    groups = {key: metrics["montage"][key] for key in ("hardest", "anomalous")}
    montage = Montage(report.sheet, metrics["montage"]["tile"], 20.0, groups)
    tables = re.findall("<table[^>]*>(.*?)</table>", render(metrics, montage), re.DOTALL)
    assert [table for table in tables if "rival" not in table] == []
    heads = [table.partition("</tr>")[0] for table in tables]
    for words in (
        *("precision</th><th>recall", "tolerant</th><th>precision, strict", "coverage asked for"),
        *("held back for review", "error ≤", "accuracy of groups", "0.95</th><th>size"),
    ):
        assert any(words in head for head in heads), words


def test_a_checkpoint_that_was_not_calibrated_is_warned_of(data: Path, tmp_path: Path) -> None:
    bundle = tiny_stable_diffusion_bundle(tmp_path / "sd", NAMES)
    calibrated = read_report(evaluate(asked(bundle, data, tmp_path / "a", limit=2)))
    assert not any("not been calibrated" in w for w in calibrated.metrics["warnings"])
    checkpoint = tmp_path / "published"
    for part in ("unet", "vae", "scheduler"):
        shutil.copytree(bundle / part, checkpoint / part)
    few = {"classify": {"trials": 1, "min_trials": 1}, "limit": 2}
    named = f"{checkpoint}#{','.join(NAMES)}"
    found = read_report(evaluate(asked(named, data, tmp_path / "b", **few)))
    assert found.metrics["model"]["name"] == "published"
    assert found.metrics["model"]["source"] == named
    (said,) = [w for w in found.metrics["warnings"] if "not been calibrated" in w]
    assert "prediction sets and anomalies mean nothing yet" in said
    assert found.page is not None
    assert said in found.page.read_text(encoding="utf-8")
