"""Model bundles: a folder (or Hub id) with everything that classification needs.

``config.json`` and ``diffusion_pytorch_model.safetensors`` are the network in diffusers' own
format; ``classes.json`` names, colours and groups the classes and fixes the input;
``calibration.json`` and ``calibration.safetensors`` hold what was measured on validation data;
``card.md`` says where it comes from; ``checksums.json`` guards all of them. Nothing is pickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from cytodiffusion.datasets.seen import TrainingImages
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.codec import Codec
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.generator import Generator
from cytodiffusion.model.schedule import NoiseSchedule, centred_disc
from cytodiffusion.model.segmenter import Segmenter
from cytodiffusion.model.slide_correction import SlideCorrection
from cytodiffusion.model.slide_distance import SlideDistance
from cytodiffusion.model.stable_diffusion import StableDiffusionDenoiser, hard_disc
from cytodiffusion.model.taught_head import TaughtHead
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.taxonomy import PALETTE, READY, Taxonomy, load_taxonomy
from cytodiffusion.traits import Trait


@dataclass(frozen=True)
class CellClass:
    """One class of cells."""

    name: str
    color: str  #: ``#rrggbb``
    group: str = ""  #: such as "granulocyte"


def with_new_classes(known: Sequence[CellClass], names: Iterable[str]) -> tuple[CellClass, ...]:
    """Return the classes of a model, and one for each name that is none of them."""
    classes = list(known)
    for name in names:
        if any(own.name == name for own in classes):
            continue
        taken = {own.color.lower() for own in classes}
        meant = next((c for t in READY if (c := load_taxonomy(t).find(name)) is not None), None)
        free = [color for color in PALETTE if color not in taken] or list(PALETTE)
        if meant is not None and meant.color.lower() not in taken:
            free.insert(0, meant.color)
        classes.append(CellClass(name, free[0], "" if meant is None else meant.group))
    return tuple(classes)


@dataclass(kw_only=True)
class TrainedModel:
    """What a diffusion model and a baseline have in common.

    Attributes
    ----------
    name, version : str
    classes : tuple of CellClass
    input_size : int
        Side of a crop in pixels.
    window_um : float
        Side of a crop in micrometres.
    device : torch.device
    source : str
        Where it was loaded from.
    checksum : str
        SHA-256 over the checksums of all files.
    card : str
        The model card, Markdown.
    training : dict
        Settings of the run that made it.
    training_images : TrainingImages, optional
        Fingerprints of what it was trained on; older models have none.
    slide_correction : SlideCorrection, optional
        Corrects the cells of a slide for what they have in common; without one each stays as it is.
    slide_distance : SlideDistance, optional
        Makes the model less sure of slides unlike its training; without one it is as sure of all.
    head : TaughtHead, optional
        What people taught it; without one the classes are those of the network.
    """

    name: str
    version: str
    classes: tuple[CellClass, ...]
    input_size: int
    window_um: float
    device: torch.device
    source: str = ""
    checksum: str = ""
    card: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    training_images: TrainingImages | None = None
    slide_correction: SlideCorrection | None = None
    slide_distance: SlideDistance | None = None
    head: TaughtHead | None = None

    @property
    def untaught(self) -> Self:
        """The model without what it was taught: with the classes that its network knows."""
        if self.head is None:
            return self
        origin = self.head.origin
        return replace(
            self,
            name=origin["name"],
            version=origin["version"],
            checksum=origin["sha256"],
            classes=self.classes[: self.head.n_known],
            head=None,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the posterior."""
        return tuple(c.name for c in self.classes)

    def record(self) -> dict[str, Any]:
        """Return what a result says about the model it came from."""
        return {
            "name": self.name,
            "version": self.version,
            "source": self.source,
            "sha256": self.checksum,
            "classes": list(self.class_names),
            "device": str(self.device),
        }


@dataclass(kw_only=True)
class ModelBundle(TrainedModel):
    """A denoiser with all that belongs to it, ready to classify.

    Attributes
    ----------
    disc_radius : float
        Share of the window where errors count.
    denoiser : UNetDenoiser or StableDiffusionDenoiser
    codec : Codec
    schedule : NoiseSchedule
    calibration : Calibration
    taxonomy : Taxonomy, optional
        Hierarchy that its classes belong to.
    generator : Generator, optional
        Draws synthetic cells; without one the denoiser does.
    segmenter : Segmenter, optional
        Outlines the cells of a field; without one that of the default model does.
    traits : tuple of Trait
        What it tells beside the class: attributes, and finer classes.
    """

    disc_radius: float
    denoiser: UNetDenoiser | StableDiffusionDenoiser
    codec: Codec
    schedule: NoiseSchedule
    calibration: Calibration
    taxonomy: Taxonomy | None = None
    generator: Generator | None = None
    segmenter: Segmenter | None = None
    traits: tuple[Trait, ...] = ()

    @property
    def validation(self) -> ValidationRecord:
        """What is kept of validation cells."""
        return self.calibration.validation

    @property
    def false_alarms(self) -> float:
        """Share of validation cells above the anomaly threshold."""
        return self.calibration.false_alarms

    @property
    def calibrated(self) -> bool:
        """Whether its uncertainty means anything; a checkpoint of other code calls no anomaly."""
        return math.isfinite(self.calibration.anomaly_threshold)

    def disc(self) -> Tensor:
        """Weight of each latent in a crop's error, ``(grid, grid)``."""
        published = isinstance(self.denoiser, StableDiffusionDenoiser)
        disc = (hard_disc if published else centred_disc)(self.codec.grid, self.disc_radius)
        return disc.to(self.device)
