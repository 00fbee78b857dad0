"""A whole evaluation on drawn cells: the contract of metrics.json, the page, the table."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.evaluation.figures import CONTRACT
from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.stored import read_report
from cytodiffusion.model.testing import tiny_bundle, tiny_slide_correction

#: What the contract promises, written out once more: a rename must break something.
PROMISED = {
    *("n", "accuracy", "balanced_accuracy", "macro_f1", "per_class", "ece", "coverage"),
    *("set_size", "trials_mean", "anomaly", "shift", "baselines"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 3, "val": 3, "test": 8})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("m") / "tiny", ("blue", "green", "red", "<b>odd"))


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    return write_discs(folder, {"test": 4}, ("blue", "red")) / "test"


@pytest.fixture(scope="module")
def report(tmp_path_factory, data, bundle, other):
    folder = tmp_path_factory.mktemp("report")
    return read_report(evaluate(asked(data, bundle, folder, shift={"elsewhere": other})))


def asked(data: Path, model: Path, folder: Path, **more) -> EvaluateSettings:
    few = {"pixel_size_um": PIXEL_SIZE_UM, "shift_pixel_size_um": PIXEL_SIZE_UM, "resamples": 30}
    return EvaluateSettings(model=str(model), data=data, output=folder, **(few | more))


def test_every_key_of_the_contract_is_there(report) -> None:
    metrics = json.loads((report.folder / "metrics.json").read_text())
    assert set(metrics) >= PROMISED
    assert {*CONTRACT, "baselines"} == PROMISED
    assert set(metrics["anomaly"]) >= {"auc", "sensitivity", "specificity", "why"}
    assert metrics["anomaly"]["auc"] is None
    assert "--leave-out" in metrics["anomaly"]["why"]
    assert set(metrics["shift"]) == {"elsewhere"}
    shift = metrics["shift"]["elsewhere"]
    assert set(shift) >= {"accuracy", "balanced_accuracy", "shared_balanced_accuracy"}
    assert metrics["baselines"] == {}
    assert metrics["n"] == 24
    assert set(metrics["per_class"]) == {"blue", "green", "red"}
    assert {"precision", "recall", "f1", "n", "intervals"} <= set(metrics["per_class"]["red"])
    assert len(metrics["trials"]["points"]) == metrics["settings"]["trials"]
    assert metrics["trials"]["n"] == 24


def test_the_table_gives_the_figures_back(report) -> None:
    table = pd.read_csv(report.folder / "cells.csv")
    here, there = table[table["set"] == "data"], table[table["set"] == "elsewhere"]
    assert (len(here), len(there)) == (24, 8)
    m = report.metrics
    assert accuracy_score(here["label"], here["predicted"]) == pytest.approx(m["accuracy"])
    recalls = [(p == c).mean() for c, p in here.groupby("label")["predicted"]]
    assert np.mean(recalls) == pytest.approx(m["balanced_accuracy"])
    assert here["trials"].mean() == pytest.approx(m["trials_mean"])
    covered = [c in s.split("|") for c, s in zip(here["label"], here["prediction_set"])]  # noqa: B905
    assert np.mean(covered) == pytest.approx(m["coverage"])
    # only the shared classes open
    shared = np.array(["blue", "red"])[there[["p_blue", "p_red"]].to_numpy().argmax(axis=1)]
    assert balanced_accuracy_score(there["label"], shared) == pytest.approx(
        m["shift"]["elsewhere"]["shared_balanced_accuracy"]
    )


class _Page(HTMLParser):
    """Collects what a page would load and what it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in {"src", "srcset", "data", "poster", "background", "action"}:
                self.loads.append(value)
            elif name in {"href", "xlink:href"}:
                (self.links if tag == "a" else self.loads).append(value)


