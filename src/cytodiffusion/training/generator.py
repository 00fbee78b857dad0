"""Training of the generator: the coarse picture and its detail, one after the other.

Cells keep the stain of the training images; they are only turned, mirrored and moved
a little. Stain and focus are not varied, since a generator that has learned variations draws them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.bundle_files import FILES
from cytodiffusion.model.codec import to_network, to_unit
from cytodiffusion.model.generator import ClassUNet, Generator
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import check_target
from cytodiffusion.model.schedule import LEVELS, NoiseSchedule
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.training.augmentation.augment import turn
from cytodiffusion.training.card import KEPT_HEADINGS, section_of
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.finish import save_with
from cytodiffusion.training.sets import like_model, load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer

log = logging.getLogger(__name__)

#: Side of the parts of a cell that the detail is learned on, of the coarse picture's pixels.
PART = 16
#: Noise added to the coarse picture while the detail is learned: a drawn one is not exact.
ROUGHNESS = 0.06
#: Cells that the loss is watched on.
WATCHED = 256
#: Line of a card above which nothing of the generator is said.
HEADING = KEPT_HEADINGS["generator"]

Stage = Literal["base", "detail"]


class VelocityLoss(nn.Module):
    """A stage's network with its loss (v-prediction, Salimans & Ho 2022)."""

    def __init__(self, network: ClassUNet):
        super().__init__()
        self.network = network
        self.schedule = NoiseSchedule()

    def forward(
        self, clean: Tensor, t: Tensor, epsilon: Tensor, classes: Tensor, given: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Parameters
        ----------
        clean, epsilon : (N, C, H, W) tensor
        t : (N,) tensor
            Noise levels.
        classes : (N,) tensor
            The class each crop is drawn as; -1 for the null class.
        given : (N, 3, H, W) or (N, 0, H, W) tensor
            The coarse picture, for the detail.
        """
        z = self.schedule.add_noise(clean, t, epsilon)
        target = self.schedule.velocity(clean, t, epsilon)
        velocity = self.network(torch.cat([z, given], dim=1), t, classes)
        loss = (velocity - target).square().mean()
        return loss, {"denoising": loss.detach()}


class GeneratorTrainer(Trainer):
    """A run of one stage of the generator.

    Parameters
    ----------
    settings : TrainSettings
        Its ``output`` names the run's folder.
    cells : (list of str, dict of CellSet)
        Class names and crops by split.
    start : Generator, optional
        One to go on from.
    """

    def __init__(
        self,
        settings: TrainSettings,
        stage: Stage,
        progress: Progress,
        cells: tuple[list[str], dict[str, CellSet]],
        start: Generator | None = None,
    ):
        self.stage = stage
        self.start_from = start
        super().__init__(settings, progress, cells)

    def _network(self) -> nn.Module:
        if self.start_from is None:
            self.generator = build_generator(self.settings, len(self.names), self.sets["train"])
        else:
            self.generator = copy_of(self.start_from)
        network = self.generator.base if self.stage == "base" else self.generator.detail
        return VelocityLoss(network.to(memory_format=torch.channels_last))

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        s = self.settings
        generator = generator_for(s.seed, step, "augment")
        return self._stage_batch(self.sets["train"], self._draw(step), generator, varied=True)

    def _stage_batch(
        self, cells: CellSet, index: Tensor, generator: torch.Generator, *, varied: bool
    ) -> tuple[Tensor, ...]:
        """Make what the stage's network is shown of some crops."""
        s, n = self.settings, len(index)
        unit = to_unit(cells.pixels[index], cells.backgrounds[index])
        if self.stage == "base":
            pixels = to_network(turn(unit, s.input_size, generator, s.augment))
            clean = self.generator.fold(self.generator.shrink(pixels))
            given = clean[:, :0]
        else:
            margin = (unit.shape[-1] - s.input_size) // 2
            inner = unit[..., margin : margin + s.input_size, margin : margin + s.input_size]
            pixels = to_network(mirrored(inner, generator))
            clean, given = self._parts(pixels, generator)
        t = (spread(n, generator) * LEVELS).long()
        epsilon = torch.randn(clean.shape, generator=generator)
        drop = torch.rand(n, generator=generator) < (s.class_dropout if varied else 0.0)
        classes = cells.labels[index].where(~drop, -1)
        return tuple(x.to(self.accelerator.device) for x in (clean, t, epsilon, classes, given))

    def _parts(self, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Detail and coarse picture of a random part of each cell."""
        coarse = self.generator.shrink(pixels)
        detail = self.generator.detail_of(pixels, coarse)
        roughness = ROUGHNESS * torch.rand(len(pixels), 1, 1, 1, generator=generator)
        coarse = coarse + roughness * torch.randn(coarse.shape, generator=generator)
        span = coarse.shape[-1] - PART + 1
        corners = torch.randint(span, (len(pixels), 2), generator=generator).tolist()
        both = torch.cat([detail, coarse], dim=1)
        parts = [x[:, i : i + PART, j : j + PART] for x, (i, j) in zip(both, corners, strict=True)]
        joined = torch.stack(parts)
        return joined[:, :-3], joined[:, -3:]

    @torch.no_grad()
    def _validate(self, parts: dict[str, float]) -> None:
        """Note the averaged network's loss on validation cells, the same noise every time."""
        cells = self.sets["val"]
        generator = generator_for(self.settings.seed, 0, "validation")
        chosen = torch.randperm(len(cells), generator=generator)[:WATCHED]
        plain = self.accelerator.unwrap_model(self.model)
        self.ema.store(plain.parameters())
        self.ema.copy_to(plain.parameters())
        losses = []
        for index in torch.split(chosen, 64):
            batch = self._stage_batch(cells, index, generator, varied=False)
            with self.accelerator.autocast():
                losses.append(self._validation_loss(batch))
        self.ema.restore(plain.parameters())
        validation = sum(losses) / len(losses)
        self.history.append({"step": self.step, **parts, "validation": validation})
        log.info("step %d: validation loss %.5f", self.step, validation)

    def _validation_loss(self, batch: tuple[Tensor, ...]) -> float:
        return float(self.model(*batch)[0])

    def _told(self, parts: dict[str, float]) -> str:
        return f"{self.stage}, loss {parts['denoising']:.4f}"

    def averaged(self) -> ClassUNet:
        """Return the stage's network with the averaged weights."""
        network: ClassUNet = self.accelerator.unwrap_model(self.model).network
        self.ema.copy_to(network.parameters())
        return network.eval()


def train_generator(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Train a generator for the model ``settings.init`` and save both as one bundle."""
    model = load_bundle(str(settings.init), device="cpu")
    start = model.generator if settings.further else None
    if settings.further and start is None:
        raise InputError(f"{model.name} has no generator that could be trained further.")
    if start is not None and start.drawn_in and settings.detail_steps:
        raise InputError(
            f"The detail of {model.name} was taught against a critic, which a plain training would "
            "undo: leave it as it is with detail_steps=0; the kind generator-detail teaches it on."
        )
    check_target(settings.output, FILES)
    settings = settings.model_copy(update={"window_um": model.window_um})
    if start is not None:
        settings = settings.model_copy(update={"input_size": start.size})
    names, sets = load_sets(settings, progress, ("train", "val"))
    like_model(names, sets, model.untaught.class_names, "A generator")
    cells = (list(model.untaught.class_names), sets)
    wanted: dict[Stage, int] = {"base": settings.steps, "detail": settings.detail_steps}
    stages = [stage for stage, steps in wanted.items() if steps]
    history: dict[str, float] = {}
    generator = None if start is None else copy_of(start)
    for number, stage in enumerate(stages):
        part = part_of(progress, number / len(stages), (number + 1) / len(stages))
        run = GeneratorTrainer(_of_stage(settings, stage), stage, part, cells, start)
        run.fit()
        generator = generator or run.generator
        setattr(generator, stage, run.averaged())
        history[stage] = run.history[-1]["validation"]
    assert generator is not None
    return attach_generator(model, generator, settings, sets, history)


def copy_of(generator: Generator, **changes: Any) -> Generator:
    """Return a generator with the same weights, and perhaps other settings."""
    config = {k: v for k, v in generator.config.items() if not k.startswith("_")}
    copy: Generator = Generator(**config | changes)
    copy.load_state_dict(generator.state_dict())
    return copy


def _of_stage(settings: TrainSettings, stage: Stage) -> TrainSettings:
    steps = settings.steps if stage == "base" else settings.detail_steps
    output = settings.output.with_name(f"{settings.output.name}-{stage}")
    return settings.model_copy(update={"steps": steps, "output": output, "init": None})


def attach_generator(
    model: ModelBundle,
    generator: Generator,
    settings: TrainSettings,
    sets: dict[str, CellSet],
    history: dict[str, float],
) -> Path:
    """Save a model together with a generator at ``settings.output``."""
    steps = {"base": settings.steps, "detail": settings.detail_steps}
    each = " and ".join(f"{steps[stage]} steps ({stage})" for stage in history)
    losses = ", ".join(f"{value:.4f} ({stage})" for stage, value in history.items())
    trained = (
        f"on the {len(sets['train'])} training images for {each} of {settings.batch_size}, seed "
        f"{settings.seed}; loss on validation images {losses}."
    )
    data = f"- Data and licence: {settings.attribution or 'not stated'}"
    if settings.further:
        lines = [*(section_of(model.card, HEADING) or []), f"- Trained further {trained}"]
        lines += [data] if settings.attribution else []
    else:
        million = sum(p.numel() for p in generator.parameters()) / 1e6
        lines = [
            f"- Draws cells of {generator.size} x {generator.size} px, {model.window_um:g} um "
            f"wide: a picture of {generator.coarse_size} px first, then its detail. "
            f"{million:.1f} million weights, convolutions stored in 8 bits.",
            f"- Trained {trained}",
            "- What it draws is synthetic: not of any patient, and not evidence of anything.",
            data,
        ]
    return save_with(model, settings, HEADING, lines, generator=generator)


def build_generator(settings: TrainSettings, classes: int, cells: CellSet) -> Generator:
    """Make a generator with random weights, its detail scaled to that of ``cells``."""
    generator: Generator = Generator(
        num_classes=classes,
        size=settings.input_size,
        base_widths=settings.base_widths,
        base_blocks=settings.base_blocks,
        detail_widths=settings.detail_widths,
        detail_blocks=settings.detail_blocks,
        detail_scale=1.0,
    )
    chosen = torch.linspace(0, len(cells) - 1, min(len(cells), WATCHED)).long()
    size, margin = settings.input_size, (cells.pixels.shape[-1] - settings.input_size) // 2
    unit = to_unit(cells.pixels[chosen], cells.backgrounds[chosen])
    pixels = to_network(unit[..., margin : margin + size, margin : margin + size])
    scale = float(generator.detail_of(pixels, generator.shrink(pixels)).std())
    generator.register_to_config(detail_scale=scale)
    generator.detail_scale = scale
    return generator


def spread(n: int, generator: torch.Generator) -> Tensor:
    """Numbers ``(n,)`` in 0..1, one in each n-th, in random order."""
    share = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    return share[torch.randperm(n, generator=generator)].clamp(max=1 - 1e-6)


def mirrored(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Crops turned by right angles and mirrored, which keeps them sharp."""
    turns = torch.randint(4, (len(pixels),), generator=generator)
    flips = torch.rand(len(pixels), generator=generator) < 0.5
    turned = torch.stack(
        [torch.rot90(x, int(k), (1, 2)) for x, k in zip(pixels, turns, strict=True)]
    )
    return torch.where(flips[:, None, None, None], turned.flip(3), turned)
