"""From a cell to another class's version of it: there by inversion or noise, back by DDIM.

The deterministic walk of DDIM (Song et al. 2021) links a picture and its noise: walked upwards
with the class that the cell is taken for, it gives the noise which that class would have drawn
this very cell from (inversion); walked down again with another class, a cell of that class which
shares all that the noise holds. What the way there and back loses is the same for both classes
and is added again, so that with no change of class the cell comes back exactly.
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
from cytodiffusion.model.generator import COARSE_BOUND, DETAIL_BOUND, Generator
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

        noise = None
        if settings.method == "noise":
            noise = cell_noise(numbers[part].tolist(), settings.seed, model.device)
        pixels = to_network(unit[part]).to(model.device)
        large = _resized(pixels, size)
        wanted = change[_versions(part, targets)].to(model.device)
        found = edit(model, large, wanted, settings.steps, noise, report)
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
    noise: Noise | None,
    report: Report,
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
    noise : callable, optional
        Gives noise to add (SDEdit, Meng et al. 2022); the cell is inverted where it is None.
    report : callable
        May raise to stop.

    Returns
    -------
    (N * M, 3, S, S) tensor
    """
    if model.generator is not None:
        return _edit_in_stages(model, model.generator, pixels, change, steps, noise, report)
    codec, targets = model.codec, len(change.target) // len(pixels)
    found, back = _there_and_back(
        codec.encode(pixels),
        change.levels(steps),
        targets,
        _seen_in_views(model, change),
        _seen_in_views(model, change.of_cells(targets).unchanged()),
        model.schedule,
        None if noise is None else noise(0, (codec.channels, codec.grid, codec.grid)),
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
) -> tuple[Tensor, Tensor | None]:
    """Latents with the change and, where they were inverted, what comes back without it.

    ``edit`` is given each of the N cells for all of its targets, ``keep`` once; ``levels`` are
    those of all versions.
    """
    own = levels[:, ::targets]

    def part(first: float) -> Report:
        return lambda share: report((first + share) / 3)

    def down(z: Tensor, levels: Tensor, clean: Clean, report: Report) -> Tensor:
        z = walk(z, levels.flip(0), clean, schedule, report)
        return clean(z, levels[0], LAST)

    if epsilon is not None:
        z = schedule.add_noise(start, own[-1], epsilon).repeat_interleave(targets, dim=0)
        return down(z, levels, edit, report), None
    z = walk(start, own, keep, schedule, part(0))
    edited = down(z.repeat_interleave(targets, dim=0), levels, edit, part(1))
    return edited, down(z, own, keep, part(2))


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


def _edit_in_stages(
    model: ModelBundle,
    g: Generator,
    pixels: Tensor,
    change: Change,
    steps: int,
    noise: Noise | None,
    report: Report,
) -> Tensor:
    """Edit the coarse picture and then, given the edited one, its detail.

    What inversion and the walk back lose is added again in both stages.
    """
    targets = len(change.target) // len(pixels)

    def stage(
        number: int,
        denoise: StageDenoiser,
        start: Tensor,
        change: Change,
        steps: int,
        given: Tensor | None = None,
        given_new: Tensor | None = None,
    ) -> Tensor:
        same = change.of_cells(targets).unchanged()
        edited, back = _there_and_back(
            start,
            change.levels(steps),
            targets,
            lambda z, t, _: denoise(z, t, change, given_new),
            lambda z, t, _: denoise(z, t, same, given),
            denoise.schedule,
            None if noise is None else noise(number, tuple(start.shape[1:])),
            lambda share: report((number + share) / 2),
        )
        if back is None:
            return edited
        return edited + (start - back).repeat_interleave(targets, dim=0)

    coarse = g.shrink(pixels)
    base = StageDenoiser(g.base, model.device, COARSE_BOUND)
    edited = g.unfold(stage(0, base, g.fold(coarse), change, steps))
    # The coarse picture says of the detail what the class would
    plain = replace(change.unguided(), strength=change.strength.clamp(min=_DETAIL_STRENGTH))
    fine = StageDenoiser(g.detail, model.device, DETAIL_BOUND)
    fewer = max(2, round(_DETAIL_STEPS * steps))
    detail = stage(1, fine, g.detail_of(pixels, coarse), plain, fewer, coarse, edited)
    return g.with_detail(edited, detail)
