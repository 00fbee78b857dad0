"""Training of the denoiser: batches of crops, and how far it is on validation cells."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import Codec, PixelCodec, to_network, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.schedule import NoiseSchedule, centred_disc
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.augmentation.augment import augment
from cytodiffusion.training.augmentation.outlines import Outlines
from cytodiffusion.training.data import BalancedSampler, CellSet, generator_for
from cytodiffusion.training.loop import TrainingLoop
from cytodiffusion.training.loss import HybridLoss, draw_levels
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings

log = logging.getLogger(__name__)

#: Share of the unvaried crops that the network is told to be unvaried (for sampling).
TRAINING_STYLE_SHARE = 0.6


class Trainer(TrainingLoop):
    """Training of a denoiser on crops.

    Parameters
    ----------
    cells : (list of str, dict of CellSet), optional
        Class names and crops by split; read from ``settings.data`` where missing.
    start : dict of tensors, optional
        Weights to start the network from.
    """

    def __init__(
        self,
        settings: TrainSettings,
        progress: Progress = silent,
        cells: tuple[list[str], dict[str, CellSet]] | None = None,
        start: dict[str, Tensor] | None = None,
    ):
        self.start = start
        self.cells = cells
        super().__init__(like_start(settings), progress)

    def _load(self) -> None:
        s = self.settings
        self.names, self.sets = self.cells or load_sets(s, self.progress)
        self.outlines = Outlines(self.sets["train"].pixels, s.window_um / s.input_size)
        self.codec: Codec = PixelCodec(s.input_size, s.patch)

    def _build(self) -> None:
        super()._build()
        s = self.settings
        labels = self.sets["train"].labels
        self.labelled = (labels >= 0).nonzero().squeeze(1)
        self.unlabelled = (labels < 0).nonzero().squeeze(1)
        self.sampler = BalancedSampler(labels[self.labelled], s.batch_size, s.seed, s.balance)

    def _network(self) -> nn.Module:
        """Build the network together with its loss, as one module."""
        s = self.settings
        denoiser = UNetDenoiser(
            num_classes=len(self.names),
            in_channels=self.codec.channels,
            widths=s.widths,
            blocks=s.blocks,
            head_channels=s.head_channels,
            dropout=s.dropout,
        )
        if s.init is not None:
            start_from(denoiser, self.names, load_bundle(s.init, device="cpu"))
        if self.start is not None:
            denoiser.load_state_dict(self.start)
        return HybridLoss(
            denoiser.to(memory_format=torch.channels_last),
            self.codec.grid,
            class_loss=s.class_loss,
            disc_radius=s.disc_radius,
            label_smoothing=s.label_smoothing,
        )

    def _draw(self, step: int) -> Tensor:
        """Draw the indices ``(batch_size,)`` of the training crops of a step."""
        s = self.settings
        index = self.labelled[self.sampler(step)]
        if len(self.unlabelled):
            extra = round(s.unlabelled_share * s.batch_size)
            generator = generator_for(s.seed, step, "unlabelled")
            draw = torch.randint(len(self.unlabelled), (extra,), generator=generator)
            index = torch.cat([index[: s.batch_size - extra], self.unlabelled[draw]])
        return index

    def _views(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Varied windows ``(N, 3, S, S)``, 0 to 1, of training crops, and which kept their stain.

        Every kind of model sees the same ones.
        """
        s, cells = self.settings, self.sets["train"]
        unit = to_unit(cells.pixels[index], cells.backgrounds[index])
        return augment(unit, s.input_size, generator, s.augment, self.outlines.of(index))

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        s, cells = self.settings, self.sets["train"]
        index = self._draw(step)
        generator = generator_for(s.seed, step, "augment")
        window, plain = self._views(index, generator)
        clean = self.codec.encode(to_network(window))
        t = draw_levels(len(index), generator, s.level_tilt)
        epsilon = torch.randn(clean.shape, generator=generator)
        labels = cells.labels[index]
        drop = torch.rand(len(index), generator=generator) < s.class_dropout
        conditions = labels.where(~drop, -1)
        told = torch.rand(len(index), generator=generator) < TRAINING_STYLE_SHARE
        batch = (clean, t, epsilon, labels, conditions, plain & told)
        return tuple(x.to(self.accelerator.device) for x in batch)

    def ema_denoiser(self) -> UNetDenoiser:
        """Copy of the network with the averaged weights."""
        plain = self.accelerator.unwrap_model(self.model)
        averaged = UNetDenoiser.from_config(plain.denoiser.config)
        averaged.to(self.accelerator.device).to(memory_format=torch.channels_last)
        with torch.no_grad():
            for target, source in zip(averaged.parameters(), self.ema.shadow_params, strict=True):
                target.copy_(source)
        return averaged.eval()  # type: ignore[no-any-return]

    def _accuracy(self) -> float:
        """Balanced accuracy of the averaged network on validation cells."""
        return quick_accuracy(
            self.ema_denoiser(), self.codec, self.sets["val"], self.settings, self.accelerator
        )

    def _validate(self, parts: dict[str, float]) -> None:
        accuracy = self._accuracy()
        self.history.append({"step": self.step, **parts, "validation": accuracy})
        log.info("step %d: validation balanced accuracy %.4f", self.step, accuracy)

    def _told(self, parts: dict[str, float]) -> str:
        """Words of the progress on the last batch."""
        return (
            f"denoising {parts['denoising']:.4f}, classes {parts['classes']:.3f}, "
            f"batch accuracy {parts['accuracy']:.2f}"
        )


