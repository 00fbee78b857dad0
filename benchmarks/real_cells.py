"""Single-cell test sets of the real images, cut out as the model sees them."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cytodiffusion.crops import centre_crop
from cytodiffusion.image import open_image
from cytodiffusion.segmentation.scale import estimate_pixel_size
from cytodiffusion.stain import estimate_background

#: The classes that PBC, BCISC and SegWBC have in common.
SHARED = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")


@dataclass
class CellSample:
    """Windows ``(N, S, S, 3)``, backgrounds ``(N, 3)`` and class names of one test set."""

    name: str
    windows: np.ndarray
    backgrounds: np.ndarray
    labels: np.ndarray


def default_data() -> Path:
    here = Path(__file__).resolve().parents[1]
    return Path(os.environ.get("CYTODIFFUSION_DATA", here.parent / "shared" / "data"))


def load_sample(
    name: str,
    data: Path,
    size: int,
    window_um: float,
    limit: int | None = None,
    split: str = "test",
) -> CellSample:
    """Read ``pbc`` (a split of it), ``bcisc`` (single cells) or ``segwbc``.

    PBC's pixel size is known; that of the others is estimated image by image.
    """
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    wanted = {
        "pbc": (table["dataset"] == "pbc") & (table["split"] == split),
        "bcisc": table["path"].str.startswith("bcisc/crops/images"),
        "segwbc": table["path"].str.startswith("segwbc/images"),
    }[name]
    rows = table[wanted & (table["class"] != "")].sort_values("path")
    if limit and limit < len(rows):
        rows = rows.sample(limit, random_state=0)
    windows, backgrounds = [], []
    for path in rows["path"]:
        rgb = open_image(data / path).rgb()
        scale = 0.1 if name == "pbc" else estimate_pixel_size(rgb).pixel_size_um
        windows.append(centre_crop(rgb, scale, size, window_um))
        backgrounds.append(estimate_background(rgb))
    return CellSample(name, np.stack(windows), np.stack(backgrounds), rows["class"].to_numpy())


def add_data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of manifest.csv")
    parser.add_argument("--limit", type=int, help="images a set, drawn at random")
