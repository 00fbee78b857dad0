"""The end of a training run: calibrate, measure, write the card, save the bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cytodiffusion import __version__
from cytodiffusion.classification.classifier import classify, gather_evidence
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.metrics.scores import summarise
from cytodiffusion.model.bundle import CellClass, ModelBundle
from cytodiffusion.model.codec import PixelCodec
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.generator import Generator
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.model.segmenter import Segmenter
from cytodiffusion.model.slide_correction import SlideCorrection
from cytodiffusion.model.slide_distance import SlideDistance
from cytodiffusion.model.traits import Trait
from cytodiffusion.progress import Progress
from cytodiffusion.taxonomy import Taxonomy, colors_and_groups, load_taxonomy, taxonomy_for
from cytodiffusion.training.calibrate import CANDIDATE_LEVELS, blank_calibration, calibrate
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.settings import ON_DISK, TrainSettings
from cytodiffusion.training.traits import calibrated, trait_scores


def finish_bundle(
    denoiser: UNetDenoiser,
    names: list[str],
    sets: dict[str, CellSet],
    settings: TrainSettings,
    history: list[dict[str, float]],
    progress: Progress,
) -> Path:
    """Calibrate a trained denoiser and save it as a bundle at ``settings.output``."""
    codec = PixelCodec(settings.input_size, settings.patch)
    budget = ClassifySettings(seed=settings.seed, coverage=settings.coverage)
    model = ModelBundle(
        name=settings.name,
        version=__version__,
        classes=describe_classes(names, settings),
        input_size=settings.input_size,
        window_um=settings.window_um,
        disc_radius=settings.disc_radius,
        denoiser=denoiser,
        codec=codec,
        schedule=NoiseSchedule(),
        calibration=blank_calibration(len(names), settings.widths[-1], CANDIDATE_LEVELS),
        device=next(denoiser.parameters()).device,
        training=training_record(settings),
        taxonomy=taxonomy_of(names, settings),
        training_images=sets["train"].images,
        traits=sets["train"].told,
    )
    model.calibration = calibrate(
        model,
        sets["train"],
        sets["val"],
        budget,
        settings.false_alarms,
        settings.augment,
        progress,
    )
    if model.traits:
        model.traits = calibrated_traits(model, sets["val"], budget, progress)
    measured = {
        split: measure(model, sets[split], budget, progress) for split in sets if split != "train"
    }
    model.card = write_card(model, sets, settings, history, measured)
    return save_bundle(settings.output, model)


def describe_classes(names: list[str], settings: TrainSettings) -> tuple[CellClass, ...]:
    """Colours and groups: as asked, else of the taxonomy, else from the palette."""
    looks = colors_and_groups(names, taxonomy_of(names, settings))
    return tuple(
        CellClass(name, settings.colors.get(name, color), settings.groups.get(name, group))
        for name, (color, group) in zip(names, looks, strict=True)
    )


def taxonomy_of(names: list[str], settings: TrainSettings) -> Taxonomy | None:
    """Return the taxonomy that was asked for, else the ready one that fits the classes, if any."""
    return load_taxonomy(settings.taxonomy) if settings.taxonomy else taxonomy_for(names)


def measure(
    model: ModelBundle, cells: CellSet, settings: ClassifySettings, progress: Progress
) -> dict[str, Any]:
    """Figures of merit of ``model`` on the labelled cells of a split."""
    labelled = (cells.labels >= 0).numpy()
    result = classify(
        cells.windows(model.input_size)[labelled],
        model,
        settings,
        background=cells.backgrounds.numpy()[labelled],
        progress=progress,
    )
    found = summarise(result, cells.labels.numpy()[labelled])
    if cells.traits is not None and result.trait_probabilities is not None:
        truth = cells.traits.numpy()[labelled]
        scores = trait_scores(model.traits, result.trait_probabilities, truth)
        found |= {f"F1 of {name.replace('_', ' ')}": value for name, value in scores.items()}
    return found


def calibrated_traits(
    model: ModelBundle, cells: CellSet, settings: ClassifySettings, progress: Progress
) -> tuple[Trait, ...]:
    """Fit the temperatures of attributes and finer classes on validation cells."""
    if cells.traits is None:
        return model.traits
    labelled = (cells.labels >= 0).numpy()
    evidence = gather_evidence(
        cells.windows(model.input_size)[labelled],
        model,
        settings,
        background=cells.backgrounds.numpy()[labelled],
        progress=progress,
    )
    return calibrated(model.traits, evidence.traits, cells.traits.numpy()[labelled])


def training_record(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings of the run without the paths of the machine it ran on."""
    private = {"data", "output", "device", "resume", "allow_download", "taxonomy"}
    record: dict[str, Any] = json.loads(settings.model_dump_json(exclude=private))
    if settings.init is not None and Path(settings.init).is_dir():
        record["init"] = Path(settings.init).name
    if settings.photographs is not None:
        record["photographs"] = settings.photographs.name
    return record


