"""Reports read back: what is there, what is missing, what is no report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.stored import COLUMNS, read_report

FOUND = {"accuracy": 0.9, "balanced_accuracy": 0.875, "n": 1200, "shared_balanced_accuracy": 0.95}


def made_up(**more: Any) -> dict[str, Any]:
    return {
        "format": 1,
        **{key: FOUND[key] for key in ("n", "accuracy", "balanced_accuracy")},
        "per_class": {},
        "ece": 0.01,
        "coverage": 0.95,
        "set_size": 1.04,
        "trials_mean": 3.3,
        "anomaly": {"auc": None},
        "intervals": {"balanced_accuracy": [0.85, 0.9]},
        "shift": {},
        "baselines": {},
        "montage": {"tile": 4},
        **more,
    }


def write(folder: Path, metrics: Any) -> Path:
    text = metrics if isinstance(metrics, str) else json.dumps(metrics)
    (folder / "metrics.json").write_text(text)
    return folder


def test_a_report_is_found_by_any_of_its_files(tmp_path) -> None:
    write(tmp_path, made_up())
    (tmp_path / "report.html").write_text("<html></html>")
    for path in (tmp_path, tmp_path / "metrics.json", tmp_path / "report.html"):
        report = read_report(path)
        assert report.folder == tmp_path
        assert report.page == tmp_path / "report.html"
        assert report.metrics["n"] == 1200


def test_tiles_are_cut_out_of_the_sheet(tmp_path) -> None:
    sheet = np.zeros((8, 4 * COLUMNS, 3), np.uint8)
    sheet[4:, 4:8] = 200
    Picture.fromarray(sheet).save(tmp_path / "montage.png")
    report = read_report(write(tmp_path, made_up()))
    assert (report.picture(COLUMNS + 1) == 200).all()
    assert (report.picture(COLUMNS) == 0).all()
    assert report.picture(2 * COLUMNS) is None


def test_without_page_and_pictures_the_numbers_remain(tmp_path) -> None:
    report = read_report(write(tmp_path, made_up()))
    assert report.page is None
    assert report.picture(0) is None
    (tmp_path / "montage.png").write_bytes(b"no picture")
    assert read_report(tmp_path).sheet is None


def test_the_sentence(tmp_path) -> None:
    full = made_up(
        anomaly={"auc": 0.987}, shift={"lab b": FOUND}, baselines={"rival": {**FOUND, "n": 3}}
    )
    said = read_report(write(tmp_path, full)).sentence().splitlines()
    assert said[0].startswith("1,200 cells: balanced accuracy 0.875 (0.850 to 0.900), accuracy 0.9")
    assert said[0].endswith("anomaly AUC 0.987")
    assert said[1] == "lab b, 1,200 cells: balanced accuracy 0.875, 0.950 with its classes only"
    assert said[2] == "rival beside it: balanced accuracy 0.875"
    # no interval where resampling saw no spread
    sure = made_up(intervals={"balanced_accuracy": [1.0, 1.0]})
    assert "(" not in read_report(write(tmp_path, sure)).sentence()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1, 2]", r"not the metrics\.json of a report"),
        (json.dumps({"n": 3}), r"not the metrics\.json of a report"),
        (json.dumps(made_up(format=99)), r"another version of cytodiffusion \(format 99\)"),
    ],
)
def test_what_is_no_report_is_said(tmp_path, content, words) -> None:
    with pytest.raises(InputError, match=words):
        read_report(write(tmp_path, content))


def test_a_folder_without_a_report(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no metrics\.json"):
        read_report(tmp_path)
