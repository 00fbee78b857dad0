"""A study with one image, ready to be worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from studies import fill

from cytodiffusion.study import Study


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Study]]:
    """Make a study ``study`` with one image ``a.png`` of some cells; open studies are closed."""
    opened: list[Study] = []

    def call(cells: int = 6) -> Study:
        study = Study.create(tmp_path / "study")
        opened.append(study)
        fill(study, tmp_path / "images" / "a.png", cells)
        return study

    yield call
    for study in opened:
        study.close()