def like_start(settings: TrainSettings) -> TrainSettings:
    """Return ``settings`` with the network of the model that ``settings.init`` names."""
    if settings.init is None or settings.kind != "diffusion":
        return settings
    model = load_bundle(settings.init, device="cpu")
    if not isinstance(model.denoiser, UNetDenoiser) or not isinstance(model.codec, PixelCodec):
        raise InputError(f"A training cannot start from {model.name}: its network is another.")
    config = model.denoiser.config
    return settings.model_copy(
        update={
            "input_size": model.input_size,
            "window_um": model.window_um,
            "disc_radius": model.disc_radius,
            "patch": model.codec.patch,
            "widths": tuple(config.widths),
            "blocks": tuple(config.blocks),
            "head_channels": config.head_channels,
        }
    )


def start_from(denoiser: UNetDenoiser, names: Sequence[str], model: ModelBundle) -> None:
    """Copy the weights of ``model`` into ``denoiser``; classes go by name.

    Classes that ``model`` does not know keep their random rows of the class table.
    """
    source = model.denoiser.state_dict()
    table = denoiser.class_table.detach().clone()
    known = {name: row for row, name in enumerate(model.class_names)}
    for row, name in enumerate(names):
        if name in known:
            table[row] = source["class_table"][known[name]]
    with torch.no_grad():
        denoiser.load_state_dict({**source, "class_table": table})


#: Noise levels of the quick look; the calibrated classifier chooses its own.
QUICK_LEVELS = (60, 200)

BATCH = 64


@torch.no_grad()
def quick_accuracy(
    denoiser: UNetDenoiser,
    codec: Codec,
    cells: CellSet,
    settings: TrainSettings,
    accelerator: Accelerator,
) -> float:
    """Balanced accuracy on ``cells`` from one trial at each of two noise levels."""
    device = accelerator.device
    schedule = NoiseSchedule()
    disc = centred_disc(codec.grid, settings.disc_radius).to(device)
    pixels = torch.from_numpy(cells.windows(settings.input_size)).permute(0, 3, 1, 2)
    generator = generator_for(settings.seed, 0, "validation")
    epsilon = torch.randn(1, codec.channels, codec.grid, codec.grid, generator=generator)
    predicted = []
    for start in range(0, len(cells), BATCH):
        part = slice(start, start + BATCH)
        unit = to_unit(pixels[part], cells.backgrounds[part])
        clean = codec.encode(to_network(unit)).to(device)
        score = torch.zeros(len(clean), denoiser.num_classes, device=device)
        for level in QUICK_LEVELS:
            t = torch.full((len(clean),), level, device=device)
            z = schedule.add_noise(clean, t, epsilon.to(device))
            with accelerator.autocast():
                errors, _ = denoiser.class_errors(z, t, clean, disc)
            score -= errors * denoiser.log_sharpness(t).exp()[:, None]
        predicted.append(score.argmax(1).cpu())
    hits = (torch.cat(predicted) == cells.labels).double()
    known = torch.unique(cells.labels[cells.labels >= 0])
    return float(torch.stack([hits[cells.labels == k].mean() for k in known]).mean())
