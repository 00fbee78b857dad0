"""The solver behind synthetic cells, and the two ways to ask a model for them.

`Painter` is what sampling asks of a model: a number of stages, each a diffusion of its own.
A model with a generator (`cytodiffusion.model.generator`) has two stages; any other has one, its
classifier's denoiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from cytodiffusion.device import half_precision_pays
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network, to_uint8
from cytodiffusion.model.generator import COARSE_BOUND, DETAIL_BOUND, ClassUNet, Generator
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.model.stable_diffusion import StableDiffusionDenoiser

#: Clean values may leave -1..1 by this much while a cell is drawn.
_BOUND = 1.05

#: The detail, given the coarse picture, needs fewer steps; this share of them.
_DETAIL_STEPS = 0.8

#: What a network predicts is drawn towards the mean, which leaves pictures soft. With this gain the
#: power spectrum is nearest that of validation cells without a grain on the empty background.
_DETAIL_GAIN = 1.02

#: Gives the clean latents of noised ones ``(N, C, H, W)`` at a noise level.
Clean = Callable[[Tensor, int], Tensor]

#: Called with the share done and the picture so far, ``(N, 3, S, S)`` in -1..1, made on demand.
Watch = Callable[[float, Callable[[], Tensor]], None]


@dataclass(frozen=True)
class CellRequest:
    """What is asked of each of N cells.

    Attributes
    ----------
    classes : (N,) int64 tensor
    towards : (N,) int64 tensor
        Another class.
    share : (N,) float tensor
        How much of the other class; 0 for none.
    guidance : float
        Weight of classifier-free guidance.
    """

    classes: Tensor
    towards: Tensor
    share: Tensor
    guidance: float

    @property
    def mixed(self) -> bool:
        """Whether any cell lies between two classes."""
        return bool((self.share > 0).any())

    def guided(self, predict: Callable[[Tensor], Tensor]) -> Tensor:
        """Combine what ``predict`` says for the classes and for none (Ho & Salimans 2022)."""
        asked = predict(self.classes)
        if self.mixed:
            share = self.share.reshape(-1, 1, 1, 1)
            asked = (1 - share) * asked + share * predict(self.towards)
        if self.guidance == 1:
            return asked
        plain = predict(torch.full_like(self.classes, -1))
        return plain + self.guidance * (asked - plain)


class Painter(Protocol):
    """Draws cells from noise."""

    size: int  #: side of a cell's window in pixels

    def paint(
        self,
        wish: CellRequest,
        noise: Callable[[int, tuple[int, int, int]], Tensor],
        steps: int,
        sketch: Tensor | None,
        strength: float,
        watch: Watch,
    ) -> Tensor:
        """Draw cells ``(N, 3, S, S)`` in -1..1.

        Parameters
        ----------
        wish : CellRequest
        noise : callable
            Gives noise ``(N, *shape)`` for the number of a stage and a shape.
        steps : int
        sketch : (N, 3, S, S) tensor, optional
            Pictures to start from, -1..1.
        strength : float
            How far sketches are noised.
        watch : callable
        """
        ...


def painter_of(model: ModelBundle) -> Painter:
    """Return the best that a model has to draw cells with."""
    return DenoiserPainter(model) if model.generator is None else GeneratorPainter(model)


def solve(
    z: Tensor,
    clean: Clean,
    schedule: NoiseSchedule,
    steps: int,
    strength: float,
    start: Tensor | None,
    report: Callable[[float, Tensor], None],
) -> Tensor:
    """DPM-Solver++ (Lu et al. 2022) of second order from noise ``z``, or a noised ``start``.

    Parameters
    ----------
    z : (N, C, H, W) tensor
        Noise.
    clean : callable
    schedule : NoiseSchedule
    steps : int
    strength : float
        Share of the noise levels that are passed; below 1 only with ``start``.
    start : (N, C, H, W) tensor, optional
        Clean latents to noise (SDEdit, Meng et al. 2022).
    report : callable
        Called once a step with the share done and the clean latents as they seem.
    """
    # Fewer levels are left below the strength: spread more, so that `steps` remain.
    total = min(1000, max(steps, round(steps / strength))) if start is not None else steps
    skipped = total - steps
    scheduler = _scheduler(schedule)
    scheduler.set_timesteps(total, device=z.device)
    levels = scheduler.timesteps[skipped:]
    scheduler.set_begin_index(skipped)
    if start is not None:
        z = schedule.add_noise(start, levels[:1].expand(len(z)), z)
    for number, level in enumerate(levels):
        seems = clean(z, int(level))
        z = scheduler.step(seems, level, z).prev_sample
        report((number + 1) / len(levels), seems)
    return z


def _scheduler(schedule: NoiseSchedule) -> DPMSolverMultistepScheduler:
    levels = {k: v for k, v in schedule.to_config().items() if k != "clip_sample"}
    return DPMSolverMultistepScheduler(
        **levels | {"prediction_type": "sample"},
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )


class DenoiserPainter:
    """Draws with the classifier's denoiser; one trunk pass a step serves all classes."""

    def __init__(self, model: ModelBundle):
        self.model = model
        self.size = model.input_size
        self.half = half_precision_pays(model.device)

    def paint(
        self,
        wish: CellRequest,
        noise: Callable[[int, tuple[int, int, int]], Tensor],
        steps: int,
        sketch: Tensor | None,
        strength: float,
        watch: Watch,
    ) -> Tensor:
        """Draw cells; see `Painter`."""
        codec = self.model.codec
        start = None if sketch is None else codec.encode(sketch)
        latents = solve(
            noise(0, (codec.channels, codec.grid, codec.grid)),
            lambda z, level: self._clean(z, level, wish),
            self.model.schedule,
            steps,
            strength,
            start,
            lambda share, seems: watch(share, lambda: codec.decode(seems)),
        )
        return codec.decode(latents)

    def _clean(self, z: Tensor, level: int, wish: CellRequest) -> Tensor:
        denoiser = self.model.denoiser
        t = torch.full((len(z),), level, device=z.device)
        with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.half):
            if isinstance(denoiser, StableDiffusionDenoiser):  # a VAE's latents have no bounds
                return wish.guided(lambda index: denoiser.predict_class(z, t, index))
            out = denoiser.trunk(z, t, torch.ones_like(t))
        clean = wish.guided(lambda index: denoiser.prediction_from(out, index))
        return clean.clamp(-_BOUND, _BOUND)


