"""A model that can be taught and a study to teach it from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from teachable import add_classified, annotate, teachable_bundle, truth_of

from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.study import Study


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """Knows lymphocytes, monocytes and neutrophils."""
    return teachable_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def empty(tmp_path: Path, model: ModelBundle) -> Iterator[Study]:
    """A study of 120 classified cells, 40 of them blasts, that nobody looked at."""
    with Study.create(tmp_path / "study") as study:
        add_classified(study, tmp_path / "images" / "a.png", model, truth_of(120, 40))
        yield study


@pytest.fixture
def study(empty: Study) -> Study:
    """The same with 90 cells that Ada gave their true classes."""
    annotate(empty, list(empty.cells().index[:90]), truth_of(120, 40)[:90])
    return empty
