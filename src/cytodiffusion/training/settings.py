"""Settings of a training run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_serializer,
    model_validator,
)

from cytodiffusion.settings import (
    WINDOW_UM,
    AllowDownload,
    Device,
    Duplicates,
    Layout,
    PixelSize,
    Seed,
    merged,
    setting,
)
from cytodiffusion.training.augmentation.settings import AugmentSettings
from cytodiffusion.training.recipes import RECIPES

#: Ours; the baselines; the published network; what draws synthetic cells, and its detail taught
#: further; what corrects the cells of a slide for what they have in common; what outlines cells.
Kind = Literal[
    "diffusion",
    "resnet18",
    "vit",
    "stable-diffusion",
    "generator",
    "generator-detail",
    "slide-correction",
    "slide-distance",
    "segmenter",
]
#: Names on disk of kinds that are called otherwise.
ON_DISK: dict[str, str] = {"slide-correction": "laboratory"}
_BY_ALIAS = {alias: name for name, alias in ON_DISK.items()}

#: Classes that normal blood hardly holds, and what is no cell.
RARE_IN_BLOOD = (
    *("immature granulocyte", "promyelocyte", "myelocyte", "metamyelocyte"),
    *("erythroblast", "blast", "myeloblast", "lymphoblast", "artefact"),
)

#: Side in pixels from which on a generator has enough of a coarse picture to learn detail from.
SMALLEST_DRAWN = 64


def _colour(text: str) -> str:
    """Refuse what a model's file of classes could not hold, before the training."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ValueError("it must be a colour such as #0072b2")
    return text


