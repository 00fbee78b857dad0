"""The end of a training run: calibrate, measure, write the card, save the bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
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
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.model.segmenter import Segmenter
from cytodiffusion.model.slide_correction import SlideCorrection
from cytodiffusion.model.slide_distance import SlideDistance
from cytodiffusion.progress import Progress
from cytodiffusion.taxonomy import Taxonomy, colors_and_groups, load_taxonomy, taxonomy_for
from cytodiffusion.training.calibrate import CANDIDATE_LEVELS, blank_calibration, calibrate
from cytodiffusion.training.card import KEPT_HEADINGS, section_of, with_section, write_card
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.settings import ON_DISK, TrainSettings
from cytodiffusion.training.traits import calibrated, trait_scores
from cytodiffusion.traits import Trait


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
    home = sets["val"].of_laboratory(settings.calibration_laboratory)
    model.calibration = calibrate(
        model,
        sets["train"],
        home,
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
    if settings.init is not None:
        keep_parts(model, load_bundle(settings.init, device="cpu"))
    return save_bundle(settings.output, model)


def keep_parts(model: ModelBundle, start: ModelBundle) -> None:
    """Give a model the generator and the smear network of the one that it was started from.

    Neither depends on the weights that were trained further; a generator is kept where the classes
    are the same. A slide correction does depend on them and is to be trained anew.
    """
    kept: dict[str, Generator | Segmenter | None] = {"segmenter": start.segmenter}
    if start.untaught.class_names == model.class_names:
        kept["generator"] = start.generator
    for name, part in kept.items():
        if part is None:
            continue
        setattr(model, name, part)
        if name in start.training:
            model.training = model.training | {name: start.training[name]}
        heading = KEPT_HEADINGS[name]
        if section := section_of(start.card, heading):
            model.card = with_section(model.card, heading, section)


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
