"""Synthetic cells: class-conditional sampling by diffusers' samplers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from numpy.typing import ArrayLike, NDArray

from cytodiffusion.device import half_precision_pays
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_uint8
from cytodiffusion.progress import Progress, silent

#: Cells sampled at once.
BATCH = 64


def sample_cells(
    model: ModelBundle,
    class_index: ArrayLike,
    *,
    seed: int = 0,
    steps: int = 40,
    guidance: float = 1.5,
    progress: Progress = silent,
) -> NDArray[np.uint8]:
    """Generate cells of the asked classes in the style of the training laboratory.

    DPM-Solver++ (Lu et al. 2022) with classifier-free guidance (Ho & Salimans 2022) against
    the null class; one trunk pass a step serves both.

    Parameters
    ----------
    model : ModelBundle
    class_index : (N,) integers
        Index of the class of each cell.
    seed : int
        Same seed, same cells on the same device; each cell depends on its place in the
        list, not on its neighbours.
    steps : int
        Sampling steps, 2 to 1000.
    guidance : float
        1 samples the class as learned, more exaggerates it, 0 ignores it; 0 to 20.
    progress : callable
        Called once a step; may raise ``Cancelled``.

    Returns
    -------
    (N, S, S, 3) uint8
        The cell in the centre of a window of the model's size.

    Raises
    ------
    InputError
        If a class, the seed, the steps or the guidance are out of range.
    """
    given = np.asarray(class_index).ravel()
    if given.size and given.dtype.kind not in "iu":
        raise InputError("The classes to sample must be given by their numbers.")
    index = given.astype(np.int64)
    k = len(model.classes)
    if index.size and not (index.min() >= 0 and index.max() < k):
        raise InputError(f"Class numbers must lie between 0 and {k - 1}.")
    if not 2 <= steps <= 1000:
        raise InputError(f"Sampling takes 2 to 1000 steps, not {steps}.")
    if not 0 <= seed < 2**40:
        raise InputError(f"The seed must lie between 0 and 2**40, not {seed}.")
    if not 0 <= guidance <= 20:
        raise InputError(f"The guidance must lie between 0 and 20, not {guidance}.")
    cells = np.empty((len(index), model.input_size, model.input_size, 3), np.uint8)
    for start in range(0, len(index), BATCH):
        part = index[start : start + BATCH]

        def report(share: float, first: int = start, n: int = len(part)) -> None:
            done = first + share * n
            progress(done / len(index), f"sampling {len(index)} cells")

        numbers = range(start, start + len(part))
        cells[start : start + len(part)] = _sample(
            model, part, numbers, seed, steps, guidance, report
        )
    return cells


@torch.inference_mode()
def _sample(
    model: ModelBundle,
    index: NDArray[np.int64],
    numbers: range,
    seed: int,
    steps: int,
    guidance: float,
    report: Callable[[float], None],
) -> NDArray[np.uint8]:
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(steps, device=model.device)
    codec, device = model.codec, model.device
    shape = (1, codec.channels, codec.grid, codec.grid)
    noise = [
        torch.randn(shape, generator=torch.Generator().manual_seed(seed * 1_000_003 + number))
        for number in numbers
    ]
    z = torch.cat(noise).to(device) * scheduler.init_noise_sigma
    classes = torch.from_numpy(index).to(device)
    null = torch.full_like(classes, -1)
    half = half_precision_pays(device)
    for number, level in enumerate(scheduler.timesteps):
        t = torch.full((len(index),), int(level), device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            out = model.denoiser.trunk(z, t, torch.ones_like(t))
        plain = model.denoiser.prediction_from(out, null)
        asked = model.denoiser.prediction_from(out, classes)
        clean = (plain + guidance * (asked - plain)).clamp(-1.05, 1.05)
        z = scheduler.step(clean, level, z).prev_sample
        report((number + 1) / steps)
    return to_uint8(codec.decode(z)).permute(0, 2, 3, 1).cpu().numpy()
