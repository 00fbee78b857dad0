"""Teaching a network of the generator against a critic that tells real cells from drawn ones.

A diffusion network that is trained on squared errors alone leaves grain where cells are smooth and
softens their edges, since small errors in quiet places count for little. Here it also draws, and a
critic that sees real and drawn pictures says which is which (adversarial losses on what a diffusion
model denoises: Xiao et al. 2022, "Tackling the generative learning trilemma with denoising
diffusion GANs"; Sauer et al. 2023, "Adversarial diffusion distillation"). The ordinary loss goes on
beside it, so that the network remains a denoiser at all levels, which the editing of real cells
needs.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

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
from cytodiffusion.model.generator import ClassUNet, Generator
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import check_target
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.progress import Progress, part_of
from cytodiffusion.training.card import KEPT_HEADINGS, section_of
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.finish import save_with
from cytodiffusion.training.generator import GeneratorTrainer, Stage
from cytodiffusion.training.sets import like_model, load_sets
from cytodiffusion.training.settings import TrainSettings

#: Verdicts are so many times what the normalised layers of the critic give.
STRENGTH = 8.0
#: Learning rate of the critic over that of the network (Heusel et al. 2017, "GANs trained by a two
#: time-scale update rule").
CRITIC_PACE = 4.0
#: Steps of a drawing that the network learns from.
LEARNED_STEPS = 2
#: Steps in which the critic learns alone, before it is listened to.
CRITIC_FIRST = 100
#: Coarse pictures that are drawn beforehand, the steps they are drawn in, and how many at a time.
SKETCHES, SKETCH_STEPS, SKETCHED_AT_ONCE = 1440, 30, 40
#: Guidance that every second lot of coarse pictures is drawn with; the others have none.
SKETCH_GUIDANCE = 1.5
#: File of the coarse pictures in the folder of the run.
SKETCHES_FILE = "sketches.safetensors"


class Critic(nn.Module):
    """Says of pictures of cells how real they look, at three scales; high is real.

    Parameters
    ----------
    num_classes : int
    fine_gain, colour_gain : float
        How much stronger than in the picture the critic sees what a blur takes away: of lightness,
        and of colour, which hardly varies from pixel to pixel in a photograph.
    """

    def __init__(self, num_classes: int, fine_gain: float, colour_gain: float):
        super().__init__()
        self.fine_gain, self.colour_gain = fine_gain, colour_gain
        widths = (6, 32, 64, 96, 128)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 3, padding=1, stride=1 if a == widths[0] else 2))
            for a, b in pairwise(widths)
        )
        self.classes = nn.Embedding(num_classes, widths[3])
        self.heads = nn.ModuleList(spectral_norm(nn.Conv2d(w, 1, 1)) for w in widths[2:])

    def forward(self, pixels: Tensor, classes: Tensor) -> list[Tensor]:
        """Verdicts ``(N, places)`` at each scale on pictures ``pixels (N, 3, S, S)`` in -1..1."""
        blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="reflect"), 3, 1)
        red, green, blue = torch.split(pixels - blurred, 1, dim=1)
        fine = self.fine_gain * (red + green + blue) / 3
        colour = self.colour_gain * torch.cat([red - green, blue - green], dim=1)
        h = torch.cat([pixels, fine, colour], dim=1).to(memory_format=torch.channels_last)
        found = []
        for i, layer in enumerate(self.layers):
            h = F.leaky_relu(layer(h), 0.2)
            if i == len(self.layers) - 2:
                h = h + self.classes(classes)[:, :, None, None]
            if i > 0:
                found.append(STRENGTH * self.heads[i - 1](h).flatten(1))
        return found


class Verdict(NamedTuple):
    """What a critic makes of real and drawn pictures, ``()`` tensors."""

    told: Tensor  #: hinge loss, which the critic learns from
    realism: Tensor  #: of the drawn ones, which the network learns from
    lead: Tensor  #: by how much real ones are thought more real


class AdversarialLoss(nn.Module):
    """One network of a generator and its critic, with the losses of both.

    Parameters
    ----------
    generator : Generator
    stage : str
        Which of its networks is taught, ``base`` or ``detail``.
    weight : float
        Of what the critic says of the network's drawings.
    gains : (float, float)
        Of the critic, for lightness and colour.
    levels : (steps + 1,) int64 tensor
        Noise levels that are drawn through, from noise to clean.
    bound : float
        Clean values lie within this.
    """

    def __init__(
        self,
        generator: Generator,
        stage: Stage,
        weight: float,
        gains: tuple[float, float],
        levels: Tensor,
        bound: float,
    ):
        super().__init__()
        network: ClassUNet = generator.get_submodule(stage)  # type: ignore[assignment]
        self.network = network.to(memory_format=torch.channels_last)
        self.critic = Critic(generator.num_classes, *gains)
        self.schedule = NoiseSchedule()
        self.weight, self.levels, self.bound = weight, levels, bound

    def denoising(
        self, clean: Tensor, t: Tensor, epsilon: Tensor, classes: Tensor, given: Tensor
    ) -> Tensor:
        """Return the ordinary loss, of what `GeneratorTrainer` makes of a batch."""
        z = self.schedule.add_noise(clean, t, epsilon)
        target = self.schedule.velocity(clean, t, epsilon)
        velocity = self.network(torch.cat([z, given], dim=1), t, classes)
        return cast(Tensor, (velocity - target).square().mean())

    def draw(
        self, given: Tensor, begun: Tensor, noise: Tensor, classes: Tensor, first: int
    ) -> Tensor:
        """Draw (DDIM) from step ``first``, at 0 from noise alone; the last steps teach."""
        steps, n = len(self.levels) - 1, len(begun)
        levels = self.levels.to(begun.device)
        here = levels[first].expand(n)
        z = noise if first == 0 else self.schedule.add_noise(begun, here, noise)
        clean = z
        for number in range(first, steps):
            here, there = levels[number].expand(n), levels[number + 1].expand(n)
            with torch.set_grad_enabled(
                torch.is_grad_enabled() and number >= steps - LEARNED_STEPS
            ):
                velocity = self.network(torch.cat([z, given], dim=1), here, classes)
                clean = self.schedule.clean_of(z, here, velocity).clamp(-self.bound, self.bound)
                left = (z - self.schedule.signal(here) * clean) / self.schedule.noise(here)
                z = self.schedule.signal(there) * clean + self.schedule.noise(there) * left
        return clean

    def judged(
        self, drawn: Tensor, drawn_as: Tensor, real: Tensor, real_classes: Tensor
    ) -> Verdict:
        """Ask the critic; it learns from ``told`` alone, the network from ``realism`` alone."""
        of_drawn = self.critic(drawn.detach(), drawn_as)
        of_real = self.critic(real, real_classes)
        told = sum(
            F.relu(1 - r).mean() + F.relu(1 + d).mean()
            for r, d in zip(of_real, of_drawn, strict=True)
        )
        fixed = {name: value.detach() for name, value in self.critic.state_dict().items()}
        verdicts = functional_call(self.critic, fixed, (drawn, drawn_as))
        lead = sum((r.mean() - d.mean()) for r, d in zip(of_real, of_drawn, strict=True))
        return Verdict(
            cast(Tensor, told), cast(Tensor, sum(v.mean() for v in verdicts)), cast(Tensor, lead)
        )

    def of(
        self, denoising: Tensor, verdict: Verdict, listened: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch and what is told of it; ``listened`` is 0 or 1."""
        loss = denoising + verdict.told - self.weight * listened * verdict.realism
        return loss, {
            "denoising": denoising.detach(),
            "critic": verdict.told.detach(),
            "lead": verdict.lead.detach(),
        }


