"""Teaching the generator's detail network against a critic, so that its texture is that of cells.

The critic sees parts of cells as parts of photographs are. Details are drawn in a few steps, later
too.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network, to_unit
from cytodiffusion.model.generator import DETAIL_BOUND, Generator
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training import adversarial
from cytodiffusion.training.adversarial import AdversarialLoss, AdversarialTrainer, teach
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.generator import PART, mirrored
from cytodiffusion.training.settings import TrainSettings

#: Noise on coarse pictures of real cells that details are drawn on; drawn ones are not exact.
ROUGHNESS = 0.04
#: Pixels at the border of a part that the critic does not see: the network sees no neighbour there.
MARGIN = 4
#: How much stronger the critic sees fine differences of lightness and of colour.
GAINS = (12.0, 30.0)
#: Share of the drawings that begin with pure noise; the others begin with a noised real detail.
FROM_NOISE = 0.4


class DetailLoss(AdversarialLoss):
    """The detail network and its critic, with the losses of both.

    Parameters
    ----------
    generator : Generator
        Its detail network is taught.
    weight : float
        Of what the critic says of the network's drawings.
    """

    def __init__(self, generator: Generator, weight: float):
        levels = generator.detail_levels
        assert levels is not None
        super().__init__(generator, "detail", weight, GAINS, levels, DETAIL_BOUND)
        self._generator = [generator]  # in a list, so that its other network is not trained

    def forward(
        self,
        clean: Tensor,
        t: Tensor,
        epsilon: Tensor,
        classes: Tensor,
        given: Tensor,
        coarse: Tensor,
        begun: Tensor,
        noise: Tensor,
        drawn_as: Tensor,
        first: Tensor,
        real: Tensor,
        real_classes: Tensor,
        listened: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Parameters
        ----------
        clean, t, epsilon, classes, given
            As of `cytodiffusion.training.generator.VelocityLoss`.
        coarse : (N, 3, s, s) tensor
            Coarse pictures to draw the detail of.
        begun, noise : (N, C, s, s) tensor
            Details to begin the drawing with, and noise.
        drawn_as : (N,) int64 tensor
            Classes of ``coarse``.
        first : () int64 tensor
            Step that the drawing begins at; at 0 ``begun`` does not matter.
        real : (N, 3, S, S) tensor
            Parts of real cells.
        real_classes : (N,) int64 tensor
        listened : () tensor
            1 where the network is to learn from the critic, else 0.
        """
        denoising = self.denoising(clean, t, epsilon, classes, given)
        detail = self.draw(coarse, begun, noise, drawn_as, int(first))
        drawn = self._generator[0].with_detail(coarse, detail)
        verdict = self.judged(_inner(drawn), drawn_as, _inner(real), real_classes)
        return self.of(denoising, verdict, listened)


def _inner(pixels: Tensor) -> Tensor:
    return pixels[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


class AdversarialDetailTrainer(AdversarialTrainer):
    """A run that teaches the detail network of a model's generator against a critic."""

    def __init__(
        self,
        settings: TrainSettings,
        model: ModelBundle,
        progress: Progress,
        cells: tuple[list[str], dict[str, CellSet]],
    ):
        super().__init__(settings, "detail", model, progress, cells)

    def _network(self) -> nn.Module:
        self.generator = self._taught(drawn_in=self.settings.drawn_in)
        return DetailLoss(self.generator, self.settings.critic_weight)

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        cells, n = self.sets["train"], self.settings.batch_size
        generator = generator_for(self.settings.seed, step, "augment")
        usual = self._stage_batch(cells, self._draw(step), generator, varied=True)
        detail, coarse, classes = self._real_parts(n, generator)
        first = torch.randint(1, self.settings.drawn_in - 1, (1,), generator=generator)
        if torch.rand(1, generator=generator) < FROM_NOISE:
            first = torch.zeros(1, dtype=torch.int64)
        if step % 2:
            chosen = torch.randint(len(self.coarse), (n,), generator=generator)
            (coarse,) = _cut(generator, self.coarse[chosen])
            classes, first = self.coarse_classes[chosen], torch.zeros(1, dtype=torch.int64)
        else:
            rough = ROUGHNESS * torch.rand(n, 1, 1, 1, generator=generator)
            rough = rough * (torch.rand(n, 1, 1, 1, generator=generator) < 0.5)
            coarse = coarse + rough * torch.randn(coarse.shape, generator=generator)
        noise = torch.randn(detail.shape, generator=generator)
        real_detail, real_coarse, real_classes = self._real_parts(n, generator)
        real = self.generator.with_detail(real_coarse, real_detail)
        listened = torch.tensor(float(step >= adversarial.CRITIC_FIRST))
        more = (coarse, detail, noise, classes, first[0], real, real_classes, listened)
        return *usual, *(x.to(self.accelerator.device) for x in more)

    def _real_parts(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Details, coarse pictures and classes of random parts of training cells."""
        s, cells = self.settings, self.sets["train"]
        drawn = torch.randint(2**31, (1,), generator=generator)
        index = self._draw(int(drawn))[:n]
        unit = to_unit(cells.pixels[index], cells.backgrounds[index])
        margin = (unit.shape[-1] - s.input_size) // 2
        inner = unit[..., margin : margin + s.input_size, margin : margin + s.input_size]
        pixels = mirrored(to_network(inner), generator)
        coarse = self.generator.shrink(pixels)
        detail, coarse = _cut(generator, self.generator.detail_of(pixels, coarse), coarse)
        return detail, coarse, cells.labels[index]


def _cut(generator: torch.Generator, *pictures: Tensor) -> tuple[Tensor, ...]:
    """Cut the same random part out of each of some pictures ``(N, C, s, s)``."""
    n, span = len(pictures[0]), pictures[0].shape[-1] - PART + 1
    corners = torch.randint(span, (n, 2), generator=generator).tolist()
    return tuple(
        torch.stack(
            [x[:, i : i + PART, j : j + PART] for x, (i, j) in zip(whole, corners, strict=True)]
        )
        for whole in pictures
    )


def teach_detail(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Teach the detail network of the generator of ``settings.init``, and save the whole model."""
    return teach(settings, progress, AdversarialDetailTrainer, _said)


def _said(settings: TrainSettings, cells: int) -> str:
    return (
        f"- Its detail was taught further against a critic for {settings.steps} steps of "
        f"{settings.batch_size} parts of the {cells} training images, seed {settings.seed}, and is "
        f"drawn in {settings.drawn_in} steps."
    )
