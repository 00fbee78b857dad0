"""Fine-tuning of Stable Diffusion on cells, whole or by low-rank adapters.

As published (Deltadahl et al. 2025): the U-Net learns to predict the noise under the class's
one-hot condition, the VAE is frozen; AdamW at 1e-5, averaged weights, the min-SNR weight with
gamma 5 (Hang et al. 2023), a noise offset of 0.1 and, if asked for, mixup of pixels and conditions.
Data, augmentation, sampling of classes and checkpoints are those of our own model's training.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cytodiffusion import __version__
from cytodiffusion.classification.classifier import gather_evidence
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import BundleError, InputError
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.bundle_files import CHECKSUMS, STABLE_DIFFUSION_FILES, verify_bundle
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.codec import to_network
from cytodiffusion.model.loading import bundle_folder, holds_stable_diffusion
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.stable_diffusion import (
    StableDiffusionCodec,
    StableDiffusionDenoiser,
    mixed_conditions,
)
from cytodiffusion.model.stable_diffusion_files import load_networks
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.calibrate import CANDIDATE_LEVELS, blank_calibration, calibrate
from cytodiffusion.training.card import write_card
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.finish import (
    describe_classes,
    measure,
    taxonomy_of,
    training_record,
)
from cytodiffusion.training.loss import draw_levels
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer

log = logging.getLogger(__name__)

#: Cells a class that validate while training, and that calibrate and measure at the end: a trial
#: of one cell costs a pass of the large network for every class.
QUICK_CELLS, CALIBRATION_CELLS = 10, 50
#: Noise levels of the quick look.
QUICK_LEVELS = (200, 500)
#: Layers that low-rank adapters are put beside: all attention.
ADAPTED = ("to_q", "to_k", "to_v", "to_out.0")


def train_stable_diffusion(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Fine-tune Stable Diffusion, calibrate it and save it as a bundle."""
    run = StableDiffusionTrainer(settings, progress)
    run.fit()
    return _finish(run, progress)


class NoiseLoss(nn.Module):
    """A denoiser with its loss; as a module it *consists* of what is trained.

    Parameters, state and averages are those of the adapters where the rest is frozen, so that
    optimiser and checkpoints hold megabytes instead of gigabytes.
    """

    def __init__(self, denoiser: StableDiffusionDenoiser, snr_gamma: float):
        super().__init__()
        self.denoiser = denoiser
        self.snr_gamma = snr_gamma

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that are trained, with their names."""
        for name, parameter in super().named_parameters(*args, **kwargs):
            if parameter.requires_grad:
                yield name, parameter

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return what is trained."""
        return {name: value.detach() for name, value in self.named_parameters()}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Undo `state_dict`; RuntimeError for the state of another network."""
        own = dict(self.named_parameters())
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in state_dict.items()}:
            raise RuntimeError("the state is that of another network")
        with torch.no_grad():
            for name, value in state_dict.items():
                own[name].copy_(value)

    def forward(
        self, clean: Tensor, t: Tensor, epsilon: Tensor, conditions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Parameters
        ----------
        clean, epsilon : (N, C, H, W) tensor
        t : (N,) tensor
            Noise levels.
        conditions : (N, width) tensor
            One-hot classes, mixed ones, or zeros for the null class.
        """
        schedule = self.denoiser.schedule
        z = schedule.add_noise(clean, t, epsilon)
        noise, _ = self.denoiser.predict_noise(z, t, conditions)
        error = (noise - epsilon).square().mean(dim=(1, 2, 3))
        snr = schedule.snr(t)
        weight = snr.clamp(max=self.snr_gamma) / snr
        return (weight * error).mean(), {"denoising": error.mean().detach()}


class StableDiffusionTrainer(Trainer):
    """State of a run of Stable Diffusion; the loop is that of our own model."""

    files = STABLE_DIFFUSION_FILES

    def _check_folder(self) -> None:
        """Make sure before any image is read that there is something to start from, too."""
        super()._check_folder()
        if self.settings.lora:
            _adapter_settings(self.settings.lora)
        self.start_folder = _start_folder(self.settings)

    def _network(self) -> nn.Module:
        s = self.settings
        unet, vae, schedule = load_networks(self.start_folder)
        try:
            self.codec = StableDiffusionCodec(vae.to(self.accelerator.device), s.input_size)
            denoiser = StableDiffusionDenoiser(unet, len(self.names), schedule)
        except ValueError as error:
            raise BundleError(f"{s.init} cannot be trained with these data: {error}.") from error
        unet.requires_grad_(not s.lora)
        if s.lora:
            add_adapters(denoiser, s.lora)
        return NoiseLoss(denoiser, s.snr_gamma)

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        s, device = self.settings, self.accelerator.device
        index = self._draw(step)
        generator = generator_for(s.seed, step, "augment")
        window, _ = self._views(index, generator)
        labels = self.sets["train"].labels[index]
        drop = torch.rand(len(index), generator=generator) < s.class_dropout
        labels = labels.where(~drop, -1)
        other, share = _mixing(len(index), s.mixup, generator)
        window = share * window + (1 - share) * window[other]
        conditions = mixed_conditions(
            self.denoiser, torch.stack([labels, labels[other]], 1), torch.full((len(index),), share)
        )
        clean = self.codec.encode(to_network(window)).cpu()
        t = draw_levels(len(index), generator, tilt=1.0)
        epsilon = torch.randn(clean.shape, generator=generator)
        common = torch.randn(*clean.shape[:2], 1, 1, generator=generator)
        epsilon = epsilon + s.noise_offset * common
        return tuple(x.to(device) for x in (clean, t, epsilon, conditions))

    @property
    def denoiser(self) -> StableDiffusionDenoiser:
        """The network being trained."""
        loss: NoiseLoss = self.accelerator.unwrap_model(self.model)
        return loss.denoiser

    @contextmanager
    def averaged(self) -> Iterator[StableDiffusionDenoiser]:
        """Lend the network with its averaged weights; the trained ones come back after."""
        parameters = list(self.model.parameters())
        self.ema.store(parameters)
        self.ema.copy_to(parameters)
        self.model.eval()
        try:
            yield self.denoiser
        finally:
            self.ema.restore(parameters)
            self.model.train()

    def _figures(self) -> dict[str, float]:
        cells = few_cells(self.sets["val"], QUICK_CELLS, self.settings.seed)
        quick = ClassifySettings(trials=2, min_trials=2, seed=self.settings.seed)
        with self.averaged() as denoiser:
            model = as_bundle(denoiser, self)
            model.calibration = blank_calibration(
                len(self.names), denoiser.embedding_width, QUICK_LEVELS
            )
            windows = cells.windows(model.input_size)
            colours = cells.backgrounds.numpy()
            evidence = gather_evidence(windows, model, quick, background=colours, stop_early=False)
        found = balanced_accuracy(cells.labels.numpy(), evidence.logits.argmax(axis=1))
        return {"validation": found}

    def _told(self, parts: dict[str, float]) -> str:
        return f"denoising {parts['denoising']:.4f}"


