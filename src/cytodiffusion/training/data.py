"""Training data: the records of a data set read into memory as context crops."""

from __future__ import annotations

import hashlib
from collections import Counter
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
from cytodiffusion.training.traits import values_of
from cytodiffusion.traits import Trait

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
    traits : (N, T) int64 tensor, optional
        Index of the value of each trait; -1 where it is not known.
    laboratories, slides : list of str, optional
        Where each crop is from; empty where it is not told.
    told : tuple of Trait
        What the columns of ``traits`` mean.
    """

    pixels: Tensor
    labels: Tensor
    backgrounds: Tensor
    paths: list[str]
    prints: Fingerprints | None = None
    traits: Tensor | None = None
    laboratories: list[str] | None = None
    slides: list[str] | None = None
    told: tuple[Trait, ...] = ()

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
            None if self.traits is None else self.traits[rows],
            None if self.laboratories is None else [self.laboratories[i] for i in index],
            None if self.slides is None else [self.slides[i] for i in index],
            self.told,
        )

    def of_laboratory(self, name: str) -> CellSet:
        """Return the crops of one laboratory, all of them where the name is empty.

        InputError where that laboratory has no crop with a class.
        """
        if not name:
            return self
        names = self.laboratories or []
        index = [i for i, own in enumerate(names) if own == name]
        if not any(self.labels[i] >= 0 for i in index):
            known = ", ".join(sorted(set(names) - {""})) or "none that is named"
            raise InputError(
                f"There is no validation cell of the laboratory {name!r} to calibrate on; the data "
                f"have {known}."
            )
        return self.take(index)

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
    traits: Sequence[Trait] = (),
) -> tuple[CellSet, list[str]]:
    """Read images into a `CellSet`; return it with a sentence on each that could not be read."""
    index = {name: i for i, name in enumerate(names)}
    side = round(size * CONTEXT)
    pixels = np.empty((len(records), side, side, 3), np.uint8)
    labels: list[int] = []
    backgrounds, paths, prints, skipped = [], [], [], []
    readers = readers_of(records, pixel_size_um, progress)
    read: list[Record] = []
    for number, record in enumerate(records):
        if number % 50 == 0:
            progress(number / len(records), f"reading images, {number} of {len(records)}")
        try:
            cell = readers[folder_of(record)].read(record.path)
            crop = cell.crop(side, window_um * side / size, centred=record.centred)
        except CytoDiffusionError as error:
            skipped.append(naming(record.path, error))
            continue
        pixels[len(labels)] = crop
        labels.append(index[record.label] if record.label else UNLABELLED)
        backgrounds.append(cell.background)
        paths.append(str(record.path))
        prints.append(take_fingerprints(cell.rgb))
        read.append(record)
    if not labels:
        raise InputError(f"None of the {len(records)} images could be read: {skipped[0]}")
    cells = CellSet(
        torch.from_numpy(pixels[: len(labels)]).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(labels),
        torch.from_numpy(np.stack(backgrounds)),
        paths,
        Fingerprints.of([Path(path) for path in paths], prints),
        values_of(read, traits),
        [record.laboratory or "" for record in read],
        [record.slide or record.group or "" for record in read],
        tuple(traits),
    )
    return cells, skipped


def folder_of(record: Record) -> tuple[str | None, float | None]:
    """Tell what images are measured together: those of one laboratory and pixel size."""
    return record.laboratory, record.pixel_size_um


def readers_of(
    records: Sequence[Record], pixel_size_um: float | None, progress: Progress
) -> dict[tuple[str | None, float | None], SingleCells]:
    """Open the images of each laboratory; a pixel size in the table goes before the common one."""
    together: dict[tuple[str | None, float | None], list[Path]] = {}
    for record in records:
        together.setdefault(folder_of(record), []).append(record.path)
    return {
        key: SingleCells(paths, key[1] or pixel_size_um, at_start(progress))
        for key, paths in together.items()
    }


class BalancedSampler:
    """Draws batches by step number, so that a resumed run sees what an unbroken one would.

    Parameters
    ----------
    labels : (N,) int64 tensor
    balance : float
        0 draws images alike, 1 draws classes alike.
    laboratories, slides : list of str, optional
        Where each image is from.
    laboratory_balance : float
        0 draws the images of a class alike, 1 its laboratories, and of each of them its slides.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        seed: int,
        balance: float = 0.5,
        laboratories: Sequence[str] | None = None,
        slides: Sequence[str] | None = None,
        laboratory_balance: float = 0.5,
    ):
        keys: list[tuple[object, ...]] = [(int(k),) for k in labels.tolist()]
        self.weights = _evened(keys, balance)
        for names in (laboratories, slides):
            if names is None:
                continue
            inside: list[tuple[object, ...]] = [
                (*key, name) for key, name in zip(keys, names, strict=True)
            ]
            self.weights = self.weights * _evened_within(keys, inside, laboratory_balance)
            keys = inside
        self.batch_size = batch_size
        self.seed = seed

    def __call__(self, step: int) -> Tensor:
        """Draw the indices ``(batch_size,)`` of the batch of ``step``."""
        generator = generator_for(self.seed, step, "batch")
        few = len(self.weights) < self.batch_size  # a few dozen crops fill a batch only repeatedly
        return torch.multinomial(self.weights, self.batch_size, few, generator=generator)


def _evened(keys: Sequence[tuple[object, ...]], balance: float) -> Tensor:
    """Weights ``(N,)`` that draw groups as often as their size to the power ``1 - balance``."""
    counts = Counter(keys)
    return torch.tensor([counts[key] ** -balance for key in keys], dtype=torch.float64)


def _evened_within(
    outer: Sequence[tuple[object, ...]], inner: Sequence[tuple[object, ...]], balance: float
) -> Tensor:
    """Weights ``(N,)`` that even the inner groups out, and leave each outer one its sum."""
    weights = _evened(inner, balance)
    sums: dict[tuple[object, ...], float] = {}
    for key, weight in zip(outer, weights.tolist(), strict=True):
        sums[key] = sums.get(key, 0.0) + weight
    counts = Counter(outer)
    scale = torch.tensor([counts[key] / sums[key] for key in outer], dtype=torch.float64)
    return weights * scale


def generator_for(seed: int, step: int, purpose: str) -> torch.Generator:
    """Random generator that depends on nothing but the seed, the step and the purpose."""
    key = hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