class TrainSettings(BaseModel):
    """Everything a training run depends on; the same settings give the same model."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    data: Path = setting(
        title="Training images",
        description="A folder with a folder per class (perhaps below train, val and test), or a "
        "CSV with the columns path, class (empty: unlabelled) and perhaps split.",
    )
    layout: Layout = "auto"
    output: Path = setting(title="Folder of the model", description="Folder for the model.")
    duplicates: Duplicates = "refuse"
    kind: Kind = setting(
        "diffusion",
        "Kind of model",
        "diffusion; a baseline to compare it with: resnet18 or vit; stable-diffusion, the "
        "published network, fine-tuned from init; or what is added to the model init: generator, "
        "which draws synthetic cells, generator-detail, which teaches the generator that it has "
        "finer detail, slide-correction, which corrects the cells of a slide for what they have in "
        "common, slide-distance, which makes it less sure of slides unlike its training, or "
        "segmenter, the smear network, which outlines the cells of a field.",
        aliases=list(_BY_ALIAS),
    )
    pretrained: bool = setting(
        False,
        "ImageNet weights",
        "resnet18 and vit: start from ImageNet weights (on this computer, or with downloads "
        "allowed).",
        more=True,
    )
    norm: Literal["auto", "group", "batch"] = setting(
        "auto",
        "Normalisation",
        "resnet18: group norm, which keeps no statistics of the training images, batch norm, or "
        "auto: group, and batch with ImageNet weights, which there are for batch norm only.",
        more=True,
    )
    allow_download: AllowDownload = False
    name: str = setting("cytodiffusion", "Name", "Name of the model.", min_length=1)
    seed: Seed = 0
    init: str | None = setting(
        None,
        "Start from",
        "Model to start from, or to add something to; for stable-diffusion a folder, or a Hugging "
        "Face id, with unet and vae.",
    )
    pixel_size_um: PixelSize = None
    input_size: PositiveInt = setting(
        96, "Input size", "Side of the network's input, in pixels.", unit="px", more=True
    )
    window_um: PositiveFloat = setting(
        WINDOW_UM,
        "Window",
        "Side of the square that is cut out around a cell, in micrometres.",
        unit="um",
        more=True,
    )
    patch: PositiveInt = setting(
        4,
        "Patch",
        "Side of the squares of pixels that the network folds into channels.",
        unit="px",
        more=True,
    )
    widths: tuple[int, ...] = setting(
        (64, 128, 256), "Widths", "Channels of each level of the network.", more=True
    )
    blocks: tuple[int, ...] = setting(
        (1, 2, 2), "Blocks", "Blocks of each level of the network.", more=True
    )
    head_channels: PositiveInt = setting(
        64, "Channels of a head", "Channels of the network's part for one class.", more=True
    )
    dropout: float = setting(
        0.1,
        "Dropout",
        "Share of the network's activations left out in training.",
        more=True,
        ge=0,
        lt=1,
    )
    base_widths: tuple[int, ...] = setting(
        (64, 128, 128),
        "Widths of the coarse network",
        "generator: channels of each level of the network for the coarse picture.",
        more=True,
    )
    base_blocks: tuple[int, ...] = setting(
        (2, 2, 2),
        "Blocks of the coarse network",
        "generator: blocks of each level of the network for the coarse picture.",
        more=True,
    )
    detail_widths: tuple[int, ...] = setting(
        (64, 96),
        "Widths of the detail network",
        "generator: channels of each level of the network for the detail.",
        more=True,
    )
    detail_blocks: tuple[int, ...] = setting(
        (1, 2),
        "Blocks of the detail network",
        "generator: blocks of each level of the network for the detail.",
        more=True,
    )
    detail_steps: NonNegativeInt = setting(
        5000,
        "Steps of the detail network",
        "generator: training steps of the network for the detail; 0, with further, leaves it as it "
        "is.",
        unit="steps",
        more=True,
    )
    further: bool = setting(
        False,
        "Train further",
        "generator: go on from the networks of the generator that the model has, rather than from "
        "nothing.",
        more=True,
    )
    drawn_in: PositiveInt = setting(
        8,
        "Steps that details are drawn in",
        "generator-detail: steps in which the detail of a cell is drawn, now and later.",
        unit="steps",
        more=True,
    )
    critic_weight: PositiveFloat = setting(
        0.03,
        "Weight of the critic",
        "generator-detail: weight of what the critic says beside the ordinary loss.",
        more=True,
    )
    laboratories: PositiveInt = setting(
        400,
        "Simulated laboratories",
        "slide-correction: number of laboratories whose stain and camera are simulated.",
        more=True,
    )
    rare: tuple[str, ...] = setting(
        RARE_IN_BLOOD,
        "Rare classes",
        "slide-correction and slide-distance: classes that the slides to come hardly hold; what is "
        "taken for one is trusted less on slides unlike the training.",
        more=True,
    )
    rare_weight: float = setting(
        0.05,
        "Weight of rare classes",
        "slide-correction and slide-distance: how much a cell of a rare class counts in what is "
        "learned of slides unlike the training; 1 is as much as any other.",
        more=True,
        gt=0,
        le=1,
    )
    fields: PositiveInt = setting(
        400,
        "Drawn fields",
        "segmenter: number of synthetic fields that are drawn for the training.",
        more=True,
        ge=12,
    )
    photographs: Path | None = setting(
        None,
        "Photographed fields",
        "segmenter: a folder with fields.csv, which names photographs and their label images (the "
        "columns image, labels, kinds and pixel_size_um).",
        more=True,
    )
    photograph_share: float = setting(
        0.35,
        "Share of photographs",
        "segmenter: share of the views that are of photographed fields, where there are any.",
        more=True,
        ge=0,
        le=1,
    )
    steps: PositiveInt = setting(7000, "Steps", "Training steps.", unit="steps")
    batch_size: PositiveInt = setting(64, "Batch size", "Cells of a training step.", unit="cells")
    learning_rate: PositiveFloat = setting(8e-4, "Learning rate", "Largest learning rate.")
    weight_decay: float = setting(
        0.02, "Weight decay", "How strongly weights are drawn towards zero.", more=True, ge=0
    )
    warmup: PositiveInt = setting(
        200, "Warm-up", "Steps in which the learning rate rises.", unit="steps", more=True
    )
    cooldown: float = setting(
        0.3,
        "Cool-down",
        "Share of the steps in which the learning rate falls.",
        more=True,
        ge=0,
        le=1,
    )
    start_share: float = setting(
        0.0,
        "Share of the start",
        "diffusion: share that the weights of the model it started from have in the finished "
        "network; what was known before is kept better (WiSE-FT).",
        more=True,
        ge=0,
        lt=1,
    )
    ema_decay: float = setting(
        0.999, "Averaging", "Decay of the moving average of the weights.", more=True, gt=0, lt=1
    )
    class_loss: float = setting(
        0.2,
        "Weight of the classes",
        "Weight of the cross-entropy beside the diffusion loss.",
        more=True,
        ge=0,
    )
    label_smoothing: float = setting(
        0.02,
        "Label smoothing",
        "Share of a label that is spread over all classes.",
        more=True,
        ge=0,
        lt=1,
    )
    level_tilt: PositiveFloat = setting(
        1.25,
        "Tilt of the noise levels",
        "diffusion: 1 draws all noise levels alike; more draws low ones more often, which tell "
        "most.",
        more=True,
    )
    pseudo_labels: float = setting(
        0.0,
        "Pseudo-labels",
        "diffusion: least share of the votes with which a missing label is guessed; 0 guesses "
        "none.",
        more=True,
        ge=0,
        le=1,
    )
    lora: int = setting(
        0,
        "LoRA rank",
        "stable-diffusion: train adapters of this rank only, for a small GPU; 0 trains all "
        "weights. Needs peft.",
        more=True,
        ge=0,
        le=1024,
    )
    snr_gamma: PositiveFloat = setting(
        5.0, "Min-SNR gamma", "stable-diffusion: gamma of the min-SNR weight.", more=True
    )
    noise_offset: float = setting(
        0.1,
        "Noise offset",
        "stable-diffusion: share of the noise that a channel has in common.",
        more=True,
        ge=0,
        le=1,
    )
    mixup: float = setting(
        0.0,
        "Mixup",
        "stable-diffusion: alpha of mixup; 0.3 as published, 0 mixes nothing.",
        more=True,
        ge=0,
    )
    class_dropout: float = setting(
        0.1,
        "Class dropout",
        "Share of the cells that are trained without their class.",
        more=True,
        ge=0,
        lt=1,
    )
    balance: float = setting(
        0.5,
        "Balance of classes",
        "0 draws classes as often as they occur in the data, 1 all alike.",
        more=True,
        ge=0,
        le=1,
    )
    laboratory_balance: float = setting(
        0.5,
        "Balance of laboratories",
        "0 draws the images of a class alike, 1 its laboratories, and their slides.",
        more=True,
        ge=0,
        le=1,
    )
    attributes: tuple[str, ...] = setting(
        (),
        "Attributes",
        "diffusion: columns of the table that are learned as attributes of the cells, beside those "
        "of WBCAtt.",
        more=True,
    )
    trait_loss: float = setting(
        0.3,
        "Weight of attributes",
        "diffusion: weight of the attributes and finer classes beside the diffusion loss; 0 learns "
        "none.",
        more=True,
        ge=0,
    )
    gentle_share: float = setting(
        0.2,
        "Gently varied share",
        "diffusion: share of a batch that is varied little where there are attributes, because "
        "sizes and colours are among them.",
        more=True,
        ge=0,
        le=1,
    )
    unlabelled_share: float = setting(
        0.25,
        "Unlabelled share",
        "Share of a batch that is unlabelled cells, where there are any.",
        more=True,
        ge=0,
        le=1,
    )
    disc_radius: float = setting(
        0.42,
        "Radius of the disc",
        "Radius of the disc in which errors count in classifying, as a share of the window.",
        more=True,
        gt=0,
    )
    augment: AugmentSettings = setting(
        AugmentSettings(), "Augmentation", "How far crops are varied.", more=True
    )
    mixed_precision: Literal["auto", "no", "bf16"] = setting(
        "auto",
        "Precision",
        "Use bfloat16 (bf16) or not (no); auto does on a GPU that has it.",
        more=True,
    )
    device: Device = "auto"
    checkpoint_every: PositiveInt = setting(
        250, "Save every", "Steps between two saved states of the run.", unit="steps", more=True
    )
    validate_every: PositiveInt = setting(
        500, "Validate every", "Steps between two validations.", unit="steps", more=True
    )
    log_every: PositiveInt = setting(
        20,
        "Log every",
        "Steps between two rows of training.csv, the log in the folder of the run.",
        unit="steps",
        more=True,
    )
    tracker: Literal["none", "tensorboard"] = setting(
        "none",
        "Tracker",
        "Where the log is written as well: tensorboard, which needs the package of that name, or "
        "none.",
        more=True,
    )
    calibration_laboratory: str = setting(
        "",
        "Calibrate on",
        "Laboratory whose validation cells temperature, prediction sets and thresholds are fitted "
        "to; empty takes those of all.",
        more=True,
    )
    coverage: float = setting(
        0.95,
        "Coverage",
        "Stated share of prediction sets that hold the true class.",
        more=True,
        gt=0,
        lt=1,
    )
    false_alarms: float = setting(
        0.02,
        "False alarms",
        "Stated share of ordinary cells that are called anomalous.",
        more=True,
        gt=0,
        lt=1,
    )
    resume: bool = setting(False, "Resume", "Go on with the run that was begun for this folder.")
    attribution: str = setting(
        "",
        "Attribution",
        "Whose data it is and under which licence; goes into the model card.",
        more=True,
    )
    colors: dict[str, Annotated[str, AfterValidator(_colour)]] = setting(
        {}, "Colours", "Colours of classes, such as neutrophil=#3366cc.", more=True
    )
    groups: dict[str, str] = setting(
        {}, "Groups", "Groups of classes, such as neutrophil=granulocyte.", more=True
    )
    taxonomy: str | None = setting(
        None,
        "Class hierarchy",
        "Class hierarchy with colours, by name or as a JSON file; otherwise the ready one that "
        "fits the classes.",
        more=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _recipe(cls, given: Any) -> Any:
        """Fill in what suits the kind of model better than the defaults."""
        if not isinstance(given, dict):
            return given
        kind = given.get("kind", "diffusion")
        if kind in _BY_ALIAS:
            given = {**given, "kind": (kind := _BY_ALIAS[kind])}
        recipe = RECIPES.get(kind, {})
        if kind == "stable-diffusion" and given.get("lora"):
            recipe = recipe | {"learning_rate": 1e-4}
        return merged(recipe, given)

    @field_serializer("kind")
    def _kind_on_disk(self, kind: str) -> str:
        return ON_DISK.get(kind, kind)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        """Refuse what only another kind of model has."""
        if self.kind in ("diffusion", "stable-diffusion") and self.pretrained:
            raise ValueError("pre-trained weights are for the kinds resnet18 and vit")
        if self.kind != "resnet18" and self.norm != "auto":
            raise ValueError("norm is for the kind resnet18")
        if self.pretrained and self.norm == "group":
            raise ValueError("the ImageNet weights of resnet18 are for norm=batch")
        if self.kind in ("resnet18", "vit") and self.init is not None:
            raise ValueError("only a diffusion model can start from another")
        if self.kind == "stable-diffusion" and self.init is None:
            raise ValueError("name the Stable Diffusion 1.5 to start from with init")
        if self.kind == "generator" and self.init is None:
            raise ValueError("name the model that the generator is for with init")
        if self.further and self.kind != "generator":
            raise ValueError("only a generator can be trained further")
        if not self.detail_steps and not self.further:
            raise ValueError("the detail of a new generator needs steps (detail_steps)")
        if self.kind == "generator-detail" and self.init is None:
            raise ValueError("name the model whose generator is to be taught further with init")
        if self.kind == "slide-correction" and self.init is None:
            raise ValueError("name the model that the correction is for with init")
        if self.kind == "slide-distance" and self.init is None:
            raise ValueError("name the model that the distance of slides is for with init")
        if self.kind == "segmenter" and self.init is None:
            raise ValueError("name the model that the smear network is for with init")
        if self.kind != "stable-diffusion" and self.lora:
            raise ValueError("low-rank adapters (lora) are for the kind stable-diffusion")
        if self.kind != "diffusion" and self.pseudo_labels:
            raise ValueError("only a diffusion model is trained on crops without a label")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse a network that cannot be built, or cannot take the input."""
        networks = {"": (self.widths, self.blocks)}
        if self.kind == "generator":
            networks["base_"] = (self.base_widths, self.base_blocks)
            networks["detail_"] = (self.detail_widths, self.detail_blocks)
        for name, (widths, blocks) in networks.items():
            if not widths or len(widths) != len(blocks):
                raise ValueError(
                    f"{name}widths and {name}blocks must name the same number of levels"
                )
            if any(w < 1 or w % 8 for w in widths) or any(b < 1 for b in blocks):
                raise ValueError(f"{name}widths must be multiples of 8, {name}blocks at least 1")
        cell = self.patch * 2 ** (len(self.widths) - 1)
        if self.kind == "stable-diffusion":
            cell = 8  # of its VAE
        if self.kind == "generator":
            cell = 4 * 2 ** len(self.base_widths)
        if self.input_size % cell:
            raise ValueError(f"the input size must be a multiple of {cell} for this network")
        if self.kind == "generator" and self.input_size < SMALLEST_DRAWN:
            raise ValueError(f"cells can be drawn from an input size of {SMALLEST_DRAWN} on")
        return self
