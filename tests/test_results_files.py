"""What lands on disk: tables, records, and all of it or nothing."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import sha256
from cytodiffusion.files.writers import (
    to_json,
    write_cells_csv,
    write_excel_csv,
    write_run_json,
)
from cytodiffusion.image.labels import read_labels
from cytodiffusion.results import CELL_COLUMNS, class_counts, export_results

FILES = [
    *("cells.csv", "cells.geojson", "labels.tif"),
    *("overlay.png", "run.json", "uncertainty.png"),
]


class CellKind(NamedTuple):
    name: str
    color: str


CLASSES = [CellKind("lymphocyte", "#009e73"), CellKind("red cell", "#c0504d")]


def some_cells() -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    labels = np.zeros((120, 160), np.int32)
    labels[10:40, 10:40] = 2
    labels[50:90, 60:120] = 70_000
    third = 1 / 3
    red = (24.5, 24.5, 9.0, "red cell", 2 * third, 0.6, third, 0.1, False, "red cell", 3, False)
    odd = (69.5, 89.5, 24.0, "lymphocyte", 0.5, np.log(2), 0.0, 9.5, True, "lymphocyte|red cell")
    rows = [(2, *red, *[False] * 4), (70_000, *odd, 16, True, True, True, False, False)]
    frame = pd.DataFrame(rows, columns=list(CELL_COLUMNS))
    frame["p_lymphocyte"] = [third, 0.5]
    frame["p_red cell"] = [2 * third, 0.5]
    return np.full((120, 160, 3), 210, np.uint8), labels, frame


def test_export_writes_everything(tmp_path: Path) -> None:
    rgb, labels, frame = some_cells()
    files = export_results(
        tmp_path / "out",
        rgb,
        labels,
        frame,
        CLASSES,
        pixel_size_um=0.1,
        record={"seed": np.int64(7), "note": "ü"},
    )
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES
    assert {path.name for path in files.values()} == set(FILES)
    assert files["cells"] == tmp_path / "out" / "cells.csv"
    assert files["outlines"] == tmp_path / "out" / "cells.geojson"
    assert len(json.loads(files["outlines"].read_text(encoding="utf-8"))["features"]) == 2
    np.testing.assert_array_equal(read_labels(files["labels"]), labels)
    pd.testing.assert_frame_equal(pd.read_csv(files["cells"]), frame)
    for stem in ("overlay", "uncertainty"):
        with Picture.open(files[stem]) as picture:
            assert picture.size[0] > 7 * 160
            assert picture.info["Magnification"] == "7"


def test_the_record_holds_checksums_and_counts(tmp_path: Path) -> None:
    rgb, labels, frame = some_cells()
    files = export_results(
        tmp_path, rgb, labels, frame, CLASSES, pixel_size_um=0.1, record={"seed": 7}
    )
    record = json.loads(files["run"].read_text(encoding="utf-8"))
    assert record["seed"] == 7
    assert record["results"]["counts"] == {"lymphocyte": 1, "red cell": 1}
    assert record["results"]["cells"] == 2
    assert record["results"]["anomalies"] == 1
    written = {item["path"]: item for item in record["outputs"]}
    assert sorted([*written, "run.json"]) == FILES
    for name, item in written.items():
        assert item["sha256"] == sha256(tmp_path / name)
        assert item["bytes"] == (tmp_path / name).stat().st_size


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    rgb, labels, frame = some_cells()
    for name in ("a", "b"):
        export_results(tmp_path / name, rgb, labels, frame, CLASSES, pixel_size_um=0.1, record={})
    for name in FILES:
        assert sha256(tmp_path / "a" / name) == sha256(tmp_path / "b" / name)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Picture.Image, "save", full)
    rgb, labels, frame = some_cells()
    with pytest.raises(InputError, match=r"No space is left on the disk of .*out"):
        export_results(tmp_path / "out", rgb, labels, frame, CLASSES, pixel_size_um=0.1, record={})
    assert list(tmp_path.iterdir()) == []


def test_a_table_keeps_every_digit(tmp_path: Path) -> None:
    frame = some_cells()[2]
    path = write_cells_csv(tmp_path / "cells.csv", frame)
    back = pd.read_csv(path)
    assert (back["p_lymphocyte"] == frame["p_lymphocyte"]).all()
    assert list(back.columns[: len(CELL_COLUMNS)]) == list(CELL_COLUMNS)
    assert back["anomaly"].dtype == bool
    assert b"\r" not in path.read_bytes()
    with pytest.raises(InputError, match=r"should end in \.csv"):
        write_cells_csv(tmp_path / "cells.xlsx", frame)


@pytest.mark.parametrize(("comma", "first"), [(True, b"label;y;"), (False, b"label,y,")])
def test_excel_opens_the_table(tmp_path: Path, comma: bool, first: bytes) -> None:
    _, _, frame = some_cells()
    frame.loc[0, "predicted"] = "Erythrozyt, \u00fc; \u00b5"
    path = write_excel_csv(tmp_path / "cells.csv", frame, decimal_comma=comma)
    written = path.read_bytes()
    assert written.startswith(b"\xef\xbb\xbf" + first)
    assert written.count(b"\r\n") == 3
    how = {"sep": ";", "decimal": ","} if comma else {}
    back = pd.read_csv(path, encoding="utf-8-sig", keep_default_na=False, **how)
    pd.testing.assert_frame_equal(back, frame)
    assert (b"0,333" in written) is comma
    with pytest.raises(InputError, match=r"should end in \.csv"):
        write_excel_csv(tmp_path / "cells.xlsx", frame, decimal_comma=comma)


def test_json_knows_numpy_and_has_no_nan(tmp_path: Path) -> None:
    record = {
        "array": np.arange(3),
        "number": np.float32(0.5),
        "nan": float("nan"),
        "inf": np.array([np.inf]),
        "flag": np.bool_(True),
        "path": Path("a") / "b",
        "nested": {1: (2, {3})},
        "none": None,
    }
    text = to_json(record)
    assert json.loads(text) == {
        "array": [0, 1, 2],
        "number": 0.5,
        "nan": None,
        "inf": [None],
        "flag": True,
        "path": str(Path("a") / "b"),
        "nested": {"1": [2, [3]]},
        "none": None,
    }
    path = write_run_json(tmp_path / "run.json", record)
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(text)


def test_counts_follow_the_classes() -> None:
    frame = some_cells()[2]
    assert list(class_counts(frame[:1], CLASSES).items()) == [("lymphocyte", 0), ("red cell", 1)]
