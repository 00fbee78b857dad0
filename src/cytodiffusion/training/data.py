"""Training data: the records of a data set read into memory as context crops."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.cells.single_cell import SingleCells, at_start
from cytodiffusion.datasets import SPLITS, Record, class_names, find_records
from cytodiffusion.datasets.fingerprints import Fingerprints, take_fingerprints
from cytodiffusion.datasets.seen import TrainingImages
from cytodiffusion.errors import CytoDiffusionError, InputError, naming
from cytodiffusion.progress import Progress, silent

#: Crops are kept this much wider than the window, so that they can turn and shift.
CONTEXT = 4 / 3

__all__ = [
    "CONTEXT",
    "SPLITS",
    "UNLABELLED",
    "BalancedSampler",
    "CellSet",
    "Record",
    "class_names",
    "find_records",
    "generator_for",
    "load_cells",
]

#: Label of a crop whose class is not known.
UNLABELLED = -1


@dataclass
class CellSet:
    """Context crops in memory.

    Attributes
    ----------
    pixels : (N, 3, S, S) uint8 tensor
        Crops ``CONTEXT`` times as wide as the window.
    labels : (N,) int64 tensor
        Class index; -1 for unlabelled crops.
    backgrounds : (N, 3) float32 tensor
        Colour of the empty background, 0 to 255.
    paths : list of str
    prints : Fingerprints, optional
        Of the images that the crops are from.
    """

    pixels: Tensor
    labels: Tensor
    backgrounds: Tensor
    paths: list[str]
    prints: Fingerprints | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> TrainingImages | None:
        """What a model that is trained on them keeps, to know them again."""
        return None if self.prints is None else TrainingImages.of(self.prints)

    def take(self, index: Sequence[int]) -> CellSet:
        """Return some of the crops, in the given order."""
        rows = torch.tensor(index, dtype=torch.int64)
        return CellSet(
            self.pixels[rows],
            self.labels[rows],
            self.backgrounds[rows],
            [self.paths[i] for i in index],
            None if self.prints is None else self.prints.take(index),
        )

    def digest(self) -> str:
        """Return what tells these crops and labels from others."""
        found = hashlib.sha256(np.ascontiguousarray(self.pixels.numpy()).data)
        found.update(np.ascontiguousarray(self.labels.numpy()).data)
        return f"{len(self)}-{found.hexdigest()[:16]}"

    def __add__(self, other: CellSet) -> CellSet:
        """Return the crops of both, which are of the same size; without fingerprints."""
        return CellSet(
            torch.cat([self.pixels, other.pixels]),
            torch.cat([self.labels, other.labels]),
            torch.cat([self.backgrounds, other.backgrounds]),
            [*self.paths, *other.paths],
        )

    def windows(self, size: int) -> NDArray[np.uint8]:
        """Return the central windows as ``(N, size, size, 3)`` uint8."""
        margin = (self.pixels.shape[-1] - size) // 2
        inner = self.pixels[:, :, margin : margin + size, margin : margin + size]
        return np.ascontiguousarray(inner.permute(0, 2, 3, 1).numpy())


def load_cells(
    records: Sequence[Record],
    names: Sequence[str],
    *,
    size: int,
    window_um: float,
    pixel_size_um: float | None,
    progress: Progress = silent,
) -> tuple[CellSet, list[str]]:
    """Read images into a `CellSet`."""
    index = {name: i for i, name in enumerate(names)}
    side = round(size * CONTEXT)
    pixels = np.empty((len(records), side, side, 3), np.uint8)
    labels: list[int] = []
    backgrounds, paths, prints, skipped = [], [], [], []
    images = SingleCells([r.path for r in records], pixel_size_um, at_start(progress))
    for number, record in enumerate(records):
        if number % 50 == 0:
            progress(number / len(records), f"reading images, {number} of {len(records)}")
        try:
            cell = images.read(record.path)
            crop = cell.crop(side, window_um * side / size)
        except CytoDiffusionError as error:
            skipped.append(naming(record.path, error))
            continue
        pixels[len(labels)] = crop
        labels.append(index[record.label] if record.label else UNLABELLED)
        backgrounds.append(cell.background)
        paths.append(str(record.path))
        prints.append(take_fingerprints(cell.rgb))
    if not labels:
        raise InputError(f"None of the {len(records)} images could be read: {skipped[0]}")
    cells = CellSet(
        torch.from_numpy(pixels[: len(labels)]).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(labels),
        torch.from_numpy(np.stack(backgrounds)),
        paths,
        Fingerprints.of([Path(path) for path in paths], prints),
    )
    return cells, skipped


class BalancedSampler:
    """Draws batches by step number, so that a resumed run sees what an unbroken one would.

    Parameters
    ----------
    labels : (N,) int64 tensor
    balance : float
        0 draws images alike, 1 draws classes alike.
    """

    def __init__(self, labels: Tensor, batch_size: int, seed: int, balance: float = 0.5):
        _, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
        self.weights = counts.double()[inverse].pow(-balance)
        self.batch_size = batch_size
        self.seed = seed

    def __call__(self, step: int) -> Tensor:
        """Draw the indices ``(batch_size,)`` of the batch of ``step``."""
        generator = generator_for(self.seed, step, "batch")
        few = len(self.weights) < self.batch_size  # a few dozen crops fill a batch only repeatedly
        return torch.multinomial(self.weights, self.batch_size, few, generator=generator)


def generator_for(seed: int, step: int, purpose: str) -> torch.Generator:
    """Random generator that depends on nothing but the seed, the step and the purpose."""
    key = hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
