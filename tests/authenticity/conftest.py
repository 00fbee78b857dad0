"""Tests without a network: coloured discs, half of them called synthetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toys import COLORS, disc

from cytodiffusion.authenticity.sources import TestCell
from cytodiffusion.authenticity.standardise import PAPER, present
from cytodiffusion.authenticity.store import write_test

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write the file of a test of ``n`` trials."""

    def write(n: int = 12, name: str = "test.sqlite", seed: int = 0, ask: bool = True) -> Path:
        rng = np.random.default_rng(seed)
        names = sorted(COLORS)
        cells = []
        images = [present(disc(COLORS[name], rng), np.full(3, PAPER), 0) for name in names * 4]
        for number in range(n):
            image = images[number % 12]
            made = number % 2 == 1
            share = rng.random()
            cells.append(TestCell(image, made, names[number % 3], f"cell {number}", share))
        record = {"settings": {"seed": seed, "ask_class": ask, "model": "default"}}
        record |= {"side": 48, "window_um": 20.0}
        write_test(tmp_path / name, cells, names, record)
        return tmp_path / name

    return write
