"""The published rule in a report, beside our trials of the same network."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import read_report
from cytodiffusion.model.testing import tiny_stable_diffusion_bundle


def test_a_report_holds_the_published_rule(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"test": 3})
    settings = EvaluateSettings(
        model=str(tiny_stable_diffusion_bundle(tmp_path / "sd", ("blue", "green"))),
        data=data,
        output=tmp_path / "r",
        pixel_size_um=PIXEL_SIZE_UM,
        resamples=10,
        trial_cells=0,
        published_cells=50,
        published_trials=22,
        device="cpu",
    )
    report = read_report(evaluate(settings))
    found = report.metrics["published_rule"]
    assert found["n"] == report.metrics["n"] == 6  # the red ones are no class of it
    assert found["settings"]["trials"] == 22
    # elimination begins after 21 trials; in each there is a pass a class
    assert 21 <= found["trials_mean"] <= 22
    assert 42 <= found["passes_mean"] <= 44
    # on all cells our trials are those of the report
    own = {key: report.metrics[key] for key in ("accuracy", "balanced_accuracy")}
    assert found["own"] == pytest.approx(own)
    assert report.page is not None
    assert "<h3>The published rule</h3>" in report.page.read_text(encoding="utf-8")
    some = settings.model_copy(update={"published_cells": 2, "output": tmp_path / "s"})
    assert read_report(evaluate(some)).metrics["published_rule"]["n"] == 2
