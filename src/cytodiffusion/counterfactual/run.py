"""Edits many cells in batches that fit the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cytodiffusion.memory import Batches
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network
from cytodiffusion.progress import Progress

from .cascade import GeneratorEditor
from .editing import Change, DenoiserEditor, Editor, Noise

#: Cells edited at once.
BATCH = {"cpu": 16, "cuda": 128, "mps": 32}


class HowToEdit(Protocol):
    """What editing takes from its settings."""

    @property
    def steps(self) -> int:
        """Steps of each walk."""

    @property
    def seed(self) -> int:
        """Seed of the noise."""

    @property
    def method(self) -> str:
        """``inversion`` or ``noise``."""

    @property
    def batch_size(self) -> int | None:
        """Cells at once."""


@dataclass(frozen=True, eq=False)
class Order:
    """N edits; see `cytodiffusion.counterfactual.editing.Change`.

    Attributes
    ----------
    unit : (N, 3, S, S) tensor
        Normalised crops, 0..1.
    numbers : (N,) int64
        Which cell each is of; with the seed it says what noise is added.
    source, target : (N,) int64
    share, strength, guidance : (N,) float32
    """

    unit: Tensor
    numbers: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    share: NDArray[np.float32]
    strength: NDArray[np.float32]
    guidance: NDArray[np.float32]

    def change(self, part: slice, device: torch.device) -> Change:
        """Return what is asked of some of them."""
        names = ("source", "target", "share", "strength", "guidance")
        values = (torch.from_numpy(getattr(self, name)[part]) for name in names)
        return Change(*(value.to(device) for value in values))


def editor_of(model: ModelBundle) -> Editor:
    """Return the best that a model has to edit cells with."""
    return DenoiserEditor(model) if model.generator is None else GeneratorEditor(model)


def edited_size(model: ModelBundle) -> int:
    """Side in pixels at which cells are edited; crops of that size keep the most detail."""
    return editor_of(model).size


def run_order(order: Order, model: ModelBundle, how: HowToEdit, progress: Progress) -> Tensor:
    """Edit all cells.

    Returns
    -------
    (N, 3, S, S) tensor
        Normalised, 0..1, on the CPU.

    Raises
    ------
    OutOfMemoryError
        If the memory does not suffice for one cell at a time.
    """
    editor = editor_of(model)
    n = len(order.unit)
    result = torch.empty_like(order.unit)
    batches = Batches(how.batch_size or BATCH.get(model.device.type, 16), model.device)
    for part, edited in batches.run(n, lambda p: _edit(order, p, editor, model, how, progress)):
        result[part] = edited
    return result


@torch.inference_mode()
def _edit(
    order: Order,
    part: slice,
    editor: Editor,
    model: ModelBundle,
    how: HowToEdit,
    progress: Progress,
) -> Tensor:
    n = len(order.unit)

    def noise(stage: int, shape: tuple[int, int, int]) -> Tensor:
        numbers = order.numbers[part].tolist()
        return torch.stack([_noise(shape, how.seed, k, stage) for k in numbers]).to(model.device)

    def report(share: float) -> None:
        done = part.start + share * (part.stop - part.start)
        progress(done / n, f"editing {n} cells" if n > 1 else "editing the cell")

    given: Noise | None = noise if how.method == "noise" else None
    pixels = to_network(order.unit[part]).to(model.device)
    large = _resized(pixels, editor.size)
    edited = editor.edit(large, order.change(part, model.device), how.steps, given, report)
    edited = pixels + _resized(edited - large, pixels.shape[-1])
    return ((edited + 1) / 2).clamp(0, 1).cpu()


def _resized(pixels: Tensor, size: int) -> Tensor:
    if pixels.shape[-1] == size:
        return pixels
    return F.interpolate(
        pixels, size=(size, size), mode="bicubic", align_corners=False, antialias=True
    )


def _noise(shape: tuple[int, int, int], seed: int, number: int, stage: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number + stage * 2**61)
    return torch.randn(shape, generator=generator)
