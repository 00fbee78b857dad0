"""Editing with a model's generator: the coarse picture first, then its detail."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cytodiffusion.device import half_precision_pays
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.generator import COARSE_BOUND, DETAIL_BOUND, ClassUNet, Generator
from cytodiffusion.model.noise import NoiseSchedule

from .editing import LAST, Change, Clean, Noise, Report, walk

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
