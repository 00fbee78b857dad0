"""A tiny model with a generator; its classifier knows nothing, so tests say what it accepts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cytodiffusion.generation import sampler
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.testing import tiny_bundle, tiny_generator

NAMES = ("eosinophil", "neutrophil", "platelet")


@pytest.fixture(autouse=True, scope="package")
def full_precision() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "half_precision_pays", lambda device: False)
        yield


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generating") / "tiny"
    return tiny_bundle(folder, NAMES, generator=tiny_generator(len(NAMES)))


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> ModelBundle:
    return load_bundle(tiny_path, device="cpu")
