"""Fixtures of the window's tests: the stand-in for the engine, and viewers to show it in."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_engine import Engine, Model, Settings, cells_frame
from napari.components import ViewerModel


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Stand-in for the classifier; the segmentation stays the real one."""
    from napari_cytodiffusion import runs

    fake = Engine()
    pipeline = types.ModuleType("cytodiffusion.pipeline")
    pipeline.iter_classify_labels = fake.batches
    pipeline.cells_frame = cells_frame
    classify = types.ModuleType("cytodiffusion.classify")
    classify.ClassifySettings = Settings
    monkeypatch.setitem(sys.modules, "cytodiffusion.pipeline", pipeline)
    monkeypatch.setitem(sys.modules, "cytodiffusion.classify", classify)
    import cytodiffusion

    monkeypatch.setattr(cytodiffusion, "pipeline", pipeline, raising=False)
    monkeypatch.setattr(runs, "_load", lambda *_: Model())
    monkeypatch.setattr(runs, "_check_promises", lambda *_: fake.refuse())
    return fake


@pytest.fixture
def smear() -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of 12 round cells in a 160 x 200 field; ids 1 to 12."""
    labels = np.zeros((160, 200), np.int32)
    y, x = np.mgrid[:160, :200]
    for number in range(12):
        cy, cx = 30 + 50 * (number // 4), 25 + 50 * (number % 4)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 15**2] = number + 1
    rgb = np.full((160, 200, 3), 235, np.uint8)
    rgb[labels > 0] = (200, 120, 140)
    return rgb, labels


@pytest.fixture
def viewer(smear: tuple[np.ndarray, np.ndarray], qtbot: Any) -> Iterator[ViewerModel]:
    """A viewer without a window, with the image and the labels at 0.1 um a pixel."""
    model = ViewerModel()
    place = {"scale": (0.1, 0.1), "translate": (5.0, 7.0), "units": ("um", "um")}
    model.add_image(smear[0], name="smear", rgb=True, **place)
    model.add_labels(smear[1], name="cells", **place)
    yield model
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)
    model.layers.clear()


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts of the notifications that would pop up."""
    from napari.utils import notifications

    heard: list[str] = []
    for name in ("show_error", "show_warning", "show_info"):
        monkeypatch.setattr(notifications, name, heard.append)
    return heard


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """Answer questions without a box; returns the list of questions asked."""
    from napari_cytodiffusion.widgets import classify, segment

    def prepare(yes: bool) -> list[str]:
        asked: list[str] = []

        def reply(parent: Any, title: str, question: str) -> bool:
            asked.append(question)
            return yes

        for module in (classify, segment):
            monkeypatch.setattr(module, "ask", reply)
        return asked

    return prepare
