"""Teaching the generator's coarse network against a critic, so that outlines are those of cells.

Real and drawn coarse pictures are noised and drawn to their end again, and the critic compares
these with real ones. Only the last part of the way is taught, where outlines come about; what a
cell is like is settled before.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network, to_unit
from cytodiffusion.model.generator import COARSE_BOUND, Generator
from cytodiffusion.model.schedule import LEVELS
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training import adversarial
from cytodiffusion.training.adversarial import AdversarialLoss, AdversarialTrainer, teach
from cytodiffusion.training.augmentation.augment import turn
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.generator import mirrored
from cytodiffusion.training.settings import TrainSettings

#: How much stronger the critic sees fine differences of lightness and of colour.
GAINS = (3.0, 8.0)
#: Steps from noise to a clean picture, and the first and last of them that a drawing begins at.
STEPS, EARLIEST, LATEST = 12, 5, 10


class CoarseLoss(AdversarialLoss):
    """The coarse network and its critic, with the losses of both.

    Parameters
    ----------
    generator : Generator
        Its coarse network is taught.
    weight : float
        Of what the critic says of the network's drawings.
    """

    def __init__(self, generator: Generator, weight: float):
        levels = (torch.linspace(1, 0, STEPS + 1) * (LEVELS - 1)).round().long()
        super().__init__(generator, "base", weight, GAINS, levels, COARSE_BOUND)
        self._generator = [generator]  # in a list, so that its other network is not trained

    def forward(
        self,
        clean: Tensor,
        t: Tensor,
        epsilon: Tensor,
        classes: Tensor,
        given: Tensor,
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
        begun, noise : (N, C, s, s) tensor
            Latents to begin the drawing with, and noise.
        drawn_as : (N,) int64 tensor
            Classes of ``begun``.
        first : () int64 tensor
            Step that the drawing begins at.
        real : (N, C, s, s) tensor
            Latents of real cells.
        real_classes : (N,) int64 tensor
        listened : () tensor
            1 where the network is to learn from the critic, else 0.
        """
        denoising = self.denoising(clean, t, epsilon, classes, given)
        drawn = self.draw(noise[:, :0], begun, noise, drawn_as, int(first))
        unfold = self._generator[0].unfold
        verdict = self.judged(unfold(drawn), drawn_as, unfold(real), real_classes)
        return self.of(denoising, verdict, listened)


class AdversarialCoarseTrainer(AdversarialTrainer):
    """A run that teaches the coarse network of a model's generator against a critic."""

    def __init__(
        self,
        settings: TrainSettings,
        model: ModelBundle,
        progress: Progress,
        cells: tuple[list[str], dict[str, CellSet]],
    ):
        super().__init__(settings, "base", model, progress, cells)

    def _network(self) -> nn.Module:
        self.generator = self._taught()
        return CoarseLoss(self.generator, self.settings.critic_weight)

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        n = self.settings.batch_size
        generator = generator_for(self.settings.seed, step, "augment")
        usual = self._stage_batch(self.sets["train"], self._draw(step), generator, varied=True)
        real, real_classes = self._real(n, generator)
        begun, classes = self._real(n - n // 2, generator)
        chosen = torch.randint(len(self.coarse), (n // 2,), generator=generator)
        drawn = self.generator.fold(mirrored(self.coarse[chosen], generator))
        begun = torch.cat([begun, drawn])
        classes = torch.cat([classes, self.coarse_classes[chosen]])
        first = torch.randint(EARLIEST, LATEST + 1, (), generator=generator)
        noise = torch.randn(begun.shape, generator=generator)
        listened = torch.tensor(float(step >= adversarial.CRITIC_FIRST))
        more = (begun, noise, classes, first, real, real_classes, listened)
        return *usual, *(x.to(self.accelerator.device) for x in more)

    def _real(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents and classes of training cells, turned as they are for the ordinary loss."""
        s, cells = self.settings, self.sets["train"]
        drawn = torch.randint(2**31, (1,), generator=generator)
        index = self._draw(int(drawn))[:n]
        unit = to_unit(cells.pixels[index], cells.backgrounds[index])
        pixels = to_network(turn(unit, s.input_size, generator, s.augment))
        return self.generator.fold(self.generator.shrink(pixels)), cells.labels[index]


def teach_coarse(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Teach the coarse network of the generator of ``settings.init``, and save the whole model."""
    return teach(settings, progress, AdversarialCoarseTrainer, _said)


def _said(settings: TrainSettings, cells: int) -> str:
    return (
        f"- Its coarse picture was taught further against a critic for {settings.steps} steps of "
        f"{settings.batch_size} of the {cells} training images, seed {settings.seed}."
    )