def test_the_page_needs_nothing_but_itself(report) -> None:
    text = report.page.read_text(encoding="utf-8")
    page = _Page(text)
    assert page.loads
    assert all(load.startswith("data:image/") for load in page.loads)
    assert all(link.startswith("#") for link in page.links)
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    style = re.search("<style>(.*?)</style>", text, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    script = re.search("<script>(.*?)</script>", text, re.DOTALL).group(1)
    assert not re.search("http|fetch|import|eval|innerHTML", script)
    pictures = [load for load in page.loads if load.startswith("data:image/jpeg")]
    assert len(pictures) == sum(len(report.metrics["montage"][k]) for k in ("hardest", "anomalous"))


def test_names_from_data_cannot_become_markup(report) -> None:
    text = report.page.read_text(encoding="utf-8")
    assert "<b>odd" not in text
    assert "&lt;b&gt;odd" in text


def test_the_same_seed_gives_the_same_figures(report, data, bundle, other, tmp_path) -> None:
    again = read_report(evaluate(asked(data, bundle, tmp_path / "r", shift={"elsewhere": other})))
    for key in (*PROMISED - {"baselines"}, "intervals", "trials", "sets", "risk_coverage"):
        assert again.metrics[key] == report.metrics[key]


def test_pictures_are_those_of_the_cells(report) -> None:
    entry = report.metrics["montage"]["hardest"][0]
    picture = report.picture(entry["tile"])
    assert picture.shape == (32, 32, 3)
    colour = picture[12:20, 12:20].mean(axis=(0, 1))
    assert int(colour.argmax()) == {"red": 0, "green": 1, "blue": 2}[entry["label"]]
    worst = [e["p_true"] for e in report.metrics["montage"]["hardest"]]
    assert worst == sorted(worst)


def test_cells_of_a_set_are_corrected_together_or_each_is_looked_at_alone(data, tmp_path) -> None:
    names = ("blue", "green", "red")
    model = tiny_bundle(tmp_path / "m", names, slide_correction=tiny_slide_correction(3))
    elsewhere = write_discs(tmp_path / "other", {"test": 10}, ("blue", "red")) / "test"
    reports = {
        alone: read_report(
            evaluate(
                asked(
                    data,
                    model,
                    tmp_path / f"r{alone}",
                    shift={"elsewhere": elsewhere},
                    trial_cells=0,
                    classify=ClassifySettings(alone=alone),
                )
            )
        )
        for alone in (False, True)
    }
    together, alone = reports[False].metrics, reports[True].metrics
    assert "alone" not in alone
    assert "alone" not in alone["shift"]["elsewhere"]
    assert together["ece"] != alone["ece"]
    for one, other in (
        (together, alone),
        (together["shift"]["elsewhere"], alone["shift"]["elsewhere"]),
    ):
        assert one["alone"]["balanced_accuracy"] == other["balanced_accuracy"]
        assert one["anomaly_rate"] == other["anomaly_rate"]
    own = together["shift"]["elsewhere"]
    shared = alone["shift"]["elsewhere"]["shared_balanced_accuracy"]
    assert own["alone"]["shared_balanced_accuracy"] == shared
    at = {row["asked"]: row for row in together["sets"]}
    assert at[0.95]["coverage"] == together["coverage"]
    page = (reports[False].folder / "report.html").read_text(encoding="utf-8")
    assert f"elsewhere {own['alone']['balanced_accuracy']:.3f} and {shared:.3f}." in page
    other_page = (reports[True].folder / "report.html").read_text(encoding="utf-8")
    assert "Each cell by itself" not in other_page


def test_a_class_that_the_model_lacks_is_the_anomaly(data, tmp_path) -> None:
    model = tiny_bundle(tmp_path / "two", ("blue", "green"))
    settings = asked(data, model, tmp_path / "r", leave_out="red", trial_cells=0)
    metrics = read_report(evaluate(settings)).metrics
    assert metrics["n"] == 16
    anomaly = metrics["anomaly"]
    assert (anomaly["n_known"], anomaly["n_unknown"]) == (16, 8)
    table = pd.read_csv(tmp_path / "r" / "cells.csv")
    assert (table["label"] == "red").sum() == 8
    red = table["label"] == "red"
    assert anomaly["sensitivity"] == pytest.approx(table[red]["anomaly"].mean())
    assert anomaly["specificity"] == pytest.approx(1 - table[~red]["anomaly"].mean())
    above = (
        table[red]["anomaly_score"].to_numpy()[:, None] > table[~red]["anomaly_score"].to_numpy()
    )
    assert anomaly["auc"] == pytest.approx(above.mean())
    assert not anomaly["trained_for_it"]
    assert metrics["trials"]["why"] == "not asked for"


def test_unreadable_images_are_named_and_counted(data, bundle, tmp_path, caplog) -> None:
    rows = [
        {"path": str(p), "class": p.parent.name, "split": "test"}
        for p in sorted((data / "test").rglob("*.png"))
    ]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    rows.append({"path": str(broken), "class": "red", "split": "test"})
    pd.DataFrame(rows).to_csv(tmp_path / "cells.csv", index=False)
    settings = asked(tmp_path / "cells.csv", bundle, tmp_path / "r", trial_cells=0)
    metrics = read_report(evaluate(settings)).metrics
    assert metrics["n"] == 24
    assert any("broken.png" in sentence for sentence in metrics["warnings"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"leave_out": "purple"}, "no images of the class 'purple'"),
        ({"split": "train", "data": "unsplit"}, "no labelled images in its train split"),
        ({"taxonomy": "none-such"}, "no taxonomy 'none-such'"),
        ({"model": "strangers"}, r"None of the labels \(blue, green, red\) is a class"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(data, bundle, tmp_path, changes, words) -> None:
    if changes.get("model"):
        changes = {"model": str(tiny_bundle(tmp_path / "other", ("cat", "dog")))}
    if changes.get("data"):
        changes = {**changes, "data": tmp_path / "cells.csv"}
        (tmp_path / "cells.csv").write_text("path,class,split\na.png,red,test\n")
    settings = asked(data, bundle, tmp_path / "r").model_copy(update=changes)
    with pytest.raises(InputError, match=words):
        evaluate(settings)
    assert not (tmp_path / "r").exists()


def test_cancelling_leaves_nothing(data, bundle, tmp_path) -> None:
    def stop(fraction: float, text: str) -> None:
        if fraction > 0.3:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        evaluate(asked(data, bundle, tmp_path / "r"), stop)
    assert not (tmp_path / "r").exists()


def test_progress_only_grows(data, bundle, tmp_path) -> None:
    seen: list[float] = []
    evaluate(asked(data, bundle, tmp_path / "r", limit=6), lambda f, _: seen.append(f))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert read_report(tmp_path / "r").metrics["n"] == 6


def test_progress_only_grows_when_a_class_is_left_out(data, bundle, tmp_path) -> None:
    seen: list[float] = []
    copy = tiny_bundle(tmp_path / "c", ("blue", "green"))
    settings = asked(data, bundle, tmp_path / "r", leave_out="red", leave_out_model=(copy,))
    evaluate(settings, lambda share, _: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_few_labels_that_fail_do_not_lose_the_report(data, bundle, tmp_path) -> None:
    """These discs are so alike that the splits share all training images."""
    found = read_report(evaluate(asked(data, bundle, tmp_path / "r", low_data=(2,)))).metrics
    assert "low_data" not in found
    assert found["n"] == 24
    assert any(w.startswith("The low-data curve was not measured.") for w in found["warnings"])


def test_reading_what_is_no_report(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no metrics\.json"):
        read_report(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match="not the metrics"):
        read_report(tmp_path)
    (tmp_path / "metrics.json").write_text("nonsense")
    with pytest.raises(InputError, match="not JSON"):
        read_report(tmp_path / "metrics.json")
