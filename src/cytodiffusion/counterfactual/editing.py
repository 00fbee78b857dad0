"""From a cell to another class's version of it: there by inversion or noise, back by DDIM.

The deterministic walk of DDIM (Song et al. 2021) links a picture and its noise: walked upwards
with the class that the cell is taken for, it gives the noise which that class would have drawn
this very cell from (inversion); walked down again with another class, a cell of that class which
shares all that the noise holds. What the way there and back loses is the same for both classes
and is added again, so that with no change of class the cell comes back exactly.

Around the cell the clean picture is known at every step: it is the crop's own (blended diffusion,
Avrahami et al. 2022), so the cell is drawn between the neighbours that stay. Where the coarse
picture has changed, the detail of what was there is of no use: it is drawn from new noise, and what
inversion has lost of it is left out. Else the outline of the old cell would stay as a ghost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cytodiffusion.counterfactual.residuals import Orientation, make_views
from cytodiffusion.device import Batches
from cytodiffusion.generation.sampler import (
    BOUND,
    ClassifierDenoiser,
    Clean,
    Guidance,
    Noise,
    StageDenoiser,
    cell_noise,
    column,
    drawn_size,
    walk,
)
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import PixelCodec, to_network
from cytodiffusion.model.generator import COARSE_BOUND, DETAIL_BOUND
from cytodiffusion.model.schedule import LEVELS, NoiseSchedule
from cytodiffusion.progress import Progress

#: Walks start and end at this level: below it lies what JPEG and the sensor add.
LOWEST = 20

#: Number of the last step, from the lowest level to the clean cell.
LAST = -1

#: Cells edited at once.
BATCH = {"cpu": 16, "cuda": 128, "mps": 32}

#: The detail, given the coarse picture, needs fewer steps; this share of them.
_DETAIL_STEPS = 0.5

#: Detail must follow wherever the coarse picture has changed, so it is given at least this much
#: room: at a low strength the outlines of what was there before would stay.
_DETAIL_STRENGTH = 0.8

#: Changes of the coarse picture, -1..1: below the first all of the old detail stays, beyond the
#: second nothing; and the side in coarse pixels of the square whose largest change counts.
_SAME, _REDRAWN, _NEAR = 0.01, 0.8, 3

#: Called after each pass with the share done.
Report = Callable[[float], None]


@dataclass(frozen=True)
class Change(Guidance):
    """What is asked of each of N cells: from the class it is taken for to another.

    Attributes
    ----------
    strength : (N,) float tensor
        Share of the noise levels to go up to, above 0, at most 1.
    """

    strength: Tensor

    def levels(self, steps: int) -> Tensor:
        """Noise levels ``(steps + 1, N)`` from the lowest up to the strength of each cell."""
        top = (self.strength * (LEVELS - 1)).clamp(min=LOWEST + steps)
        share = torch.linspace(0, 1, steps + 1, device=top.device)[:, None]
        return (LOWEST + share * (top.clamp(max=LEVELS - 1) - LOWEST)).round().long()

    def of(self, predict: Callable[[Tensor], Tensor]) -> Tensor:
        """Combine the predictions; only the target is exaggerated, the cell's own class is not."""
        found = self.guided(predict, predict(self.target))
        if bool((self.share == 1).all()):
            return found
        source = predict(self.source)
        return source + column(self.share) * (found - source)

    def of_cells(self, targets: int) -> Change:
        """Return one change for each cell, where each has so many targets one after the other."""
        return type(self)(*(value[::targets] for value in vars(self).values()))

    def unchanged(self) -> Change:
        """Return the same, with no change of class."""
        one = torch.ones_like(self.weight)
        return Change(self.source, self.source, one, one, self.strength)


class EditSettings(Protocol):
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