class GeneratorPainter:
    """Draws the coarse picture, then its detail."""

    def __init__(self, model: ModelBundle):
        assert model.generator is not None
        self.generator: Generator = model.generator
        self.schedule = NoiseSchedule()
        self.size = self.generator.size
        self.half = half_precision_pays(model.device)

    def paint(
        self,
        wish: CellRequest,
        noise: Callable[[int, tuple[int, int, int]], Tensor],
        steps: int,
        sketch: Tensor | None,
        strength: float,
        watch: Watch,
    ) -> Tensor:
        """Draw cells; see `Painter`. A sketch gives the coarse picture; its detail is drawn."""
        g, base = self.generator, 0.5
        side = g.coarse_size // g.base_patch
        latents = solve(
            noise(0, (3 * g.base_patch**2, side, side)),
            lambda z, level: self._coarse(z, level, wish),
            self.schedule,
            steps,
            strength,
            None if sketch is None else g.fold(g.shrink(sketch)),
            lambda share, seems: watch(base * share, lambda: g.enlarge(g.unfold(seems))),
        )
        coarse = g.unfold(latents).clamp(-1, 1)
        plain = CellRequest(wish.classes, wish.towards, wish.share, 1.0)
        detail = solve(
            noise(1, (3 * g.factor**2, g.coarse_size, g.coarse_size)),
            lambda z, level: self._detail(z, level, plain, coarse),
            self.schedule,
            max(4, round(_DETAIL_STEPS * steps)),
            1.0,
            None,
            lambda share, seems: watch(
                base + (1 - base) * share, lambda: g.with_detail(coarse, seems)
            ),
        )
        return g.with_detail(coarse, detail)

    def _coarse(self, z: Tensor, level: int, wish: CellRequest) -> Tensor:
        velocity = wish.guided(lambda index: self._velocity(self.generator.base, z, level, index))
        return self._clean(z, level, velocity).clamp(-COARSE_BOUND, COARSE_BOUND)

    def _detail(self, z: Tensor, level: int, wish: CellRequest, coarse: Tensor) -> Tensor:
        network, seen = self.generator.detail, torch.cat([z, coarse], dim=1)
        velocity = wish.guided(lambda index: self._velocity(network, seen, level, index))
        clean = _DETAIL_GAIN * self._clean(z, level, velocity)
        return clean.clamp(-DETAIL_BOUND, DETAIL_BOUND)

    def _velocity(self, network: ClassUNet, z: Tensor, level: int, index: Tensor) -> Tensor:
        t = torch.full((len(z),), level, device=z.device)
        with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.half):
            return network(z, t, index)  # type: ignore[no-any-return]

    def _clean(self, z: Tensor, level: int, velocity: Tensor) -> Tensor:
        t = torch.tensor([level], device=z.device)
        return self.schedule.clean_of(z, t, velocity)


def picture(cells: Tensor) -> Tensor:
    """Turn cells ``(N, 3, S, S)`` in -1..1 into ``(N, S, S, 3)`` uint8 on the CPU."""
    return to_uint8(cells).permute(0, 2, 3, 1).cpu()


def from_pictures(pixels: Tensor) -> Tensor:
    """Turn ``(N, S, S, 3)`` uint8 into cells ``(N, 3, S, S)`` in -1..1."""
    return to_network(pixels.permute(0, 3, 1, 2).float() / 255)
