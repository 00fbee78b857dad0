"""Fixtures shared by all tests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Tiny networks: threads would only wait for each other. Nothing has imported torch yet.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip window tests where nothing can draw them, or fail them where they are required."""
    if item.get_closest_marker("window") is None:
        return
    if os.environ.get("QT_QPA_PLATFORM") in {"offscreen", "minimal"}:
        reason = "needs a display with GL: install Xvfb and run `make test`"
        if os.environ.get("CYTODIFFUSION_REQUIRE_WINDOW") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real images; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("CYTODIFFUSION_DATA", ROOT.parent / "shared" / "data"))
    if not (root / "manifest.csv").is_file():
        pytest.skip("the real images are not on this machine (set CYTODIFFUSION_DATA)")
    return root


@pytest.fixture(scope="session")
def disc_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of a tiny network that the real trainer taught to tell coloured discs apart.

    The images lie beside it, in the folder ``data``.
    """
    from toys import train_on_discs

    return train_on_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run a command with ``--json``; gives its exit code and what it says."""
    from cytodiffusion.cli import main

    def call(*arguments: object) -> tuple[int, dict[str, Any]]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([*(str(a) for a in arguments), "--json"])
        out = capfd.readouterr().out
        return int(exited.value.code or 0), json.loads(out) if out.startswith("{") else {}

    return call
