"""Training of the baselines: the crops, augmentation, sampler and checkpoints of our own model."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cytodiffusion import __version__
from cytodiffusion.baselines import (
    Baseline,
    BaselineNetwork,
    build_network,
    classify_baseline,
    save_baseline,
)
from cytodiffusion.baselines.baseline import baseline_logits
from cytodiffusion.baselines.files import FILES
from cytodiffusion.baselines.network import Norm
from cytodiffusion.classification.scores import margin, softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.metrics.scores import summarise
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.calibrate import Views, plain_views, validation_record
from cytodiffusion.training.card import images_table, metrics_table
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.finish import (
    describe_classes,
    training_record,
)
from cytodiffusion.training.quick_look import by_laboratory
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer

log = logging.getLogger(__name__)

#: What a card calls the networks.
TITLES = {"resnet18": "ResNet-18", "vit": "vision transformer (ViT-Ti, patches of 8 px)"}


def train_baseline(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Train a baseline, calibrate it on the validation split and save it."""
    run = BaselineTrainer(settings, progress)
    run.fit()
    return finish_baseline(run, progress)


class BaselineLoss(nn.Module):
    """A baseline's network together with its cross-entropy."""

    def __init__(self, network: BaselineNetwork, label_smoothing: float):
        super().__init__()
        self.network = network
        self.label_smoothing = label_smoothing

    def forward(self, unit: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of crops ``unit (N, 3, S, S)``, 0 to 1, with ``labels (N,)``."""
        logits = self.network(unit).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        accuracy = (logits.argmax(1) == labels).float().mean()
        return loss, {"classes": loss.detach(), "accuracy": accuracy}


class BaselineTrainer(Trainer):
    """State of a baseline's run; only the network and what it is given differ from ours."""

    files = FILES

    def _network(self) -> nn.Module:
        s = self.settings
        network = build_network(
            s.kind,
            len(self.names),
            s.input_size,
            norm=norm_of(s),
            pretrained=s.pretrained,
            allow_download=s.allow_download,
        )
        if self.start is not None:
            network.load_state_dict(self.start)
        return BaselineLoss(network.to(memory_format=torch.channels_last), s.label_smoothing)

    def _draw(self, step: int) -> Tensor:
        return self.labelled[self.sampler(step)]  # there is no use for unlabelled crops

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        index = self._draw(step)
        window, _ = self._views(index, generator_for(self.settings.seed, step, "augment"))
        batch = (window, self.sets["train"].labels[index])
        return tuple(x.to(self.accelerator.device) for x in batch)

    def ema_network(self) -> BaselineNetwork:
        """Copy of the network with the averaged weights, ready to classify."""
        plain = copy.deepcopy(self.accelerator.unwrap_model(self.model))
        with torch.no_grad():
            for target, source in zip(plain.parameters(), self.ema.shadow_params, strict=True):
                target.copy_(source)
        network: BaselineNetwork = plain.network
        return network.eval()

    def baseline(self) -> Baseline:
        """Return the model as it stands, not calibrated."""
        s = self.settings
        return Baseline(
            name=s.name,
            version=__version__,
            kind=s.kind,
            norm=norm_of(s),
            classes=describe_classes(self.names, s),
            input_size=s.input_size,
            window_um=s.window_um,
            network=self.ema_network(),
            validation=ValidationRecord(),
            anomaly_threshold=float("inf"),
            false_alarms=0.0,
            device=self.accelerator.device,
            training=training_record(s),
        )

    def _figures(self) -> dict[str, float]:
        views = plain_views(self.sets["val"], self.settings.input_size)
        logits = _logits(views, self.baseline())
        predicted = np.full(len(self.sets["val"]), -1)
        predicted[(self.sets["val"].labels >= 0).numpy()] = logits.argmax(axis=1)
        return by_laboratory(predicted, self.sets["val"])

    def _told(self, parts: dict[str, float]) -> str:
        return f"classes {parts['classes']:.3f}, batch accuracy {parts['accuracy']:.2f}"


def norm_of(settings: TrainSettings) -> Norm:
    """Return how the network of a run normalises; it matters for a ResNet-18 only."""
    if settings.norm != "auto":
        return settings.norm
    return "group" if settings.kind == "resnet18" and not settings.pretrained else "batch"


def finish_baseline(run: BaselineTrainer, progress: Progress) -> Path:
    """Calibrate a trained baseline, write its card and save it at ``settings.output``."""
    s = run.settings
    model = calibrate_baseline(run.baseline(), run.sets["val"], s, progress)
    budget = ClassifySettings(seed=s.seed, coverage=s.coverage)
    measured = {}
    for split in (name for name in run.sets if name != "train"):
        views = plain_views(run.sets[split], s.input_size)
        result = classify_baseline(
            views.windows, model, budget, background=views.backgrounds, progress=progress
        )
        measured[split] = summarise(result, views.labels)
    model.card = write_card(model, run.sets, s, measured)
    model.training_images = run.sets["train"].images
    return save_baseline(s.output, model)


def calibrate_baseline(
    model: Baseline, val: CellSet, settings: TrainSettings, progress: Progress = silent
) -> Baseline:
    """Fit temperature, prediction sets and anomaly threshold on validation cells as they are."""
    plain = plain_views(val, model.input_size)
    logits = _logits(plain, model, progress)
    validation = validation_record(logits, plain.labels, settings.coverage, margin)
    scores = 1.0 - margin(softmax(logits / validation.temperature))
    threshold = float(np.quantile(scores, 1 - settings.false_alarms))
    return replace(
        model,
        validation=validation,
        anomaly_threshold=threshold,
        false_alarms=float((scores > threshold).mean()),
    )


def _logits(views: Views, model: Baseline, progress: Progress = silent) -> Any:
    return baseline_logits(views.windows, model, 256, views.backgrounds, progress)


def write_card(
    model: Baseline,
    sets: dict[str, CellSet],
    settings: TrainSettings,
    measured: dict[str, dict[str, Any]],
) -> str:
    """Model card in Markdown."""
    million = sum(p.numel() for p in model.network.parameters()) / 1e6
    start = "ImageNet weights of timm" if settings.pretrained else "scratch"
    norm = f" with {model.norm} norm" if model.kind == "resnet18" else ""
    lines = [
        f"# {model.name}",
        "",
        f"A {TITLES[model.kind]} of single blood cells: a baseline to compare the diffusion "
        "classifier with. Not a medical device; not for diagnosis.",
        "",
        f"- Input: {model.input_size} x {model.input_size} px, {model.window_um:g} um wide, RGB, "
        "the cell in the centre.",
        f"- Network: timm{norm}, {million:.1f} million weights, stored in half precision; trained "
        f"from {start}.",
        f"- Training: {settings.steps} steps of {settings.batch_size} crops, seed {settings.seed}, "
        f"crops and augmentation of the diffusion classifier; torch {version('torch')}, "
        f"timm {version('timm')}; napari-cytodiffusion {__version__}.",
        f"- Data and licence: {settings.attribution or 'not stated'}",
        f"- Temperature {model.validation.temperature:.3f}; anomalous where the gap of the "
        f"two largest probabilities is below {1 - model.anomaly_threshold:.3f} "
        f"({model.false_alarms:.1%} of validation cells are).",
        *images_table(model.classes, sets),
    ]
    for split, metrics in measured.items():
        also = ", which calibrated it" if split == "val" else ""
        lines += ["", f"## Measured on the {split} split{also}", "", *metrics_table(metrics)]
    return "\n".join(lines) + "\n"
