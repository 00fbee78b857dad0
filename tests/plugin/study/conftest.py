"""A study with two images of six cells each, as the stand-in for the engine classified them."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import fill_classified

from cytodiffusion.study import Study
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of the study; its images are ``a.png`` and ``b.png``."""
    with Study.create(tmp_path / "study") as study:
        for number, name in enumerate(("a.png", "b.png")):
            fill_classified(study, tmp_path / "images" / name, seed=number)
    return tmp_path / "study"


@pytest.fixture
def opened(viewer, qtbot):
    """Open the study of a folder in the window; it is closed when nothing is learned any more."""

    def open_study(folder):
        viewer.layers.clear()
        current = CurrentStudy.of(Session.of(viewer))
        assert current.open(folder)
        return current

    yield open_study
    reviewing = Reviewing.of(Session.of(viewer))
    qtbot.waitUntil(lambda: reviewing._job is None, timeout=20_000)
    CurrentStudy.of(Session.of(viewer)).close()
