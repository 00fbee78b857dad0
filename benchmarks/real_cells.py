"""Single cells of PBC, cut out as the model sees them."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background

PIXEL_SIZE_UM = 0.1


@dataclass
class CellSample:
    """Windows ``(N, S, S, 3)``, backgrounds ``(N, 3)`` and class names of one split."""

    windows: np.ndarray
    backgrounds: np.ndarray
    labels: np.ndarray


def default_data() -> Path:
    here = Path(__file__).resolve().parents[1]
    return Path(os.environ.get("CYTODIFFUSION_DATA", here.parent / "shared" / "data"))


def load_sample(
    data: Path,
    size: int,
    window_um: float,
    limit: int | None = None,
    split: str = "test",
) -> CellSample:
    """Read a split of PBC, whose pixel size is known."""
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    wanted = (table["dataset"] == "pbc") & (table["split"] == split) & (table["class"] != "")
    rows = table[wanted].sort_values("path")
    if limit and limit < len(rows):
        rows = rows.sample(limit, random_state=0)
    images = [open_image(data / path).rgb() for path in rows["path"]]
    return CellSample(
        np.stack([centre_crop(rgb, PIXEL_SIZE_UM, size, window_um) for rgb in images]),
        np.stack([estimate_background(rgb) for rgb in images]),
        rows["class"].to_numpy(),
    )


def add_data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of manifest.csv")
    parser.add_argument("--limit", type=int, help="images a set, drawn at random")
