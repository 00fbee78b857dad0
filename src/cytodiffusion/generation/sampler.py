"""One guided sampler, behind synthetic cells and counterfactuals alike.

`ClassifierDenoiser` and `StageDenoiser` give clean cells of noised ones, by the two kinds of
network that a model may have; a `Guidance` says which class each cell is to have. `solve` draws
cells from noise, `walk` goes from one noise level to the next without any chance. A model with a
generator (`cytodiffusion.model.generator`) draws in two stages, a coarse picture and its detail;
any other draws with its classifier's denoiser.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor
from torch.nn import functional as F

from cytodiffusion.device import half_precision_pays
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network, to_uint8
from cytodiffusion.model.generator import COARSE_BOUND, DETAIL_BOUND, ClassUNet, Generator
from cytodiffusion.model.schedule import LEVELS, NoiseSchedule
from cytodiffusion.model.stable_diffusion import StableDiffusionDenoiser

#: Clean values may leave -1..1 by this much on the way.
BOUND = 1.05

#: The detail, given the coarse picture, needs fewer steps; this share of them.
_DETAIL_STEPS = 0.8

#: What a network predicts is drawn towards the mean, which leaves pictures soft. With this gain the
#: power spectrum is nearest that of validation cells without a grain on the empty background.
_DETAIL_GAIN = 1.02

#: Number of the stage from which on noise is that of the steps of the coarse picture, one each.
STEPS = 2

#: Share of the noise levels that are passed, above which the coarse picture is guided: class and
#: composition come about there, and below it guidance only makes outlines and granules harsher
#: (Kynkäänniemi et al. 2024, "Applying guidance in a limited interval improves sample and
#: distribution quality in diffusion models").
GUIDED_ABOVE = 0.4

#: What is predicted is drawn towards the mean, which leaves outlines soft. With this much of what a
#: blur takes away added, the power spectrum is nearest that of validation cells.
CONTRAST = 0.25

#: Gives clean latents of noised ones ``(N, C, H, W)`` at levels ``(N,)``, in a numbered step.
Clean = Callable[[Tensor, Tensor, int], Tensor]

#: Gives noise ``(N, *shape)`` for the number of a stage and a shape.
Noise = Callable[[int, tuple[int, ...]], Tensor]

#: Called with the share done and the picture so far, ``(N, 3, S, S)`` in -1..1, made on demand.
Watch = Callable[[float, Callable[[], Tensor]], None]


@dataclass(frozen=True)
class Guidance:
    """Which class each of N cells is to have.

    Attributes
    ----------
    source, target : (N,) int64 tensor
    share : (N,) float tensor
        How far to go from the source to the target, 0 to 1.
    weight : (N,) float tensor
        Of classifier-free guidance (Ho & Salimans 2022).
    """

    source: Tensor
    target: Tensor
    share: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, part: slice) -> Self:
        return type(self)(*(value[part] for value in vars(self).values()))

    def to(self, device: torch.device) -> Self:
        """Return the same on ``device``."""
        return type(self)(*(value.to(device) for value in vars(self).values()))

    def unguided(self) -> Self:
        """Return the same without classifier-free guidance."""
        return replace(self, weight=torch.ones_like(self.weight))

    def of(self, predict: Callable[[Tensor], Tensor]) -> Tensor:
        """Combine what ``predict`` gives for source, target and no class."""
        found = predict(self.target)
        if bool((self.share != 1).any()):
            share = column(self.share)
            found = (1 - share) * predict(self.source) + share * found
        return self.guided(predict, found)

    def guided(self, predict: Callable[[Tensor], Tensor], found: Tensor) -> Tensor:
        """Go from the prediction for no class through ``found`` by the weight."""
        if bool((self.weight == 1).all()):
            return found
        plain = predict(torch.full_like(self.target, -1))
        return plain + column(self.weight) * (found - plain)


def column(values: Tensor) -> Tensor:
    """Values ``(N,)`` of N cells for their latents ``(N, C, H, W)``."""
    return values.reshape(-1, 1, 1, 1)


class ClassifierDenoiser:
    """The classifier's denoiser; one trunk pass serves all classes.

    Parameters
    ----------
    training_style : bool
        Whether cells are to look as the training images do.
    """

    def __init__(self, model: ModelBundle, training_style: bool = False):
        self.denoiser = model.denoiser
        self.training_style = training_style
        self.half = half_precision_pays(model.device)

    def __call__(self, z: Tensor, t: Tensor, guidance: Guidance) -> Tensor:
        """Clean latents of noised ones ``(N, C, H, W)`` at levels ``(N,)``."""
        denoiser = self.denoiser
        with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.half):
            if isinstance(denoiser, StableDiffusionDenoiser):
                return guidance.of(lambda index: denoiser.predict_class(z, t, index))
            out = denoiser.trunk(z, t, torch.ones_like(t) if self.training_style else None)
        return guidance.of(lambda index: denoiser.prediction_from(out, index))


class StageDenoiser:
    """One network of a generator.

    Parameters
    ----------
    bound : float
        Clean values lie within this.
    gain : float
        Clean values are multiplied by it.
    """

    def __init__(self, network: ClassUNet, device: torch.device, bound: float, gain: float = 1.0):
        self.network, self.bound, self.gain = network, bound, gain
        self.schedule = NoiseSchedule()
        self.half = half_precision_pays(device)

    def __call__(
        self, z: Tensor, t: Tensor, guidance: Guidance, given: Tensor | None = None
    ) -> Tensor:
        """Clean latents of noised ones ``(N, C, H, W)``, ``given`` a coarse picture."""
        seen = z if given is None else torch.cat([z, given], dim=1)

        def velocity(index: Tensor) -> Tensor:
            with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.half):
                return self.network(seen, t, index)  # type: ignore[no-any-return]

        clean = self.gain * self.schedule.clean_of(z, t, guidance.of(velocity))
        return clean.clamp(-self.bound, self.bound)


def cell_noise(numbers: Iterable[int], seed: int, device: torch.device) -> Noise:
    """Noise of numbered cells in each stage; it depends on seed and number alone."""

    def one(number: int, stage: int, shape: tuple[int, ...]) -> Tensor:
        if stage < STEPS:
            own = seed * 1_000_003 + number + stage * 2**61
        else:
            key = hashlib.sha256(f"{seed}/{number}/{stage}".encode()).digest()
            own = int.from_bytes(key[:8], "little")
        return torch.randn(shape, generator=torch.Generator().manual_seed(own))

    own = list(numbers)
    return lambda stage, shape: torch.stack([one(n, stage, shape) for n in own]).to(device)


def drawn_size(model: ModelBundle) -> int:
    """Side in pixels of the cells that ``model`` draws; the window is ``model.window_um`` wide."""
    return model.input_size if model.generator is None else model.generator.size


def solve(
    z: Tensor,
    clean: Clean,
    schedule: NoiseSchedule,
    steps: int,
    report: Callable[[float, Tensor], None],
    strength: float = 1.0,
    start: Tensor | None = None,
    chance: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """DPM-Solver++ (Lu et al. 2022) of second order from noise ``z``, or a noised ``start``.

    Parameters
    ----------
    z : (N, C, H, W) tensor
        Noise.
    report : callable
        Called once a step with the share done and the clean latents as they seem.
    strength : float
        Share of the noise levels that are passed; below 1 only with ``start``.
    start : (N, C, H, W) tensor, optional
        Clean latents to noise (SDEdit, Meng et al. 2022).
    chance : callable, optional
        Gives fresh noise for the number of a step, of which some replaces what is left of the old
        (SDE-DPM-Solver++), so that errors of the network do not add up; else none does.
    """
    # Fewer levels are left below the strength: spread more, so that `steps` remain.
    total = min(1000, max(steps, round(steps / strength))) if start is not None else steps
    skipped = total - steps
    scheduler = _scheduler(schedule, stochastic=chance is not None)
    scheduler.set_timesteps(total, device=z.device)
    levels = scheduler.timesteps[skipped:]
    scheduler.set_begin_index(skipped)
    if start is not None:
        z = schedule.add_noise(start, levels[:1].expand(len(z)), z)
    for number, level in enumerate(levels):
        seems = clean(z, level.expand(len(z)), number)
        fresh = None if chance is None else chance(number)
        z = scheduler.step(seems, level, z, variance_noise=fresh).prev_sample
        report((number + 1) / len(levels), seems)
    return z


def _scheduler(schedule: NoiseSchedule, *, stochastic: bool) -> DPMSolverMultistepScheduler:
    levels = {k: v for k, v in schedule.to_config().items() if k != "clip_sample"}
    return DPMSolverMultistepScheduler(
        **levels | {"prediction_type": "sample"},
        algorithm_type="sde-dpmsolver++" if stochastic else "dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )


def walk(
    z: Tensor,
    levels: Tensor,
    clean: Clean,
    schedule: NoiseSchedule,
    report: Callable[[float], None],
) -> Tensor:
    """Walk deterministically from one noise level to the next (DDIM, Song et al. 2021).

    diffusers' schedulers go through levels common to all cells; here each cell has its own.

    Parameters
    ----------
    z : (N, C, H, W) tensor
        Latents at the first levels.
    levels : (steps + 1, N) tensor
    clean : callable
        A step has the same number upwards and downwards.
    report : callable
        Called after each step with the share done.

    Returns
    -------
    (N, C, H, W) tensor
        Latents at the last levels.
    """
    steps = len(levels) - 1
    rising = bool((levels[-1] >= levels[0]).all())
    for number in range(steps):
        here, there = levels[number], levels[number + 1]
        seems = clean(z, here, number if rising else steps - 1 - number)
        epsilon = (z - schedule.signal(here) * seems) / schedule.noise(here)
        z = schedule.signal(there) * seems + schedule.noise(there) * epsilon
        report((number + 1) / steps)
    return z


def draw(
    model: ModelBundle,
    guidance: Guidance,
    noise: Noise,
    steps: int,
    watch: Watch,
    sketch: Tensor | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Draw cells ``(N, 3, S, S)`` in -1..1 by the best that a model has to draw with.

    Parameters
    ----------
    sketch : (N, 3, S, S) tensor, optional
        Pictures to start from, -1..1.
    strength : float
        How far sketches are noised.
    """
    if model.generator is not None:
        return _draw_in_stages(
            model, model.generator, guidance, noise, steps, watch, sketch, strength
        )
    codec, denoise = model.codec, ClassifierDenoiser(model, training_style=True)
    bounded = not isinstance(model.denoiser, StableDiffusionDenoiser)  # a VAE's latents are not

    def clean(z: Tensor, t: Tensor, _step: int) -> Tensor:
        found = denoise(z, t, guidance)
        return found.clamp(-BOUND, BOUND) if bounded else found

    latents = solve(
        noise(0, (codec.channels, codec.grid, codec.grid)),
        clean,
        model.schedule,
        steps,
        lambda share, seems: watch(share, lambda: codec.decode(seems)),
        strength,
        None if sketch is None else codec.encode(sketch),
    )
    return codec.decode(latents)


