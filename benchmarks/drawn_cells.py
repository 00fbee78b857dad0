"""Synthetic cells in the layout of real ones."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from cytodiffusion.generation import GeneratedCells
from cytodiffusion.generation.generate import BACKGROUND
from cytodiffusion.training.data import CONTEXT, CellSet


def as_cells(drawn: GeneratedCells, names: list[str], size: int) -> CellSet:
    """Put synthetic cells into the layout of real ones; the context is mirrored."""
    side = drawn.pixels.shape[1]
    margin = round(side * (CONTEXT - 1) / 2)
    wide = np.pad(drawn.pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "reflect")
    context = (round(size * CONTEXT),) * 2
    small = np.stack([cv2.resize(cell, context, interpolation=cv2.INTER_AREA) for cell in wide])
    return CellSet(
        torch.from_numpy(small).permute(0, 3, 1, 2).contiguous(),
        torch.tensor([names.index(name) for name in drawn.classes]),
        torch.from_numpy(BACKGROUND).expand(len(small), 3).contiguous(),
        [f"synthetic {name}" for name in drawn.classes],
    )