def _start_folder(settings: TrainSettings) -> Path:
    """Folder of the network to start from; a bundle's checksums are verified."""
    folder = bundle_folder(str(settings.init), allow_download=settings.allow_download)
    if not holds_stable_diffusion(folder):
        raise BundleError(
            f"{settings.init} holds no Stable Diffusion network: it must have the folders unet "
            "and vae."
        )
    if (folder / CHECKSUMS).is_file():
        verify_bundle(folder, STABLE_DIFFUSION_FILES)
    return folder


def _mixing(n: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, float]:
    """Which crop is mixed into which ``(n,)``, and the share each keeps (Zhang et al. 2018)."""
    other = torch.randperm(n, generator=generator)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return other, float(np.random.default_rng(seed).beta(alpha, alpha)) if alpha > 0 else 1.0


def add_adapters(denoiser: StableDiffusionDenoiser, rank: int) -> None:
    """Put low-rank adapters (Hu et al. 2021) beside the frozen attention layers."""
    denoiser.unet.add_adapter(_adapter_settings(rank))


def _adapter_settings(rank: int) -> Any:
    """Return the settings of the adapters; peft is needed for them alone."""
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise InputError(
            'Low-rank adapters need peft: pip install "napari-cytodiffusion[lora]".'
        ) from error
    return LoraConfig(
        r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=[*ADAPTED]
    )


def merge_adapters(denoiser: StableDiffusionDenoiser) -> None:
    """Add the adapters to the weights they stand beside, and remove them."""
    if getattr(denoiser.unet, "peft_config", None):
        denoiser.unet.fuse_lora()
        denoiser.unet.unload_lora()


def few_cells(cells: CellSet, per_class: int, seed: int) -> CellSet:
    """At most ``per_class`` labelled cells of each class, drawn at random."""
    generator = generator_for(seed, 0, "few cells")
    chosen = []
    for label in torch.unique(cells.labels[cells.labels >= 0]):
        index = (cells.labels == label).nonzero().squeeze(1)
        chosen.append(index[torch.randperm(len(index), generator=generator)[:per_class]])
    index = torch.cat(chosen).sort().values
    paths = [cells.paths[i] for i in index]
    return CellSet(cells.pixels[index], cells.labels[index], cells.backgrounds[index], paths)


def as_bundle(denoiser: StableDiffusionDenoiser, run: StableDiffusionTrainer) -> ModelBundle:
    """Network and codec of a run as a bundle that has not been calibrated."""
    s = run.settings
    return ModelBundle(
        name=s.name,
        version=__version__,
        classes=describe_classes(run.names, s),
        input_size=s.input_size,
        window_um=s.window_um,
        disc_radius=s.disc_radius,
        denoiser=denoiser,
        codec=run.codec,
        schedule=denoiser.schedule,
        calibration=_blank(run, denoiser),
        device=run.accelerator.device,
        training=training_record(s),
        taxonomy=taxonomy_of(run.names, s),
        training_images=run.sets["train"].images,
    )


def _blank(run: StableDiffusionTrainer, denoiser: StableDiffusionDenoiser) -> Calibration:
    return blank_calibration(len(run.names), denoiser.embedding_width, CANDIDATE_LEVELS)


def _finish(run: StableDiffusionTrainer, progress: Progress) -> Path:
    """Calibrate the averaged weights on a part of the cells, measure and save them."""
    s = run.settings
    sets = {k: few_cells(v, CALIBRATION_CELLS, s.seed) for k, v in run.sets.items()}
    budget = ClassifySettings(seed=s.seed, coverage=s.coverage)
    with run.averaged() as denoiser:
        if s.lora:  # the last use of the adapters
            merge_adapters(denoiser)
        model = as_bundle(denoiser, run)
        model.calibration = calibrate(
            model, sets["train"], sets["val"], budget, s.false_alarms, s.augment, progress
        )
        measured = {k: measure(model, v, budget, progress) for k, v in sets.items() if k != "train"}
        method = f"low-rank adapters of rank {s.lora}" if s.lora else "all weights of the U-Net"
        model.card = write_card(
            model,
            sets,
            s,
            run.history,
            measured,
            network="Stable Diffusion 1.5's U-Net with a class as its prompt, fine-tuned "
            f"({method}), and its VAE; one pass a class and trial; calibrated and measured on "
            f"at most {CALIBRATION_CELLS} cells a class",
        )
        return save_bundle(s.output, model)
