"""Made-up laboratories: draws of stain, focus, camera and size that all cells of one share.

What the denoiser makes of their cells is kept, so that what is common to a laboratory can be
learned from it (`cytodiffusion.training.laboratory`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cytodiffusion.classify import ClassifySettings, gather_evidence
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import WHITE, to_unit

from .augment import augment
from .data import CellSet, generator_for
from .outlines import Outlines
from .settings import TrainSettings

#: Cells of each class in a made-up laboratory, at most.
OF_EACH = 10
#: Every so many laboratories is the one that the cells are from: there nothing is to be changed.
HOME_EVERY = 4
#: Trials a cell: as many as every cell gets before the first test.
TRIALS = 3


@dataclass(frozen=True)
class Laboratories:
    """What a denoiser makes of the cells of L made-up laboratories.

    Attributes
    ----------
    logits : (L, N, K) float32 tensor
        Over the temperature.
    embedding : (L, N, D) float32 tensor
    labels : (L, N) int64 tensor
    """

    logits: Tensor
    embedding: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> Laboratories:
        return Laboratories(self.logits[index], self.embedding[index], self.labels[index])

    def __add__(self, other: Laboratories) -> Laboratories:
        pairs = zip(self.parts().values(), other.parts().values(), strict=True)
        return Laboratories(*(torch.cat(pair) for pair in pairs))

    def parts(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {"logits": self.logits, "embedding": self.embedding, "labels": self.labels}


def joined(parts: Sequence[Laboratories]) -> Laboratories:
    """Laboratories of several stores as one; there must be some."""
    first, *others = parts
    for other in others:
        first = first + other
    return first


def kept_laboratories(path: Path, cells: int, classes: int, width: int) -> Laboratories | None:
    """Read what was made before; None where there is nothing.

    Raises
    ------
    InputError
        If it is damaged, or not of so many ``cells`` and ``classes`` and embeddings of ``width``.
    """
    if not path.is_file():
        return None
    try:
        # copies: the file itself is replaced later on
        found = Laboratories(**{k: v.clone() for k, v in load_file(path).items()})
        n = len(found)
        shapes = [tuple(part.shape) for part in found.parts().values()]
        if shapes != [(n, cells, classes), (n, cells, width), (n, cells)]:
            raise ValueError("shapes")
        if found.labels.dtype != torch.int64 or not all(
            part.isfinite().all() for part in found.parts().values()
        ):
            raise ValueError("entries")
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged; remove it to start again.") from error
    return found


def make_laboratories(
    model: ModelBundle, cells: CellSet, settings: TrainSettings, numbers: Sequence[int]
) -> Iterator[Laboratories]:
    """Yield one laboratory after the other; each depends on the seed and its number alone.

    Parameters
    ----------
    model : ModelBundle
    cells : CellSet
        Labelled cells to draw from.
    settings : TrainSettings
        Its ``augment`` says what laboratories differ in, its ``seed`` which they are.
    numbers : sequence of int
    """
    outlines = Outlines(cells.pixels, model.window_um / model.input_size)
    budget = ClassifySettings(trials=TRIALS, min_trials=TRIALS, seed=settings.seed)
    for number in numbers:
        index = draw_cells(cells.labels, settings.seed, number)
        windows = [_as_seen(cells, i, number, settings, outlines) for i in index.tolist()]
        evidence = gather_evidence(
            np.stack(windows),
            model,
            budget,
            background=np.full((len(windows), 3), 255 * WHITE, np.float32),
            stop_early=False,
        )
        logits = torch.from_numpy(evidence.logits / model.calibration.temperature).float()
        embedding = torch.from_numpy(evidence.embedding)
        yield Laboratories(logits[None], embedding[None], cells.labels[index][None])


def draw_cells(labels: Tensor, seed: int, number: int) -> Tensor:
    """Cells of a laboratory: as many of each class, but of classes with few cells fewer.

    All laboratories have as many cells, so that they can be stacked.
    """
    generator = generator_for(seed, number, "laboratory")
    parts = []
    for k in range(int(labels.max()) + 1):
        of_class = (labels == k).nonzero().squeeze(1)
        parts.append(of_class[torch.randperm(len(of_class), generator=generator)[:OF_EACH]])
    return torch.cat(parts)


def _as_seen(
    cells: CellSet, cell: int, number: int, settings: TrainSettings, outlines: Outlines
) -> NDArray[np.uint8]:
    """Window ``(S, S, 3)`` of a cell in a laboratory: every cell there meets the same draws."""
    index = torch.tensor([cell])
    home = {"plain_share": 1.0} if number % HOME_EVERY == 0 else {}
    look = settings.augment.model_copy(update=home)
    generator = generator_for(settings.seed, number, "look of a laboratory")
    unit = to_unit(cells.pixels[index], cells.backgrounds[index])
    masks = partial(_masks_of, outlines, index)
    window, _ = augment(unit, settings.input_size, generator, look, masks)
    pixels = (window[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
    return np.asarray(pixels.numpy())


def _masks_of(outlines: Outlines, index: Tensor, rows: Tensor) -> Tensor:
    return outlines(index[rows])