class AdversarialTrainer(GeneratorTrainer):
    """A run that teaches one network of a model's generator against a critic."""

    betas = (0.5, 0.99)  # of a longer memory a critic is always late

    def __init__(
        self,
        settings: TrainSettings,
        stage: Stage,
        model: ModelBundle,
        progress: Progress,
        cells: tuple[list[str], dict[str, CellSet]],
    ):
        assert model.generator is not None
        self.model_taught = model
        super().__init__(settings, stage, progress, cells)
        self.coarse, self.coarse_classes = self._sketches(part_of(progress, 0.0, 0.0))

    def _taught(self, **changes: Any) -> Generator:
        """Return a copy of the model's generator, with other settings."""
        given = self.model_taught.generator
        assert given is not None
        config = {k: v for k, v in given.config.items() if not k.startswith("_")}
        generator: Generator = Generator(**config | changes)
        generator.load_state_dict(given.state_dict())
        return generator

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        plain = cast(AdversarialLoss, model)
        return [
            {"params": [*plain.network.parameters()], "weight_decay": 0.0, "pace": 1.0},
            {"params": [*plain.critic.parameters()], "weight_decay": 0.0, "pace": CRITIC_PACE},
        ]

    def _sketches(self, progress: Progress) -> tuple[Tensor, Tensor]:
        """Draw coarse pictures as the model does before it is taught, once for the whole run."""
        file = self.run / SKETCHES_FILE
        if file.is_file():
            found = load_file(file)
            return found["coarse"], found["classes"]
        model, drawn = self.model_taught, []
        assert model.generator is not None
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
                        model.generator,
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

    def _validation_loss(self, batch: tuple[Tensor, ...]) -> float:
        return float(self.accelerator.unwrap_model(self.model).denoising(*batch))

    def _told(self, parts: dict[str, float]) -> str:
        return f"denoising {parts['denoising']:.4f}, lead of the critic {parts['lead']:.2f}"


def teach(
    settings: TrainSettings,
    progress: Progress,
    make: Callable[
        [TrainSettings, ModelBundle, Progress, tuple[list[str], dict[str, CellSet]]],
        AdversarialTrainer,
    ],
    said: Callable[[TrainSettings, int], str],
) -> Path:
    """Teach a network of the generator of ``settings.init``, and save the whole model.

    Parameters
    ----------
    make : callable
        Makes the run.
    said : callable
        Says in the card what was done, given the settings and the number of training cells.

    Raises
    ------
    InputError
        Where the model has no generator.
    """
    model = load_bundle(str(settings.init), device=settings.device)
    if model.generator is None:
        raise InputError(f"{model.name} has no generator that could be taught.")
    check_target(settings.output, FILES)
    settings = settings.model_copy(
        update={"window_um": model.window_um, "input_size": model.generator.size}
    )
    names, sets = load_sets(settings, progress, ("train", "val"))
    like_model(names, sets, model.untaught.class_names, "A generator")
    run = make(settings, model, progress, (list(model.untaught.class_names), sets))
    run.fit()
    taught = run.generator
    setattr(taught, run.stage, run.averaged())
    section = section_of(model.card, KEPT_HEADINGS["generator"]) or []
    lines = [*section, said(settings, len(sets["train"]))]
    generator = taught.to("cpu").eval()
    return save_with(model, settings, KEPT_HEADINGS["generator"], lines, generator=generator)
