"""Fixtures of the window's tests: the stand-in for the engine, and viewers to show it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine
from napari.components import ViewerModel
from qtpy.QtCore import QSettings

from napari_cytodiffusion import remembered
from napari_cytodiffusion.session import Session


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the window remembers is that of one test, never that of whoever runs the tests."""
    path = str(tmp_path / "remembered.ini")
    monkeypatch.setattr(remembered, "store", lambda: QSettings(path, QSettings.Format.IniFormat))


@pytest.fixture
def engine() -> FakeEngine:
    """Stand-in for the classifier; the segmentation stays the real one."""
    return FakeEngine()


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
def viewer(
    smear: tuple[np.ndarray, np.ndarray], engine: FakeEngine, qtbot: Any
) -> Iterator[ViewerModel]:
    """A viewer without a window, with the image and the labels at 0.1 um a pixel."""
    model = ViewerModel()
    session = Session.of(model, engine)
    place = {"scale": (0.1, 0.1), "translate": (5.0, 7.0), "units": ("um", "um")}
    model.add_image(smear[0], name="smear", rgb=True, **place)
    model.add_labels(smear[1], name="cells", **place)
    yield model
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)
    model.layers.clear()
    session.close()


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
    from napari_cytodiffusion.classify import widget as classify
    from napari_cytodiffusion.segment import widget as segment

    def prepare(yes: bool) -> list[str]:
        asked: list[str] = []

        def reply(parent: Any, title: str, question: str) -> bool:
            asked.append(question)
            return yes

        for module in (classify, segment):
            monkeypatch.setattr(module, "ask", reply)
        return asked

    return prepare
