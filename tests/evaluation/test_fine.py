"""Labels that are finer classes: scored on both levels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated import from_posterior
from toys import COLORS, PIXEL_SIZE_UM, write_discs

from cytodiffusion.classification.levels import at_level
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import Record
from cytodiffusion.evaluation.cells import ScoredCells, label_indices
from cytodiffusion.evaluation.fine import fine_figures, with_coarse_labels
from cytodiffusion.evaluation.report_content import finer_lines
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.taxonomy import load_taxonomy
from cytodiffusion.training.traits import FINER
from cytodiffusion.traits import Trait

NAMES = ("lymphocyte", "neutrophil")
VALUES = ("band neutrophil", "segmented neutrophil")
TRAITS = (Trait("granularity", ("no", "yes")), Trait("neutrophil", VALUES, "neutrophil"))
TAXONOMIES = (load_taxonomy("peripheral-blood"),)


def record(label: str, **attributes: str) -> Record:
    return Record(Path("x.png"), label, "test", attributes=attributes)


def mapped(*records: Record, kept: str | None = None) -> list[tuple[str | None, str]]:
    found = with_coarse_labels(records, NAMES, TRAITS, TAXONOMIES, kept)
    return [(r.label, r.attributes.get(FINER, "")) for r in found]


def test_finer_labels_become_coarse_ones_and_stay_beside_them() -> None:
    band, segmented = VALUES
    found = mapped(
        record("band neutrophil"),
        record("Stab cell"),  # an alias
        record("neutrophil", subtype="SNE"),  # a code in a column
        record("neutrophil"),
        record("lymphocyte", subtype="BNE"),  # of another class: it says nothing
        record("promyelocyte"),  # unknown to the model
    )
    assert found == [
        *[("neutrophil", band)] * 2,
        *[("neutrophil", segmented), ("neutrophil", ""), ("lymphocyte", ""), ("promyelocyte", "")],
    ]


def test_a_class_to_leave_out_stays() -> None:
    assert mapped(record("band neutrophil"), kept="band neutrophil") == [("band neutrophil", "")]


def test_a_model_without_finer_classes_changes_no_label() -> None:
    records = [record("band neutrophil"), record("neutrophil", subtype="SNE")]
    assert with_coarse_labels(records, NAMES, TRAITS[:1], TAXONOMIES) == records


def scored(finer: list[str]) -> ScoredCells:
    """Four neutrophils of these finer classes and a lymphocyte; band is always answered."""
    labels = [*["neutrophil"] * 4, "lymphocyte"]
    posterior = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1], [0.8, 0.2]])
    shares = np.tile(np.array([0.5, 0.5, 0.75, 0.25], np.float32), (5, 1))
    shares[1, 2:] = 0.25, 0.75
    result = replace(
        from_posterior(posterior), class_names=NAMES, traits=TRAITS, trait_probabilities=shares
    )
    records = [
        record(label, **({FINER: value} if value else {}))
        for label, value in zip(labels, [*finer, ""], strict=True)
    ]
    return ScoredCells(records, result, label_indices(records, NAMES))


def test_scores_within_the_class_and_on_the_fine_level() -> None:
    band, segmented = VALUES
    cells = scored([band, segmented, segmented, band])
    found = fine_figures(cells)
    assert found is not None
    one = found["classes"]["neutrophil"]
    assert (one["n"], one["accuracy"]) == (4, 0.75)  # the last one's class is wrong, not its kind
    assert one["balanced_accuracy"] == 0.75
    assert one["recall"] == {
        band: {"n": 2, "recall": 1.0},
        segmented: {"n": 2, "recall": 0.5},
    }
    assert (found["n"], found["accuracy"]) == (5, pytest.approx(3 / 5))
    assert found["balanced_accuracy"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    fine = at_level(cells.result, "fine")
    assert found["set_size"] == pytest.approx(fine.prediction_set.sum(axis=1).mean())
    first, last = finer_lines({"fine": found})
    assert "neutrophil, 4 cells: accuracy 0.750" in first
    assert "accuracy 0.600" in last


def test_where_some_are_not_told_only_those_that_are_count() -> None:
    found = fine_figures(scored([VALUES[0], "", "", ""]))
    assert found is not None
    assert found["classes"]["neutrophil"]["n"] == 1
    assert "accuracy" not in found
    assert fine_figures(scored(["", "", "", ""])) is None
    assert finer_lines({}) == []


def test_a_whole_evaluation_of_folders_of_finer_classes(tmp_path: Path) -> None:
    data, out = write_discs(tmp_path / "data", {"test": 4}), tmp_path / "report"
    for color, name in zip(COLORS, (*VALUES, "lymphocyte"), strict=True):
        (data / "test" / color).rename(data / "test" / name)
    model = tiny_bundle(tmp_path / "tiny", NAMES, traits=TRAITS)
    asked = EvaluateSettings(
        model=str(model),
        data=data,
        output=out,
        pixel_size_um=PIXEL_SIZE_UM,
        resamples=20,
        classify=ClassifySettings(trials=2, min_trials=1),
    )
    evaluate(asked)
    metrics = json.loads((out / "metrics.json").read_text())
    cells = pd.read_csv(out / "cells.csv", keep_default_na=False)
    assert metrics["n"] == len(cells) == 12
    assert metrics["confusion"]["classes"] == list(NAMES)
    assert metrics["per_class"]["neutrophil"]["n"] == 8
    assert not any("does not know" in warning for warning in metrics["warnings"])
    assert cells.groupby("finer_label").size().to_dict() == {"": 4, VALUES[0]: 4, VALUES[1]: 4}
    mine = cells["label"] == "neutrophil"
    one = metrics["fine"]["classes"]["neutrophil"]
    assert one["n"] == mine.sum()
    # of cells that were given the class, the table names the finer one
    right = (cells["finer"] == cells["finer_label"])[mine & (cells["predicted"] == "neutrophil")]
    simple = ~mine & (cells["predicted"] == "lymphocyte")
    assert metrics["fine"]["accuracy"] == pytest.approx((right.sum() + simple.sum()) / 12)
    page = (out / "report.html").read_text()
    assert "Finer classes</h2>" in page
    assert "segmented neutrophil" in page
