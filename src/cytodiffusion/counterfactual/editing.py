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
from cytodiffusion.device import Batches, half_precision_pays
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import PixelCodec, to_network
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.generator import COARSE_BOUND, DETAIL_BOUND, ClassUNet, Generator
from cytodiffusion.model.schedule import LEVELS, NoiseSchedule
from cytodiffusion.progress import Progress

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

    def _seen(self, z: Tensor, t: Tensor, change: Change, view: Orientation) -> Tensor:
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


def _views(step: int, patch: int) -> list[Orientation]:
    """Return the views of a step: one, another for each; eight, with eight shifts, of the last."""
    if step == LAST:
        return [make_views(8, k, patch)[k] for k in range(8)]
    return [make_views(8, step, patch)[(3 * step) % 8]]


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)


#: The detail, given the coarse picture, needs fewer steps; this share of them.
_DETAIL_STEPS = 0.5

#: Detail must follow wherever the coarse picture has changed, so it is given at least this much
#: room: at a low strength the outlines of what was there before would stay.
_DETAIL_STRENGTH = 0.8


class GeneratorEditor:
    """Edits the coarse picture and then, given the edited one, its detail.

    What inversion and the walk back lose is added again in both stages.
    """

    def __init__(self, model: ModelBundle):
        assert model.generator is not None
        self.generator: Generator = model.generator
        self.schedule = NoiseSchedule()
        self.size = self.generator.size
        self.half = half_precision_pays(model.device)

    def edit(
        self, pixels: Tensor, change: Change, steps: int, noise: Noise | None, report: Report
    ) -> Tensor:
        """Edit cells; see `cytodiffusion.counterfactual.editing.Editor`."""
        g = self.generator

        def part(first: float) -> Report:
            return lambda share: report((first + share) / 2)

        coarse = g.shrink(pixels)
        edited = g.unfold(
            self._stage(
                g.base, g.fold(coarse), None, None, change, steps, noise, part(0), COARSE_BOUND, 0
            )
        )
        # The coarse picture says of the detail what the class would
        plain = replace(
            change,
            guidance=torch.ones_like(change.guidance),
            strength=change.strength.clamp(min=_DETAIL_STRENGTH),
        )
        detail = self._stage(
            g.detail,
            g.detail_of(pixels, coarse),
            coarse,
            edited,
            plain,
            max(2, round(_DETAIL_STEPS * steps)),
            noise,
            part(1),
            DETAIL_BOUND,
            1,
        )
        return g.with_detail(edited, detail)

    def _stage(
        self,
        network: ClassUNet,
        start: Tensor,
        given: Tensor | None,
        given_new: Tensor | None,
        change: Change,
        steps: int,
        noise: Noise | None,
        report: Report,
        bound: float,
        number: int,
    ) -> Tensor:
        """Edit the latents ``start`` of one stage, conditioned on coarse pictures."""
        levels = change.levels(steps)

        def part(first: float) -> Report:
            return lambda share: report((first + share) / 3)

        edit = self._cleaner(network, change, given_new, bound)
        if noise is not None:
            shape = (start.shape[1], start.shape[2], start.shape[3])
            z = self.schedule.add_noise(start, levels[-1], noise(number, shape))
            return self._down(z, levels, edit, report)
        keep = self._cleaner(network, change.unchanged(), given, bound)
        z = walk(start, levels, keep, self.schedule, part(0))
        edited = self._down(z, levels, edit, part(1))
        return edited + start - self._down(z, levels, keep, part(2))

    def _down(self, z: Tensor, levels: Tensor, clean: Clean, report: Report) -> Tensor:
        z = walk(z, levels.flip(0), clean, self.schedule, report)
        return clean(z, levels[0], LAST)

    def _cleaner(
        self, network: ClassUNet, change: Change, given: Tensor | None, bound: float
    ) -> Clean:
        def clean(z: Tensor, t: Tensor, step: int) -> Tensor:
            seen = z if given is None else torch.cat([z, given], dim=1)

            def velocity(index: Tensor) -> Tensor:
                with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.half):
                    return network(seen, t, index)  # type: ignore[no-any-return]

            found = change.guided(velocity)
            return self.schedule.clean_of(z, t, found).clamp(-bound, bound)

        return clean


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
class EditRequest:
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


def run_order(order: EditRequest, model: ModelBundle, how: HowToEdit, progress: Progress) -> Tensor:
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
    order: EditRequest,
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
