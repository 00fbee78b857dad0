"""Small trees of files in the shape of published data sets; the images are noise."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def write_image(path: Path, seed: int = 0, side: int = 32) -> Path:
    """Write a picture like no other: blots of random colours."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
    return path


def write_tree(root: Path, names: Iterable[str]) -> Path:
    """Write an image at each of these paths below ``root``."""
    for seed, name in enumerate(names):
        write_image(root / name, seed)
    return root
