"""Psychometric curves: known ones are found again, and everyone is judged by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.datasets import Record
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation import observers as psychometric_part
from cytodiffusion.evaluation.psychometric import curve as psychometric
from cytodiffusion.evaluation.psychometric.annotations import Annotations, Answer
from cytodiffusion.evaluation.psychometric.curve import FEWEST, fit_curve, in_blocks
from cytodiffusion.evaluation.psychometric.difficulty import by_baselines, by_experts, by_labels
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import read_report
from cytodiffusion.model.testing import tiny_bundle

with_psignifit = pytest.mark.skipif(
    not psychometric.is_available(), reason="psignifit is not installed"
)


def answers(n: int, threshold: float, width: float, lapse: float, classes: int, seed: int) -> Any:
    """Ease of cells, and answers of an observer with this psychometric function."""
    rng = np.random.default_rng(seed)
    ease = rng.random(n)
    steep = norm.ppf(0.95) - norm.ppf(0.05)
    sigmoid = norm.cdf(norm.ppf(0.8) + steep * (ease - threshold) / width)
    return ease, rng.random(n) < 1 / classes + (1 - 1 / classes - lapse) * sigmoid


@with_psignifit
def test_a_known_curve_is_found_again() -> None:
    found = fit_curve(*answers(3000, 0.45, 0.5, 0.06, 8, 1), 8)
    for name, true in (("threshold", 0.45), ("width", 0.5), ("lapse", 0.06)):
        low, high = found["intervals"][name]
        assert low < true < high, name
        assert low <= found[name] <= high
        assert found[name] == pytest.approx(true, abs=0.08)
    curve = {name: np.array(values) for name, values in found["curve"].items()}
    assert (curve["low"] <= curve["accuracy"] + 1e-3).all()
    assert (curve["accuracy"] <= curve["high"] + 1e-3).all()
    assert curve["accuracy"][0] == pytest.approx(1 / 8, abs=0.05)  # guesses
    assert curve["accuracy"][-1] == pytest.approx(0.94, abs=0.03)  # lapses
    # before guesses and lapses the sigmoid is 0.8 at the threshold
    at = np.interp(found["threshold"], curve["index"], curve["accuracy"])
    assert (at - 1 / 8) / (1 - 1 / 8 - found["lapse"]) == pytest.approx(0.8, abs=0.02)
    assert found["cautions"] == []


@with_psignifit
def test_without_an_error_it_says_how_little_it_knows() -> None:
    ease = np.linspace(0.5, 1, 60)
    found = fit_curve(ease, np.ones(60, bool), 4)
    assert found["accuracy"] == 1.0
    assert "no errors" in found["cautions"][0]
    assert found["intervals"]["threshold"][0] < 0.5
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high, name


@with_psignifit
def test_few_errors_leave_the_threshold_open_and_that_is_said() -> None:
    ease = np.concatenate([[0.4, 0.7, 0.8], np.linspace(0.9, 1, 200)])
    found = fit_curve(ease, ease != 0.7, 10)
    assert "beyond the difficulties that were seen" in found["cautions"][0]
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high, name


def test_what_cannot_be_fitted_says_why() -> None:
    few = fit_curve(np.linspace(0, 1, FEWEST - 1), np.ones(FEWEST - 1, bool), 4)
    assert "too few" in few["why"]
    assert few["n"] == FEWEST - 1
    alike = fit_curve(np.full(80, 0.7), np.arange(80) % 2 > 0, 4)
    assert "equally easy" in alike["why"]
    assert alike["points"] == [{"index": pytest.approx(0.7), "accuracy": 0.5, "n": 80}]
    assert fit_curve(np.zeros(0), np.zeros(0, bool), 4)["accuracy"] is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200))
@settings(deadline=None, max_examples=60)
def test_blocks_lose_no_answer(pairs: list[tuple[float, bool]]) -> None:
    index, correct = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    blocks = in_blocks(index, correct)
    assert blocks[:, 1].sum() == correct.sum()
    assert blocks[:, 2].sum() == len(pairs)
    assert (blocks[:, 2] > 0).all()
    assert (np.diff(blocks[:, 0]) > 0).all()
    assert len(blocks) <= psychometric.BLOCKS
    np.testing.assert_allclose((blocks[:, 0] * blocks[:, 2]).sum(), index.sum(), atol=1e-9)


def test_annotators_are_judged_by_the_others() -> None:
    a, b = Path("a.png"), Path("b.png")
    rows = [("Ann", a, "x", 0.2), ("Bob", a, "x", 0.6), ("Cy", a, "y", 1.0), ("Ann", b, "y", 0.9)]
    truth = {a: "x", b: "x"}
    sure = Annotations(tuple(Answer(p, who, label, c) for who, p, label, c in rows))
    index = by_experts(sure, truth)
    assert index is not None
    assert index.kind == "expert confidence"
    assert index.of_cells(None) == pytest.approx({a: 0.6, b: 0.9})
    assert index.of_cells("Ann") == pytest.approx({a: 0.8})  # of b nobody else said anything
    right = Annotations(tuple(Answer(p, who, label) for who, p, label, _ in rows))
    index = by_experts(right, truth)
    assert index is not None
    assert index.kind == "agreement of experts"
    assert index.of_cells(None) == pytest.approx({a: 2 / 3, b: 0.0})
    assert index.of_cells("Bob") == pytest.approx({a: 0.5, b: 0.0})
    assert by_experts(Annotations(right.answers[:2]), truth) is None  # two cannot agree


def test_baselines_and_labels_as_an_index() -> None:
    a, b, c = Path("a.png"), Path("b.png"), Path("c.png")
    index = by_baselines({"one": {a: 0.7, b: 0.4, c: 1.0}, "other": {a: 0.4, b: 0.7}})
    assert index is not None
    # of c only one of them said anything
    assert index.of_cells(None) == pytest.approx({a: 0.55, b: 0.55})
    assert "one and other" in index.stated
    assert by_baselines({}) is None
    records = [Record(a, "x", "test", label_confidence=0.5), Record(b, "x", "test")]
    assert by_labels(records) is None
    index = by_labels([*records, Record(c, "x", "test", label_confidence=0.25)])
    assert index is not None
    assert index.of_cells(None) == {a: 0.5, c: 0.25}


# -- as a part of a report ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 1, "val": 1, "test": 20})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("m") / "tiny", ("blue", "green", "red"))


@pytest.fixture(scope="module")
def table(tmp_path_factory, data) -> Path:
    """Two annotators, the one better than the other, and both surer of blue cells."""
    rng = np.random.default_rng(0)
    rows = []
    for path in sorted((data / "test").rglob("*.png")):
        label = path.parent.name
        for who, skill in (("Ann", 0.95), ("Bob & <i>Co</i>", 0.6)):
            ease = rng.uniform(0.6, 1.0) if label == "blue" else rng.uniform(0.1, 0.8)
            said = label if rng.random() < skill * ease else "green"
            row = {"image": f"{label}/{path.name}", "annotator": who, "label": said}
            rows.append(row | {"confidence": round(ease, 3)})
    file = tmp_path_factory.mktemp("t") / "answers.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


def asked(data: Path, model: Path, folder: Path, **more: Any) -> EvaluateSettings:
    few = {"pixel_size_um": PIXEL_SIZE_UM, "resamples": 10, "trial_cells": 0}
    return EvaluateSettings(model=str(model), data=data, output=folder, **(few | more))


@with_psignifit
def test_the_model_and_every_annotator_get_a_curve(data, bundle, table, tmp_path) -> None:
    report = read_report(evaluate(asked(data, bundle, tmp_path / "r", annotations=table)))
    part = report.metrics["psychometric"]
    assert part["index"]["kind"] == "expert confidence"
    assert part["guess_rate"] == pytest.approx(1 / 3)
    assert list(part["observers"]) == ["model", "Ann", "Bob & <i>Co</i>"]
    for found in part["observers"].values():
        assert found["n"] == 60
        assert found["intervals"]["threshold"][0] < found["threshold"]
        assert set(found) >= {"width", "lapse", "curve", "points"}
    assert part["observers"]["model"]["accuracy"] == pytest.approx(report.metrics["accuracy"])
    said = pd.read_csv(table)
    for name in ("Ann", "Bob & <i>Co</i>"):
        mine = said[said["annotator"] == name]
        right = [i.split("/")[0] == a for i, a in zip(mine["image"], mine["label"], strict=True)]
        assert part["observers"][name]["accuracy"] == pytest.approx(np.mean(right))
    page = report.page.read_text(encoding="utf-8")
    assert "mean confidence of the annotators" in page
    assert "Bob &amp; &lt;i&gt;Co" in page
    assert "<i>Co" not in page
    assert page.count('alt="Share of right answers') == 1


@with_psignifit
def test_without_people_the_model_is_asked_again_and_that_is_said(data, bundle, tmp_path) -> None:
    report = read_report(evaluate(asked(data, bundle, tmp_path / "r", trial_cells=9)))
    part = report.metrics["psychometric"]
    assert part["index"]["kind"] == "other trials"
    assert "itself in a second run with other noise" in part["index"]["stated"]
    assert set(part["observers"]) == {"model"}
    assert "second run with other noise" in report.page.read_text(encoding="utf-8")


@with_psignifit
def test_without_any_index_the_report_says_so(data, bundle, tmp_path) -> None:
    report = read_report(evaluate(asked(data, bundle, tmp_path / "r")))
    assert "no index of difficulty" in report.metrics["psychometric"]["why"]
    assert "no index of difficulty" in report.page.read_text(encoding="utf-8")


def test_without_psignifit_the_report_says_what_to_install(
    data, bundle, table, tmp_path, monkeypatch
) -> None:
    for module in (psychometric, psychometric_part):
        monkeypatch.setattr(module, "is_available", lambda: False)
    report = read_report(evaluate(asked(data, bundle, tmp_path / "r")))
    assert "napari-cytodiffusion[psychometric]" in report.metrics["psychometric"]["why"]
    assert "napari-cytodiffusion[psychometric]" in report.page.read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"^Psychometric curves need psignifit.*\]'\.$"):
        evaluate(asked(data, bundle, tmp_path / "r2", annotations=table))


def test_a_bad_table_is_told_before_the_work(data, bundle, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(psychometric_part, "is_available", lambda: True)
    table = tmp_path / "answers.csv"
    table.write_text("image,label\n000.png,red\n")
    with pytest.raises(InputError, match="is that of the annotator"):
        evaluate(asked(data, bundle, tmp_path / "r", annotations=table))
    assert not (tmp_path / "r").exists()


def test_psignifit_is_imported_in_one_place_only() -> None:
    source = Path(psychometric.__file__).parents[2]
    holders = [p for p in source.rglob("*.py") if "import psignifit" in p.read_text("utf-8")]
    assert holders == [Path(psychometric.__file__)]