def edit_cells(
    unit: Tensor,
    numbers: NDArray[np.int64],
    change: Change,
    model: ModelBundle,
    settings: EditSettings,
    progress: Progress,
    room: NDArray[np.float32] | None = None,
) -> Tensor:
    """Edit normalised crops.

    Parameters
    ----------
    unit : (N, 3, S, S) tensor
        Normalised crops, 0..1.
    numbers : (N,) int64
        Which cell each is of; with the seed it says what noise is added.
    change : Change
        On the CPU; of N * M versions, so that each cell has M targets one after the other, at one
        strength. All targets of a cell share its inversion.
    room : (N, S, S) float32, optional
        1 where a picture may change, 0 where it stays. Only a generator heeds it while it draws.
        Where it is missing, all may change and no noise is new, so that a turned cell gives the
        turned version.

    Returns
    -------
    (N * M, 3, S, S) tensor
        Normalised, 0..1, on the CPU.
    """
    n, size = len(unit), drawn_size(model)
    targets = len(change.target) // max(n, 1)
    result = unit.repeat_interleave(targets, dim=0)

    @torch.inference_mode()
    def edited(part: slice) -> Tensor:
        def report(share: float) -> None:
            done = part.start + share * (part.stop - part.start)
            progress(done / n, f"editing {n} cells" if n > 1 else "editing the cell")

        noise = cell_noise(numbers[part].tolist(), settings.seed, model.device)
        pixels = to_network(unit[part]).to(model.device)
        large = _resized(pixels, size)
        wanted = change[_versions(part, targets)].to(model.device)
        free = None
        if room is not None:
            free = _resized(torch.from_numpy(room[part][:, None]).to(large), size)
        inverted = settings.method == "inversion"
        found = edit(model, large, wanted, settings.steps, noise, report, inverted, free)
        pixels, large = (p.repeat_interleave(targets, dim=0) for p in (pixels, large))
        found = pixels + _resized(found - large, pixels.shape[-1])
        return ((found + 1) / 2).clamp(0, 1).cpu()

    together = settings.batch_size or BATCH.get(model.device.type, 16)
    batches = Batches(max(1, together // max(targets, 1)), model.device)
    for part, found in batches.run(n, edited):
        result[_versions(part, targets)] = found
    return result


def _versions(part: slice, targets: int) -> slice:
    """Where the versions of some cells are."""
    return slice(part.start * targets, part.stop * targets)


def _resized(pixels: Tensor, size: int) -> Tensor:
    if pixels.shape[-1] == size:
        return pixels
    return F.interpolate(
        pixels, size=(size, size), mode="bicubic", align_corners=False, antialias=True
    )


def edit(
    model: ModelBundle,
    pixels: Tensor,
    change: Change,
    steps: int,
    noise: Noise,
    report: Report,
    inverted: bool = True,
    room: Tensor | None = None,
) -> Tensor:
    """Turn cells into other classes' versions of them, by the best that a model has.

    Parameters
    ----------
    pixels : (N, 3, S, S) tensor
        Normalised crops of the size that the model draws, -1..1.
    change : Change
        Of N * M versions, M for each cell.
    steps : int
        Of each walk.
    noise : callable
        Gives the noise of a stage for each cell.
    report : callable
        May raise to stop.
    inverted : bool
        Whether the cell is inverted; else the noise is added to it (SDEdit, Meng et al. 2022).
    room : (N, 1, S, S) tensor, optional
        Where the picture may change, see `edit_cells`.

    Returns
    -------
    (N * M, 3, S, S) tensor
    """
    if model.generator is not None:
        stages = _Stages(model, len(change.target) // len(pixels), noise, inverted, report)
        return stages.edit(pixels, change, steps, room)
    codec, targets = model.codec, len(change.target) // len(pixels)
    found, back = _there_and_back(
        codec.encode(pixels),
        change.levels(steps),
        targets,
        _seen_in_views(model, change),
        _seen_in_views(model, change.of_cells(targets).unchanged()),
        model.schedule,
        None if inverted else noise(0, (codec.channels, codec.grid, codec.grid)),
        report,
    )
    edited = codec.decode(found)
    if back is None:
        return edited
    return (pixels - codec.decode(back)).repeat_interleave(targets, dim=0) + edited


def _there_and_back(
    start: Tensor,
    levels: Tensor,
    targets: int,
    edit: Clean,
    keep: Clean,
    schedule: NoiseSchedule,
    epsilon: Tensor | None,
    report: Report,
    *,
    room: Tensor | None = None,
    renew: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Latents with the change and, where they were inverted, what comes back without it.

    ``edit`` is given each of the N cells for all of its targets, ``keep`` once; ``levels`` are
    those of all versions. Outside its ``room`` a cell stays; ``renew`` is given the latents that
    inversion has found for all versions.
    """
    own = levels[:, ::targets]

    def part(first: float) -> Report:
        return lambda share: report((first + share) / 3)

    def down(z: Tensor, levels: Tensor, clean: Clean, report: Report) -> Tensor:
        if room is not None:
            clean = _held(clean, start, room, len(z) // len(start))
        z = walk(z, levels.flip(0), clean, schedule, report)
        return clean(z, levels[0], LAST)

    if epsilon is not None:
        z = schedule.add_noise(start, own[-1], epsilon).repeat_interleave(targets, dim=0)
        return down(z, levels, edit, report), None
    z = walk(start, own, keep, schedule, part(0))
    several = z.repeat_interleave(targets, dim=0)
    edited = down(several if renew is None else renew(several), levels, edit, part(1))
    return edited, down(z, own, keep, part(2))


def _held(clean: Clean, start: Tensor, room: Tensor, targets: int) -> Clean:
    """Clean latents that are the cell's own where there is no room for a change."""
    start, room = (one.repeat_interleave(targets, dim=0) for one in (start, room))
    return lambda z, t, step: start + room * (clean(z, t, step) - start)


def _seen_in_views(model: ModelBundle, change: Change) -> Clean:
    """Clean latents by the classifier's denoiser.

    Each step sees the cell turned, flipped and shifted by a part of a patch (cycle spinning), the
    last in all turns and flips, so that the patches of the latents leave hardly any grid.
    """
    codec, denoise = model.codec, ClassifierDenoiser(model)

    def clean(z: Tensor, t: Tensor, step: int) -> Tensor:
        if not isinstance(codec, PixelCodec):
            return denoise(z, t, change)
        found = []
        for view in _views(step, codec.patch):
            turned = codec.encode(view.apply(codec.decode(z)))
            found.append(view.undo(codec.decode(denoise(turned, t, change))))
        return codec.encode(torch.stack(found).mean(dim=0).clamp(-BOUND, BOUND))

    return clean


def _views(step: int, patch: int) -> list[Orientation]:
    """Return the views of a step: one, another for each; eight, with eight shifts, of the last."""
    if step == LAST:
        return [make_views(8, k, patch)[k] for k in range(8)]
    return [make_views(8, step, patch)[(3 * step) % 8]]


@dataclass(frozen=True, eq=False)
class _Stages:
    """Edits the coarse picture and then, given the edited one, its detail.

    What inversion and the walk back lose is added again in both stages, where the coarse picture
    has not changed.
    """

    model: ModelBundle
    targets: int
    noise: Noise
    inverted: bool
    report: Report

    def edit(self, pixels: Tensor, change: Change, steps: int, room: Tensor | None) -> Tensor:
        """Return the versions of ``pixels (N, 3, S, S)``, which may change in their ``room``."""
        g = self.model.generator
        assert g is not None
        coarse = g.shrink(pixels)
        free = folded = None
        if room is not None:
            free = g.shrink(room)
            folded = g.fold(free.expand(-1, 3, -1, -1))
        old, start = self._several(coarse), g.fold(coarse)
        base = StageDenoiser(g.base, self.model.device, COARSE_BOUND)
        found, lost = self._stage(0, start, change, steps, base, folded, (None, None))
        found, lost = g.unfold(found), g.unfold(lost)
        edited = found + (lost if room is None else _kept(old - lost, found) * lost)
        # The coarse picture says of the detail what the class would
        plain = replace(change.unguided(), strength=change.strength.clamp(min=_DETAIL_STRENGTH))
        fewer = max(2, round(_DETAIL_STEPS * steps))
        fine = StageDenoiser(g.detail, self.model.device, DETAIL_BOUND)
        start, kept = g.detail_of(pixels, coarse), None if room is None else _kept(old, edited)
        given = (coarse, edited)
        detail, lost = self._stage(1, start, plain, fewer, fine, free, given, kept)
        return g.with_detail(edited, detail + (lost if kept is None else kept * lost))

    def _stage(
        self,
        number: int,
        start: Tensor,
        change: Change,
        steps: int,
        denoise: StageDenoiser,
        room: Tensor | None,
        given: tuple[Tensor | None, Tensor | None],
        kept: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Edit ``start``, which was and is now ``given`` a coarse picture; and what is lost by it.

        Of the noise that inversion finds, the share ``kept`` stays.
        """
        same, levels = change.of_cells(self.targets).unchanged(), change.levels(steps)
        epsilon = self.noise(number, tuple(start.shape[1:]))
        old, new = given

        def renewed(z: Tensor) -> Tensor:
            if kept is None:
                return z
            fresh = denoise.schedule.noise(levels[-1]) * self._several(epsilon)
            return kept.sqrt() * z + (1 - kept).sqrt() * fresh

        edited, back = _there_and_back(
            start,
            levels,
            self.targets,
            lambda z, t, _: denoise(z, t, change, new),
            lambda z, t, _: denoise(z, t, same, old),
            denoise.schedule,
            None if self.inverted else epsilon,
            lambda share: self.report((number + share) / 2),
            room=room,
            renew=renewed,
        )
        if back is None:
            return edited, torch.zeros_like(edited)
        return edited, self._several(start - back)

    def _several(self, cells: Tensor) -> Tensor:
        """Each of the cells once for each of its targets."""
        return cells.repeat_interleave(self.targets, dim=0)


def _kept(before: Tensor, after: Tensor) -> Tensor:
    """How much of the old detail stays, ``(N, 1, s, s)``, where a coarse picture has changed."""
    apart = (after - before).abs().amax(dim=1, keepdim=True)
    near = F.max_pool2d(apart, _NEAR, stride=1, padding=_NEAR // 2)
    return (1 - (near - _SAME) / (_REDRAWN - _SAME)).clamp(0, 1)
