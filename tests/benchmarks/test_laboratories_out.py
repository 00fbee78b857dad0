"""The benchmark of laboratories left out counts what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import laboratories_out
import pandas as pd

from cytodiffusion.classification.result import Classification

NAMES = (*laboratories_out.FIVE, "immature granulocyte")


def classified(posterior: np.ndarray, score: np.ndarray | None = None) -> Classification:
    n = len(posterior)
    score = np.zeros(n) if score is None else score
    return Classification(
        class_names=NAMES,
        posterior=posterior,
        predicted=posterior.argmax(axis=1),
        confidence=posterior.max(axis=1),
        entropy=np.zeros(n),
        margin=np.zeros(n),
        prediction_set=posterior > 0.2,
        anomaly_score=score,
        anomaly=score > 5,
        trials=np.ones(n, np.int64),
        errors_by_level=np.zeros((n, 1, len(NAMES)), np.float32),
        levels=np.array([1]),
        anomaly_threshold=5.0,
        logits=np.log(posterior),
    )


def test_figures_of_a_laboratory() -> None:
    posterior = np.full((4, 6), 0.02)
    posterior[[0, 1, 2], [0, 2, 4]] = 0.9
    posterior[3, [2, 5]] = 0.3, 0.62  # a lymphocyte taken for an immature granulocyte
    truth = np.array(["basophil", "lymphocyte", "neutrophil", "lymphocyte"])
    slides = np.array(["x", "x", "x", ""])
    found = laboratories_out.figures(classified(posterior), truth, slides)
    assert found["all open"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["five open"] == 1.0
    assert found["coverage"] == 1.0
    assert found["set size"] == pytest.approx(5 / 4)
    assert found["right, mean of slides"] == 1.0
    assert found["ECE"] == pytest.approx((3 * 0.1 + 0.62) / 4)
    with pytest.raises(SystemExit, match="does not know the classes blast"):
        laboratories_out.figures(classified(posterior), np.array(["blast"] * 4), slides)


def test_blasts_are_held_against_normal_cells_of_their_laboratory() -> None:
    score = np.concatenate([np.linspace(0, 1, 100), np.linspace(0.9, 6, 10)])
    names = np.array(["normal"] * 100 + ["blast"] * 10)
    found = laboratories_out.blast_figures(classified(np.full((110, 6), 1 / 6), score), names)
    assert found["sensitivity"] == 0.9
    assert found["blasts flagged"] == pytest.approx(0.2)
    assert found["normal cells flagged"] == 0.0
    assert 0.97 < found["AUC"] < 1


def test_commands_name_every_laboratory_and_score_what_they_train(tmp_path: Path) -> None:
    said = "\n".join(laboratories_out.commands(tmp_path, Path("results")))
    for name, table in laboratories_out.TABLES.items():
        assert f"without-{table}.csv" in said
        assert f"--out {name}=results/out-{name} " in said
        assert f"--baseline {name}=results/out-{name}-resnet18" in said
    (one,) = laboratories_out.named(["bcisc=results/m"], baseline=True)
    assert one == laboratories_out.Contender("bcisc", "results/m", baseline=True)
    with pytest.raises(SystemExit, match="is not LABORATORY=MODEL"):
        laboratories_out.named(["nowhere=m"], baseline=False)


def test_tables_leave_empty_what_there_is_not() -> None:
    frame = pd.DataFrame({"laboratory": ["bcisc"], "cells": [3], "ECE": [0.12345], "x": [np.nan]})
    assert laboratories_out.markdown(frame).splitlines()[-1] == "| bcisc | 3 | 0.123 |  |"
