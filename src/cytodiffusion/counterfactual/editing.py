"""From a cell to another class's version of it: there by inversion or noise, back by DDIM.

The deterministic walk of DDIM (Song et al. 2021) links a picture and its noise: walked upwards
with the class that the cell is taken for, it gives the noise which that class would have drawn
this very cell from (inversion); walked down again with another class, a cell of that class which
shares all that the noise holds. What the way there and back loses is the same for both classes
and is added again, so that with no change of class the cell comes back exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cytodiffusion.device import half_precision_pays
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import PixelCodec
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.noise import LEVELS, NoiseSchedule

from .residuals import View, make_views

#: Walks start and end at this level: below it lies what JPEG and the sensor add.
LOWEST = 20
#: Number of the last step, from the lowest level to the clean cell.
LAST = -1
#: Clean values may leave -1..1 by this much on the way.
_BOUND = 1.05

#: Gives clean latents of noised ones ``(N, C, H, W)`` at levels ``(N,)``, in a step whose number is
#: the same upwards and downwards.
Clean = Callable[[Tensor, Tensor, int], Tensor]
#: Gives noise ``(N, *shape)`` for the number of a stage and a shape.
Noise = Callable[[int, tuple[int, int, int]], Tensor]
#: Called after each pass with the share done.
Report = Callable[[float], None]


@dataclass(frozen=True)
class Change:
    """What is asked of each of N cells.

    Attributes
    ----------
    source, target : (N,) int64 tensor
        Class that the cell is taken for, and the one it is to become.
    share : (N,) float tensor
        How far to go from the one to the other, 0 to 1.
    strength : (N,) float tensor
        Share of the noise levels to go up to, above 0, at most 1.
    guidance : (N,) float tensor
        Weight of classifier-free guidance with the target.
    """

    source: Tensor
    target: Tensor
    share: Tensor
    strength: Tensor
    guidance: Tensor

    def __getitem__(self, part: slice) -> Change:
        return Change(*(value[part] for value in vars(self).values()))

    def levels(self, steps: int) -> Tensor:
        """Noise levels ``(steps + 1, N)`` from the lowest up to the strength of each cell."""
        top = (self.strength * (LEVELS - 1)).clamp(min=LOWEST + steps)
        share = torch.linspace(0, 1, steps + 1, device=top.device)[:, None]
        return (LOWEST + share * (top.clamp(max=LEVELS - 1) - LOWEST)).round().long()

    def guided(self, predict: Callable[[Tensor], Tensor]) -> Tensor:
        """Combine what ``predict`` says of source, target and no class (Ho & Salimans 2022)."""
        target = predict(self.target)
        if bool((self.guidance != 1).any()):
            plain = predict(torch.full_like(self.target, -1))
            target = plain + _column(self.guidance) * (target - plain)
        if bool((self.share == 1).all()):
            return target
        source = predict(self.source)
        return source + _column(self.share) * (target - source)

    def unchanged(self) -> Change:
        """Return the same, with no change of class."""
        one = torch.ones_like(self.guidance)
        return Change(self.source, self.source, one, self.strength, one)


class Editor(Protocol):
    """Turns cells into other classes' versions of them."""

    size: int  #: side of a cell's window in pixels

    def edit(
        self, pixels: Tensor, change: Change, steps: int, noise: Noise | None, report: Report
    ) -> Tensor:
        """Edit cells.

        Parameters
        ----------
        pixels : (N, 3, S, S) tensor
            Normalised crops, -1..1.
        change : Change
        steps : int
            Of each walk.
        noise : callable, optional
            Gives noise to add (SDEdit, Meng et al. 2022); the cell is inverted where it is None.
        report : callable
            May raise to stop.

        Returns
        -------
        (N, 3, S, S) tensor
        """
        ...


def walk(
    z: Tensor, levels: Tensor, clean: Clean, schedule: NoiseSchedule, report: Report
) -> Tensor:
    """Walk deterministically from one noise level to the next (DDIM, Song et al. 2021).

    diffusers' schedulers go through levels common to all cells; here each cell has its own.

    Parameters
    ----------
    z : (N, C, H, W) tensor
        Latents at the first levels.
    levels : (steps + 1, N) tensor
    clean : callable
    schedule : NoiseSchedule
    report : callable

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


class DenoiserEditor:
    """Edits with the classifier's denoiser; one trunk pass a step serves all classes.

    Each step sees the cell turned, flipped and shifted by a part of a patch (cycle spinning), the
    last in all turns and flips, so that the patches of the latents leave hardly any grid.
    """

    def __init__(self, model: ModelBundle):
        self.model = model
        self.size = model.input_size
        self.half = half_precision_pays(model.device)

    def edit(
        self, pixels: Tensor, change: Change, steps: int, noise: Noise | None, report: Report
    ) -> Tensor:
        """Edit cells; see `Editor`."""
        codec, schedule = self.model.codec, self.model.schedule
        levels = change.levels(steps)
        start = codec.encode(pixels)
        if noise is not None:
            epsilon = noise(0, (codec.channels, codec.grid, codec.grid))
            z = schedule.add_noise(start, levels[-1], epsilon)
            return codec.decode(self._down(z, levels, change, report))

        def part(first: float) -> Report:
            return lambda share: report((first + share) / 3)

        same = change.unchanged()
        z = walk(start, levels, self._cleaner(same), schedule, part(0))
        edited = codec.decode(self._down(z, levels, change, part(1)))
        back = codec.decode(self._down(z, levels, same, part(2)))
        return pixels + edited - back

    def _down(self, z: Tensor, levels: Tensor, change: Change, report: Report) -> Tensor:
        clean = self._cleaner(change)
        z = walk(z, levels.flip(0), clean, self.model.schedule, report)
        return clean(z, levels[0], LAST)

    def _cleaner(self, change: Change) -> Clean:
        codec = self.model.codec

        def clean(z: Tensor, t: Tensor, step: int) -> Tensor:
            if not isinstance(codec, PixelCodec):
                return self._predict(z, t, change)
            found = [self._seen(z, t, change, view) for view in _views(step, codec.patch)]
            return codec.encode(torch.stack(found).mean(dim=0).clamp(-_BOUND, _BOUND))

        return clean

    def _seen(self, z: Tensor, t: Tensor, change: Change, view: View) -> Tensor:
        """Clean pixels as they are predicted in one view."""
        codec = self.model.codec
        turned = codec.encode(view.apply(codec.decode(z)))
        return view.undo(codec.decode(self._predict(turned, t, change)))

    def _predict(self, z: Tensor, t: Tensor, change: Change) -> Tensor:
        denoiser = self.model.denoiser
        with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.half):
            if not isinstance(denoiser, UNetDenoiser):
                return change.guided(lambda index: denoiser.predict_class(z, t, index))
            out = denoiser.trunk(z, t)
        return change.guided(lambda index: denoiser.prediction_from(out, index))


def _views(step: int, patch: int) -> list[View]:
    """Return the views of a step: one, another for each; eight, with eight shifts, of the last."""
    if step == LAST:
        return [make_views(8, k, patch)[k] for k in range(8)]
    return [make_views(8, step, patch)[(3 * step) % 8]]


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)