def write_card(
    model: ModelBundle,
    sets: dict[str, CellSet],
    settings: TrainSettings,
    history: list[dict[str, float]],
    measured: dict[str, dict[str, Any]],
    network: str = "U-Net denoiser with bilinear class heads",
) -> str:
    """Model card in Markdown."""
    versions = {p: version(p) for p in ("torch", "diffusers", "accelerate")}
    million = sum(p.numel() for p in model.denoiser.parameters()) / 1e6
    lines = [
        f"# {model.name}",
        "",
        "A diffusion classifier of single blood cells for research and teaching. "
        "Not a medical device; not for diagnosis.",
        "",
        f"- Input: {model.input_size} x {model.input_size} px, {model.window_um:g} um wide, RGB, "
        "the cell in the centre.",
        f"- Network: {network}, {million:.1f} million weights, stored in half precision.",
        f"- Training: {settings.steps} steps of {settings.batch_size} crops, seed {settings.seed}; "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + f"; napari-cytodiffusion {__version__}.",
        *([f"- Started from the weights of {Path(settings.init).name}."] if settings.init else []),
        f"- Data and licence: {settings.attribution or 'not stated'}",
        f"- Trials go round the noise levels {', '.join(map(str, model.calibration.levels))}; "
        f"temperature {model.calibration.temperature:.3f}; anomaly threshold "
        f"{model.calibration.anomaly_threshold:.2f} "
        f"({model.calibration.false_alarms:.1%} of validation cells exceed it).",
        *images_table(model.classes, sets),
    ]
    for split, metrics in measured.items():
        also = ", which calibrated it" if split == "val" else ""
        lines += ["", f"## Measured on the {split} split{also}", "", *metrics_table(metrics)]
    if history:
        last = history[-1]["validation"]
        lines += ["", f"Balanced accuracy of two trials at the last step: {last:.4f} (validation)."]
    return "\n".join(lines) + "\n"


def images_table(classes: Sequence[CellClass], sets: dict[str, CellSet]) -> list[str]:
    """How many images each class has in each split, as the lines of a Markdown section."""
    lines = [
        "",
        "## Images",
        "",
        "| class | " + " | ".join(sets) + " |",
        "|---|" + "---:|" * len(sets),
    ]
    for index, cell_class in enumerate(classes):
        counts = [int((cells.labels == index).sum()) for cells in sets.values()]
        lines.append(f"| {cell_class.name} | " + " | ".join(map(str, counts)) + " |")
    unlabelled = [int((cells.labels < 0).sum()) for cells in sets.values()]
    if any(unlabelled):
        lines.append("| without a label | " + " | ".join(map(str, unlabelled)) + " |")
    return lines


def save_with(
    model: ModelBundle,
    settings: TrainSettings,
    heading: str,
    lines: Sequence[str],
    **added: Generator | SlideCorrection | SlideDistance | Segmenter,
) -> Path:
    """Save a trained model together with a part that was trained for it, at ``settings.output``."""
    kind = ON_DISK.get(settings.kind, settings.kind)
    whole = replace(
        model,
        card=with_section(model.card, heading, lines),
        training=model.training | {kind: training_record(settings)},
        **added,  # type: ignore[arg-type]
    )
    return save_bundle(settings.output, whole)


def with_section(card: str, heading: str, lines: Sequence[str]) -> str:
    """Put a section into a card: in the place of an earlier one of that heading, or at the end."""
    before, found, rest = card.partition(heading + "\n")
    after = rest[rest.index("\n## ") + 1 :] if found and "\n## " in rest else ""
    parts = [before.rstrip(), "\n".join([heading, "", *lines]).rstrip(), after.rstrip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def metrics_table(metrics: dict[str, Any]) -> list[str]:
    """Figures of merit as the lines of a Markdown table."""
    lines = ["| figure | value |", "|---|---:|"]
    for key, value in metrics.items():
        if key == "recall":
            lines += [f"| recall, {name} | {share:.3f} |" for name, share in value.items()]
        else:
            shown = value if isinstance(value, int) else f"{value:.4g}"
            lines.append(f"| {key.replace('_', ' ')} | {shown} |")
    return lines
