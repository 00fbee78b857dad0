"""Teaching the generator's detail network against a critic, so that its texture is that of cells.

A diffusion network that is trained on squared errors alone leaves grain where cells are smooth and
softens their edges, since small errors in quiet places count for little. Here it also draws
details in a few steps, and a critic that sees parts of real and drawn cells says which is which
(adversarial losses on what a diffusion model denoises: Xiao et al. 2022, "Tackling the generative
learning trilemma with denoising diffusion GANs"; Sauer et al. 2023, "Adversarial diffusion
distillation"). The ordinary loss goes on beside it, so that the network remains a denoiser at all
levels, which the editing of real cells needs.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.generation.sampler import Guidance, cell_noise, draw_coarse
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.bundle_files import FILES
from cytodiffusion.model.codec import to_network, to_unit
from cytodiffusion.model.generator import DETAIL_BOUND, ClassUNet, Generator
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import check_target
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.training.card import KEPT_HEADINGS, section_of
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.finish import save_with
from cytodiffusion.training.generator import PART, GeneratorTrainer, copy_of, mirrored
from cytodiffusion.training.sets import like_model, load_sets
from cytodiffusion.training.settings import TrainSettings

#: Noise on coarse pictures of real cells that details are drawn on; drawn ones are not exact.
ROUGHNESS = 0.04
#: Pixels at the border of a part that the critic does not see: the network sees no neighbour there.
MARGIN = 4
#: How much stronger than in the picture the critic sees what a blur takes away: of lightness, and
#: of colour, which hardly varies from pixel to pixel in a photograph.
FINE_GAIN, COLOUR_GAIN = 12.0, 30.0
#: Verdicts are so many times what the normalised layers of the critic give.
STRENGTH = 8.0
#: Learning rate of the critic over that of the network (Heusel et al. 2017, "GANs trained by a two
#: time-scale update rule").
CRITIC_PACE = 4.0
#: Share of the drawings that begin with pure noise; the others begin with a noised real detail.
FROM_NOISE = 0.4
#: Steps of a drawing that the network learns from.
LEARNED_STEPS = 2
#: Steps in which the critic learns alone, before it is listened to.
CRITIC_FIRST = 100
#: Coarse pictures that are drawn beforehand, the steps they are drawn in, and how many at a time.
SKETCHES, SKETCH_STEPS, SKETCHED_AT_ONCE = 1440, 40, 40
#: Guidance that every second lot of coarse pictures is drawn with; the others have none.
SKETCH_GUIDANCE = 1.5
#: File of the coarse pictures in the folder of the run.
SKETCHES_FILE = "sketches.safetensors"


class Critic(nn.Module):
    """Says of parts of cells how real they look, at three scales; high is real.

    Parameters
    ----------
    num_classes : int
    """

    def __init__(self, num_classes: int):
        super().__init__()
        widths = (6, 32, 64, 96, 128)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 3, padding=1, stride=1 if a == widths[0] else 2))
            for a, b in pairwise(widths)
        )
        self.classes = nn.Embedding(num_classes, widths[3])
        self.heads = nn.ModuleList(spectral_norm(nn.Conv2d(w, 1, 1)) for w in widths[2:])

    def forward(self, pixels: Tensor, classes: Tensor) -> list[Tensor]:
        """Verdicts ``(N, places)`` at each scale on parts ``pixels (N, 3, S, S)`` in -1..1."""
        blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="reflect"), 3, 1)
        red, green, blue = torch.split(pixels - blurred, 1, dim=1)
        fine = FINE_GAIN * (red + green + blue) / 3
        colour = COLOUR_GAIN * torch.cat([red - green, blue - green], dim=1)
        h = torch.cat([pixels, fine, colour], dim=1).to(memory_format=torch.channels_last)
        found = []
        for i, layer in enumerate(self.layers):
            h = F.leaky_relu(layer(h), 0.2)
            if i == len(self.layers) - 2:
                h = h + self.classes(classes)[:, :, None, None]
            if i > 0:
                found.append(STRENGTH * self.heads[i - 1](h).flatten(1))
        return found


class AdversarialLoss(nn.Module):
    """The detail network and the critic, with the losses of both.

    Parameters
    ----------
    generator : Generator
        Its detail network is taught.
    weight : float
        Of what the critic says of the network's drawings.
    """

    def __init__(self, generator: Generator, weight: float):
        super().__init__()
        self.network: ClassUNet = generator.detail.to(memory_format=torch.channels_last)
        self.critic = Critic(generator.num_classes)
        self.schedule = NoiseSchedule()
        self.weight = weight
        self._generator = [generator]  # in a list, so that its other network is not trained
        assert generator.detail_levels is not None
        self.levels = generator.detail_levels

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
        z = self.schedule.add_noise(clean, t, epsilon)
        target = self.schedule.velocity(clean, t, epsilon)
        velocity = self.network(torch.cat([z, given], dim=1), t, classes)
        denoising = (velocity - target).square().mean()
        drawn = _inner(
            self._generator[0].with_detail(
                coarse, self.draw(coarse, begun, noise, drawn_as, int(first))
            )
        )
        of_drawn = self.critic(drawn.detach(), drawn_as)
        of_real = self.critic(_inner(real), real_classes)
        told = sum(
            F.relu(1 - r).mean() + F.relu(1 + d).mean()
            for r, d in zip(of_real, of_drawn, strict=True)
        )
        fixed = {name: value.detach() for name, value in self.critic.state_dict().items()}
        verdicts = functional_call(self.critic, fixed, (drawn, drawn_as))
        realism = sum(v.mean() for v in verdicts)
        loss = denoising + cast(Tensor, told) - self.weight * listened * realism
        lead = sum((r.mean() - d.mean()) for r, d in zip(of_real, of_drawn, strict=True))
        return loss, {
            "denoising": denoising.detach(),
            "critic": cast(Tensor, told).detach(),
            "lead": cast(Tensor, lead).detach(),
        }

    def draw(
        self, coarse: Tensor, begun: Tensor, noise: Tensor, classes: Tensor, first: int
    ) -> Tensor:
        """Draw details; the network learns from the last steps alone."""
        steps, n = len(self.levels) - 1, len(coarse)
        levels = self.levels.to(coarse.device)
        here = levels[first].expand(n)
        z = noise if first == 0 else self.schedule.add_noise(begun, here, noise)
        clean = z
        for number in range(first, steps):
            here, there = levels[number].expand(n), levels[number + 1].expand(n)
            with torch.set_grad_enabled(
                torch.is_grad_enabled() and number >= steps - LEARNED_STEPS
            ):
                velocity = self.network(torch.cat([z, coarse], dim=1), here, classes)
                clean = self.schedule.clean_of(z, here, velocity).clamp(-DETAIL_BOUND, DETAIL_BOUND)
                left = (z - self.schedule.signal(here) * clean) / self.schedule.noise(here)
                z = self.schedule.signal(there) * clean + self.schedule.noise(there) * left
        return clean


def _inner(pixels: Tensor) -> Tensor:
    return pixels[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


class AdversarialDetailTrainer(GeneratorTrainer):
    """A run that teaches the detail network of a model's generator against a critic."""

    betas = (0.5, 0.99)  # of a longer memory a critic is always late

    def __init__(
        self,
        settings: TrainSettings,
        model: ModelBundle,
        progress: Progress,
        cells: tuple[list[str], dict[str, CellSet]],
    ):
        assert model.generator is not None
        self.model_taught = model
        super().__init__(settings, "detail", progress, cells)
        self.coarse, self.coarse_classes = self._sketches(part_of(progress, 0.0, 0.0))

    def _network(self) -> nn.Module:
        given = self.model_taught.generator
        assert given is not None
        self.generator = copy_of(given, drawn_in=self.settings.drawn_in)
        return AdversarialLoss(self.generator, self.settings.critic_weight)

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        plain = cast(AdversarialLoss, model)
        return [
            {"params": [*plain.network.parameters()], "weight_decay": 0.0, "pace": 1.0},
            {"params": [*plain.critic.parameters()], "weight_decay": 0.0, "pace": CRITIC_PACE},
        ]

    def _sketches(self, progress: Progress) -> tuple[Tensor, Tensor]:
        """Draw coarse pictures, as details will be drawn on, once for the whole run."""
        file = self.run / SKETCHES_FILE
        if file.is_file():
            found = load_file(file)
            return found["coarse"], found["classes"]
        model, drawn = self.model_taught, []
        index = torch.arange(SKETCHED_AT_ONCE) % len(self.names)
        ones = torch.ones(len(index))
        lots = SKETCHES // SKETCHED_AT_ONCE
        with torch.inference_mode():
            for lot in range(lots):
                progress(lot / lots, "drawing coarse pictures")
                weight = SKETCH_GUIDANCE if lot % 2 else 1.0
                numbers = range(lot * len(index), (lot + 1) * len(index))
                drawn.append(
                    draw_coarse(
                        model,
                        self.generator,
                        Guidance(index, index, ones, weight * ones).to(model.device),
                        cell_noise(numbers, self.settings.seed, model.device),
                        SKETCH_STEPS,
                        lambda _share, _seems: None,
                    ).cpu()
                )
        found = {"coarse": torch.cat(drawn), "classes": index.repeat(lots)}
        with atomic_file(file) as part:
            save_file(found, part)
        return found["coarse"], found["classes"]

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
        listened = torch.tensor(float(step >= CRITIC_FIRST))
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

    def _validation_loss(self, batch: tuple[Tensor, ...]) -> float:
        plain = self.accelerator.unwrap_model(self.model)
        clean, t, epsilon, classes, given = batch
        z = plain.schedule.add_noise(clean, t, epsilon)
        target = plain.schedule.velocity(clean, t, epsilon)
        velocity = plain.network(torch.cat([z, given], dim=1), t, classes)
        return float((velocity - target).square().mean())

    def _told(self, parts: dict[str, float]) -> str:
        return f"denoising {parts['denoising']:.4f}, lead of the critic {parts['lead']:.2f}"


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
    model = load_bundle(str(settings.init), device=settings.device)
    if model.generator is None:
        raise InputError(f"{model.name} has no generator whose detail could be taught.")
    check_target(settings.output, FILES)
    settings = settings.model_copy(
        update={"window_um": model.window_um, "input_size": model.generator.size}
    )
    names, sets = load_sets(settings, progress, ("train", "val"))
    like_model(names, sets, model.untaught.class_names, "A generator")
    cells = (list(model.untaught.class_names), sets)
    run = AdversarialDetailTrainer(settings, model, progress, cells)
    run.fit()
    taught = run.generator
    taught.detail = run.averaged()
    section = section_of(model.card, KEPT_HEADINGS["generator"]) or []
    lines = [
        *section,
        f"- Its detail was taught further against a critic for {settings.steps} steps of "
        f"{settings.batch_size} parts of the {len(sets['train'])} training images, seed "
        f"{settings.seed}, and is drawn in {settings.drawn_in} steps.",
    ]
    generator = taught.to("cpu").eval()
    return save_with(model, settings, KEPT_HEADINGS["generator"], lines, generator=generator)
