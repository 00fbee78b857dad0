"""Synthetic cells: class-conditional sampling by diffusers' samplers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cytodiffusion.device import half_precision_pays
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network, to_uint8
from cytodiffusion.model.noise import NoiseSchedule
from cytodiffusion.model.stable_diffusion import StableDiffusionDenoiser
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
    sketches: NDArray[np.uint8] | None = None,
    strength: float = 0.6,
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
    sketches : (N, S, S, 3) uint8, optional
        Drawings to start from in place of pure noise: each is noised to ``strength`` and
        denoised as its class (SDEdit, Meng et al. 2022). The drawing gives the shape, the
        model the texture.
    strength : float
        How far a sketch is noised, above 0 (hardly) to 1 (wholly); unused without sketches.
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
    index = _checked(class_index, model, seed, steps, guidance)
    drawn = None if sketches is None else _checked_sketches(sketches, len(index), strength, model)
    sampler = _Sampler(model, seed, steps, guidance, strength if drawn is not None else 1.0)
    cells = np.empty((len(index), model.input_size, model.input_size, 3), np.uint8)
    for start in range(0, len(index), BATCH):
        part = slice(start, min(start + BATCH, len(index)))

        def report(share: float, first: int = start, last: int = part.stop) -> None:
            done = first + share * (last - first)
            progress(done / len(index), f"sampling {len(index)} cells")

        given = None if drawn is None else drawn[part]
        cells[part] = sampler.run(index[part], range(start, part.stop), given, report)
    return cells


def _checked(
    class_index: ArrayLike, model: ModelBundle, seed: int, steps: int, guidance: float
) -> NDArray[np.int64]:
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
    return index


def _checked_sketches(
    sketches: NDArray[np.uint8], n: int, strength: float, model: ModelBundle
) -> NDArray[np.uint8]:
    expected = (n, model.input_size, model.input_size, 3)
    if sketches.shape != expected or sketches.dtype != np.uint8:
        raise InputError(
            f"The sketches must be uint8 of shape {expected}, not {sketches.dtype} of "
            f"{sketches.shape}."
        )
    if not 0 < strength <= 1:
        raise InputError(f"The strength must lie above 0 and at most at 1, not {strength}.")
    return sketches


class _Sampler:
    """DPM-Solver++ over the noise levels below ``strength``."""

    def __init__(self, model: ModelBundle, seed: int, steps: int, guidance: float, strength: float):
        self.model, self.seed, self.guidance = model, seed, guidance
        self.half = half_precision_pays(model.device)
        # Fewer levels are left below the strength: spread more, so that `steps` remain.
        self.total = min(1000, max(steps, round(steps / strength)))
        self.skipped = self.total - steps if strength < 1 else 0

    @torch.inference_mode()
    def run(
        self,
        index: NDArray[np.int64],
        numbers: range,
        sketches: NDArray[np.uint8] | None,
        report: Callable[[float], None],
    ) -> NDArray[np.uint8]:
        """Sample cells ``(N, S, S, 3)`` of the classes ``index``."""
        model, codec, device = self.model, self.model.codec, self.model.device
        scheduler = _scheduler(model.schedule)
        scheduler.set_timesteps(self.total, device=device)
        levels = scheduler.timesteps[self.skipped :]
        scheduler.set_begin_index(self.skipped)
        shape = (1, codec.channels, codec.grid, codec.grid)
        z = torch.cat([_noise(shape, self.seed, number) for number in numbers]).to(device)
        if sketches is not None:
            planes = torch.from_numpy(np.ascontiguousarray(sketches)).permute(0, 3, 1, 2)
            clean = codec.encode(to_network(planes.float() / 255)).to(device)
            z = model.schedule.add_noise(clean, levels[:1].expand(len(index)), z)
        classes = torch.from_numpy(index).to(device)
        for number, level in enumerate(levels):
            clean = self._predict(z, int(level), classes)
            z = scheduler.step(clean, level, z).prev_sample
            report((number + 1) / len(levels))
        return to_uint8(codec.decode(z)).permute(0, 2, 3, 1).cpu().numpy()

    def _predict(self, z: Tensor, level: int, classes: Tensor) -> Tensor:
        denoiser = self.model.denoiser
        t = torch.full((len(z),), level, device=z.device)
        nothing = torch.full_like(classes, -1)
        with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.half):
            if isinstance(denoiser, StableDiffusionDenoiser):
                plain = denoiser.predict_class(z, t, nothing)
                asked = denoiser.predict_class(z, t, classes)
                return plain + self.guidance * (asked - plain)  # a VAE's latents have no bounds
            out = denoiser.trunk(z, t, torch.ones_like(t))
        plain = denoiser.prediction_from(out, nothing)
        asked = denoiser.prediction_from(out, classes)
        return (plain + self.guidance * (asked - plain)).clamp(-1.05, 1.05)


def _noise(shape: tuple[int, ...], seed: int, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    return torch.randn(shape, generator=generator)


def _scheduler(schedule: NoiseSchedule) -> DPMSolverMultistepScheduler:
    levels = {k: v for k, v in schedule.to_config().items() if k != "clip_sample"}
    return DPMSolverMultistepScheduler(
        **levels | {"prediction_type": "sample"},
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )
