"""A study with two images of six cells each, as the stand-in for the engine classified them."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import fill_classified

from cytodiffusion.study import Study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of the study; its images are ``a.png`` and ``b.png``."""
    with Study.create(tmp_path / "study") as study:
        for number, name in enumerate(("a.png", "b.png")):
            fill_classified(study, tmp_path / "images" / name, seed=number)
    return tmp_path / "study"
