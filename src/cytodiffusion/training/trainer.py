"""The training loop: Accelerate, EMA, atomic checkpoints, exact resumption."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from cytodiffusion.device import half_precision_pays, pick_device
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.bundle_files import FILES
from cytodiffusion.model.codec import Codec, PixelCodec, to_network, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import check_target
from cytodiffusion.model.schedule import NoiseSchedule, centred_disc
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.augmentation.augment import augment
from cytodiffusion.training.augmentation.outlines import Outlines
from cytodiffusion.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from cytodiffusion.training.data import BalancedSampler, CellSet, generator_for
from cytodiffusion.training.loss import HybridLoss, draw_levels
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings

log = logging.getLogger(__name__)

#: Share of the unvaried crops that the network is told to be unvaried (for sampling).
TRAINING_STYLE_SHARE = 0.6

#: Settings that may differ between a run and its resumption.
FREE_SETTINGS = {
    "allow_download",
    "resume",
    "device",
    "checkpoint_every",
    "validate_every",
    "output",
    "data",
    "layout",
}


class Trainer:
    """State of one run: data, network, optimiser, averages, history.

    Parameters
    ----------
    cells : (list of str, dict of CellSet), optional
        Class names and crops by split; read from ``settings.data`` where missing.
    start : dict of tensors, optional
        Weights to start the network from.
    """

    #: Files of the folder that the run ends in.
    files: tuple[str, ...] = FILES

    def __init__(
        self,
        settings: TrainSettings,
        progress: Progress = silent,
        cells: tuple[list[str], dict[str, CellSet]] | None = None,
        start: dict[str, Tensor] | None = None,
    ):
        self.settings = settings = like_start(settings)
        self.start = start
        self.progress = progress
        check_target(settings.output, self.files)
        self.run = settings.output.with_name(settings.output.name + ".run")
        self._check_folder()
        self.names, self.sets = cells or load_sets(settings, progress)
        self.outlines = Outlines(
            self.sets["train"].pixels, settings.window_um / settings.input_size
        )
        self.codec: Codec = PixelCodec(settings.input_size, settings.patch)
        self.history: list[dict[str, float]] = []
        self.step = 0
        self._build()
        if settings.resume:
            self._resume()

    def _check_folder(self) -> None:
        """Make sure before hours of work that its result can be written."""
        if not self.settings.resume and find_checkpoint(self.run) is not None:
            raise InputError(
                f"{self.run} holds an earlier run; add --resume to go on with it, or remove it."
            )
        try:
            self.run.mkdir(parents=True, exist_ok=True)
            (self.run / ".writable").touch()
            (self.run / ".writable").unlink()
        except OSError as error:
            raise InputError(f"{self.run} cannot be written: {error.strerror}.") from error

    def _build(self) -> None:
        s = self.settings
        device = pick_device(s.device)
        precision = s.mixed_precision
        if precision == "auto":
            precision = "bf16" if half_precision_pays(device) else "no"
        self.accelerator = _accelerator(precision, device)
        torch.manual_seed(s.seed)
        model = self._network()
        decay = [p for p in model.parameters() if p.ndim > 1]
        rest = [p for p in model.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": decay, "weight_decay": s.weight_decay},
                {"params": rest, "weight_decay": 0},
            ],
            lr=s.learning_rate,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.ema = EMAModel(model.parameters(), decay=s.ema_decay, use_ema_warmup=True, power=0.75)
        self.ema.to(self.accelerator.device)
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

    def _resume(self) -> None:
        folder = find_checkpoint(self.run)
        if folder is None:
            return
        plain = self.accelerator.unwrap_model(self.model)
        meta = load_checkpoint(folder, plain, self.optimizer, self.ema)
        if meta.get("classes", self.names) not in ([], self.names):
            raise InputError(
                f"The run in {folder} was begun with other classes "
                f"({', '.join(meta['classes'])}); train into a new folder."
            )
        current = self._plain_settings()
        changed = sorted(k for k, v in current.items() if meta["settings"].get(k) != v)
        if changed:
            log.warning("resumed with other settings than before: %s", ", ".join(changed))
        self.step = int(meta["step"])
        self.history = meta["history"]

    def _plain_settings(self) -> dict[str, Any]:
        return json.loads(self.settings.model_dump_json(exclude=FREE_SETTINGS))  # type: ignore[no-any-return]

    def fit(self) -> None:
        """Train from the current step to the last."""
        s = self.settings
        self.model.train()
        started, first = time.monotonic(), self.step
        while self.step < s.steps:
            parts = self._train_step(self.step)
            self.step += 1
            if not all(map(math.isfinite, parts.values())):
                raise InputError(
                    f"The training diverged at step {self.step}; go on from the last checkpoint "
                    "with a lower learning rate."
                )
            if self.step % 20 == 0 or self.step == s.steps:
                self._report(parts, (time.monotonic() - started) / (self.step - first))
            if self.step % s.validate_every == 0 or self.step == s.steps:
                self._validate(parts)
            if self.step % s.checkpoint_every == 0 or self.step == s.steps:
                self._save()

    def _train_step(self, step: int) -> dict[str, float]:
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * rate_at(step, s)
        torch.manual_seed(generator_for(s.seed, step, "dropout").initial_seed())
        batch = self._batch(step)
        with self.accelerator.autocast():
            loss, parts = self.model(*batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.ema.step(self.model.parameters())
        return {k: float(v) for k, v in parts.items()}

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

    def _report(self, parts: dict[str, float], seconds: float) -> None:
        last = self.history[-1]["validation"] if self.history else float("nan")
        self.progress(
            self.step / self.settings.steps,
            f"step {self.step}/{self.settings.steps}, {self._told(parts)}, validation {last:.3f}, "
            f"{seconds:.2f} s a step",
        )

    def _save(self) -> None:
        plain = self.accelerator.unwrap_model(self.model)
        save_checkpoint(
            self.run,
            self.step,
            plain,
            self.optimizer,
            self.ema,
            self._plain_settings(),
            self.history,
            self.names,
        )


def _accelerator(precision: str, device: torch.device) -> Accelerator:
    """Accelerator of this run, whatever an earlier one in the same process used.

    Accelerate keeps precision and device for the life of a process: a second run with others
    would be refused, or stay on the device of the first.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if AcceleratorState._shared_state:
        state = AcceleratorState()
        other = (state.mixed_precision, state.device.type) != (precision, device.type)
        if other and state.num_processes == 1:
            AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=precision, cpu=device.type == "cpu")


def rate_at(step: int, settings: TrainSettings) -> float:
    """Learning rate, relative: linear warm-up, constant, linear fall over the last share."""
    rise = min(1.0, (step + 1) / settings.warmup)
    fall = settings.cooldown * settings.steps
    if fall <= 0:
        return rise
    return rise * min(1.0, (settings.steps - step) / fall)


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
