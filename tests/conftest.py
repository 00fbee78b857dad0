"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real images; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("CYTODIFFUSION_DATA", ROOT.parent / "shared" / "data"))
    if not (root / "manifest.csv").is_file():
        pytest.skip("the real images are not on this machine (set CYTODIFFUSION_DATA)")
    return root
