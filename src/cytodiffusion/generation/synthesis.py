"""Synthetic cells: class-conditional sampling by diffusers' samplers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cytodiffusion.device import Batches
from cytodiffusion.errors import InputError
from cytodiffusion.generation.sampler import (
    Guidance,
    cell_noise,
    draw,
    drawn_size,
    from_pictures,
    picture,
)
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.progress import Progress, silent

#: Cells sampled at once.
BATCH = 64

#: Called at each step with the cells being drawn and what they look like so far, uint8.
Preview = Callable[[slice, NDArray[np.uint8]], None]


def sample_cells(
    model: ModelBundle,
    class_index: ArrayLike,
    *,
    seed: int = 0,
    steps: int = 40,
    guidance: float = 1.5,
    sketches: NDArray[np.uint8] | None = None,
    strength: float = 0.6,
    towards: ArrayLike | None = None,
    share: ArrayLike | None = None,
    numbers: ArrayLike | None = None,
    preview: Preview | None = None,
    progress: Progress = silent,
) -> NDArray[np.uint8]:
    """Generate cells of the asked classes in the style of the training images.

    DPM-Solver++ (Lu et al. 2022) with classifier-free guidance (Ho & Salimans 2022) against
    the null class, by the model's generator where it has one, else by its denoiser. A generator
    draws the coarse picture with fresh noise at each step (SDE-DPM-Solver++) and is guided while
    there is much noise.

    Parameters
    ----------
    class_index : (N,) integers
        Index of the class of each cell.
    seed : int
        Same seed, same cells on the same device; each cell depends on its number, by default
        its place in the list, not on its neighbours.
    steps : int
        Sampling steps, 2 to 1000.
    guidance : float
        1 samples the class as learned, more exaggerates it, 0 ignores it; 0 to 20.
    sketches : (N, S, S, 3) uint8, optional
        Drawings to start from in place of pure noise: each is noised to ``strength`` and
        denoised as its class (SDEdit, Meng et al. 2022). The drawing gives the shape, the
        model the texture.
    strength : float
        How far a sketch is noised, above 0 (hardly) to 1 (wholly); unused without sketches.
    towards : (N,) integers, optional
        Another class for each cell, to lie between the two.
    share : (N,) floats, optional
        How far to go towards it, 0 to 1; half-way where missing.
    numbers : (N,) integers, optional
        Number of each cell, 0 to 2**40, which with the seed says what noise it is drawn from.
    preview : callable
        Gets the cells of a batch at each step as they seem by then.
    progress : callable
        Called at each step; may raise ``Cancelled``.

    Returns
    -------
    (N, S, S, 3) uint8
        The cell in the centre of a window, S = `drawn_size`. Empty background is about
        235 in all channels.
    """
    index = _checked(class_index, model, seed, steps, guidance)
    other, part_of = _checked_mix(index, towards, share, model)
    size = drawn_size(model)
    drawn = None if sketches is None else _checked_sketches(sketches, len(index), strength, size)
    own = _checked_numbers(numbers, len(index)).tolist()
    wanted = Guidance(
        torch.from_numpy(index),
        torch.from_numpy(other),
        torch.from_numpy(part_of),
        torch.full((len(index),), guidance),
    )
    cells = np.empty((len(index), size, size, 3), np.uint8)

    @torch.inference_mode()
    def sampled(part: slice) -> NDArray[np.uint8]:
        sketch = None
        if drawn is not None:
            sketch = from_pictures(torch.from_numpy(np.ascontiguousarray(drawn[part])))
            sketch = sketch.to(model.device)

        def watch(done: float, seems: Callable[[], Tensor]) -> None:
            share = part.start + done * (part.stop - part.start)
            progress(share / len(index), f"sampling {len(index)} cells")
            if preview is not None:
                preview(part, picture(seems()).numpy())

        noise = cell_noise(own[part], seed, model.device)
        asked = wanted[part].to(model.device)
        return picture(draw(model, asked, noise, steps, watch, sketch, strength)).numpy()

    for part, found in Batches(BATCH, model.device).run(len(index), sampled):
        cells[part] = found
    return cells


def _checked(
    class_index: ArrayLike, model: ModelBundle, seed: int, steps: int, guidance: float
) -> NDArray[np.int64]:
    given = np.asarray(class_index).ravel()
    if given.size and given.dtype.kind not in "iu":
        raise InputError("The classes to sample must be given by their numbers.")
    index = given.astype(np.int64)
    k = len(model.untaught.classes)
    if index.size and not (index.min() >= 0 and index.max() < k):
        raise InputError(f"Class numbers must lie between 0 and {k - 1}.")
    if not 2 <= steps <= 1000:
        raise InputError(f"Sampling takes 2 to 1000 steps, not {steps}.")
    if not 0 <= seed < 2**40:
        raise InputError(f"The seed must lie between 0 and 2**40, not {seed}.")
    if not 0 <= guidance <= 20:
        raise InputError(f"The guidance must lie between 0 and 20, not {guidance}.")
    return index


def _checked_mix(
    index: NDArray[np.int64],
    towards: ArrayLike | None,
    share: ArrayLike | None,
    model: ModelBundle,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the other class and how much of it, for each cell; its own where there is none."""
    if towards is None:
        if share is not None:
            raise InputError("A share needs the other class that cells should go towards.")
        return index, np.ones(len(index), np.float32)
    other = _checked(towards, model, 0, 2, 1.0)
    part = np.broadcast_to(np.asarray(0.5 if share is None else share, np.float32), (len(index),))
    if len(other) != len(index):
        raise InputError(f"{len(index)} cells need as many other classes, not {len(other)}.")
    if part.size and not (part.min() >= 0 and part.max() <= 1):
        raise InputError("The share of the other class must lie between 0 and 1.")
    return other, part.copy()  # one share may stand for all


def _checked_numbers(numbers: ArrayLike | None, n: int) -> NDArray[np.int64]:
    if numbers is None:
        return np.arange(n, dtype=np.int64)
    own = np.asarray(numbers).ravel().astype(np.int64)
    if len(own) != n or (n and not (own.min() >= 0 and own.max() <= 2**40)):
        raise InputError(f"{n} cells need as many numbers, of 0 to 2**40.")
    return own


def _checked_sketches(
    sketches: NDArray[np.uint8], n: int, strength: float, size: int
) -> NDArray[np.uint8]:
    expected = (n, size, size, 3)
    if sketches.shape != expected or sketches.dtype != np.uint8:
        raise InputError(
            f"The sketches must be uint8 of shape {expected}, not {sketches.dtype} of "
            f"{sketches.shape}."
        )
    if not 0 < strength <= 1:
        raise InputError(f"The strength must lie above 0 and at most at 1, not {strength}.")
    return sketches
