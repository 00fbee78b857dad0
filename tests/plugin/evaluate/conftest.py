"""A report that the engine wrote, and the widget it is shown in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QSettings
from report_toys import NAMES
from toys import PIXEL_SIZE_UM, tiny_baseline, write_discs

from cytodiffusion.evaluation.run import evaluate
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.model.testing import tiny_bundle
from napari_cytodiffusion.evaluate.widget import ReportWidget


@pytest.fixture(scope="package")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    tiny_bundle(folder / "model", NAMES)
    write_discs(folder / "data", {"train": 1, "val": 1, "test": 5})
    tiny_baseline(folder / "rival", NAMES)
    write_discs(folder / "elsewhere", {"test": 3}, ("blue", "red"))
    settings = EvaluateSettings(
        model=str(folder / "model"),
        data=folder / "data",
        output=folder / "report",
        shift={"elsewhere": folder / "elsewhere" / "test"},
        baselines=(folder / "rival",),
        pixel_size_um=PIXEL_SIZE_UM,
        shift_pixel_size_um=PIXEL_SIZE_UM,
        resamples=20,
        trial_cells=6,
    )
    evaluate(settings)
    return folder


@pytest.fixture
def bare(qtbot):
    viewer = ViewerModel()
    yield viewer
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(20_000)


@pytest.fixture
def widget(bare, qtbot, tmp_path, monkeypatch):
    path = str(tmp_path / "settings.ini")
    monkeypatch.setattr(
        ReportWidget, "_settings", lambda _: QSettings(path, QSettings.Format.IniFormat)
    )
    made = ReportWidget(bare)
    qtbot.addWidget(made)
    made.resize(420, 800)
    made.show()
    return made


@pytest.fixture
def opened(widget, made, qtbot):
    widget.open(made / "report")
    qtbot.waitUntil(lambda: widget.report is not None, timeout=20_000)
    return widget


@pytest.fixture
def metrics(made):
    return json.loads((made / "report" / "metrics.json").read_text())