def _draw_in_stages(
    model: ModelBundle,
    g: Generator,
    guidance: Guidance,
    noise: Noise,
    steps: int,
    watch: Watch,
    sketch: Tensor | None,
    strength: float,
) -> Tensor:
    """Draw the coarse picture, or take that of a sketch, and then its detail."""
    coarse = draw_coarse(
        model,
        g,
        guidance,
        noise,
        steps,
        lambda share, seems: watch(0.5 * share, seems),
        None if sketch is None else g.shrink(sketch),
        strength,
    )
    return draw_detail(
        model,
        g,
        coarse,
        guidance,
        noise,
        steps,
        lambda share, seems: watch(0.5 + 0.5 * share, seems),
    )


def draw_coarse(
    model: ModelBundle,
    g: Generator,
    guidance: Guidance,
    noise: Noise,
    steps: int,
    watch: Watch,
    sketch: Tensor | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Draw coarse pictures ``(N, 3, s, s)`` in -1..1, perhaps from others."""
    base = StageDenoiser(g.base, model.device, COARSE_BOUND)
    side = g.coarse_size // g.base_patch
    shape = (3 * g.base_patch**2, side, side)
    later = replace(guidance, weight=guidance.weight.clamp(max=1))
    passed = 1.0 if sketch is None else strength  # share of the noise levels
    last_guided = GUIDED_ABOVE * passed * LEVELS

    def clean(z: Tensor, t: Tensor, _step: int) -> Tensor:
        return base(z, t, guidance if float(t[0]) > last_guided else later)

    latents = solve(
        noise(0, shape),
        clean,
        base.schedule,
        steps,
        lambda share, seems: watch(share, lambda: g.enlarge(g.unfold(seems))),
        strength,
        None if sketch is None else g.fold(sketch),
        lambda step: noise(STEPS + step, shape),
    )
    coarse = g.unfold(latents)
    lost = passed * CONTRAST  # what little noise takes from a sketch is little
    return (coarse + lost * (coarse - _blurred(coarse))).clamp(-1, 1)


def _blurred(pictures: Tensor) -> Tensor:
    """Blur pictures ``(N, 3, S, S)`` with weights of 1, 2 and 1 along both sides."""
    weights = torch.tensor([0.25, 0.5, 0.25], device=pictures.device)
    kernel = (weights[:, None] * weights).expand(pictures.shape[1], 1, 3, 3)
    wider = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(wider, kernel, groups=pictures.shape[1])


def draw_detail(
    model: ModelBundle,
    g: Generator,
    coarse: Tensor,
    guidance: Guidance,
    noise: Noise,
    steps: int,
    watch: Watch,
) -> Tensor:
    """Draw cells ``(N, 3, S, S)`` in -1..1 on their coarse pictures ``(N, 3, s, s)``.

    A detail network that was taught to draw in a number of steps draws in just these.
    """
    taught = g.detail_levels is not None
    fine = StageDenoiser(g.detail, model.device, DETAIL_BOUND, 1.0 if taught else _DETAIL_GAIN)
    unguided = guidance.unguided()
    z = noise(1, (3 * g.factor**2, g.coarse_size, g.coarse_size))

    def clean(z: Tensor, t: Tensor, _step: int) -> Tensor:
        return fine(z, t, unguided, coarse)

    def report(share: float, seems: Tensor) -> None:
        watch(share, lambda: g.with_detail(coarse, seems))

    if g.detail_levels is None:
        few = max(4, round(_DETAIL_STEPS * steps))
        detail = solve(z, clean, fine.schedule, few, report)
    else:
        levels = g.detail_levels.to(z.device)[:, None].expand(-1, len(z))
        detail = walk(z, levels, clean, fine.schedule, lambda _share: None)
        report(1.0, detail)
    return g.with_detail(coarse, detail)


def picture(cells: Tensor) -> Tensor:
    """Turn cells ``(N, 3, S, S)`` in -1..1 into ``(N, S, S, 3)`` uint8 on the CPU."""
    return to_uint8(cells).permute(0, 2, 3, 1).cpu()


def from_pictures(pixels: Tensor) -> Tensor:
    """Turn ``(N, S, S, 3)`` uint8 into cells ``(N, 3, S, S)`` in -1..1."""
    return to_network(pixels.permute(0, 3, 1, 2).float() / 255)
