"""Which part earns its place: the same short training with one part taken away at a time.

    python benchmarks/ablations.py results/default-data/cells.csv -o results/ablations

Small crops and few steps, so that a variant takes minutes; the figures compare variants, and say
nothing about the default model. Balanced accuracy of validation cells as they are, and once
more varied in everything that the training varies.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cytodiffusion.classification.classifier import gather_evidence
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.evaluation.low_data import as_bundle
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model import ModelBundle
from cytodiffusion.training.augmentation.outlines import Outlines
from cytodiffusion.training.augmentation.settings import AugmentSettings
from cytodiffusion.training.calibrate import (
    CANDIDATE_LEVELS,
    Views,
    best_levels,
    plain_views,
    trial_variance,
    varied_views,
)
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer

#: Stains as they are; geometry, focus and noise still vary.
SAME_STAIN = AugmentSettings(
    mixing=0,
    dyes=0,
    density=0,
    thickness=0,
    contrast=0,
    grey_share=0,
    tint=0,
    hue=0,
    palette_share=0,
    exposure_share=0,
)
TRAININGS: dict[str, dict[str, Any]] = {
    "everything": {},
    "no hybrid loss": {"class_loss": 0.0},
    "no palettes": {"augment": AugmentSettings(palette_share=0)},
    "no texture, no fringes": {
        "augment": AugmentSettings(texture_share=0, fringe_share=0, chromatic=0)
    },
    "surroundings as they are": {"augment": AugmentSettings(alone_share=0)},
    "shape as it is": {"augment": AugmentSettings(bend_share=0, dried_share=0)},
    "no stain augmentation": {"augment": SAME_STAIN},
}
BUDGETS: dict[str, tuple[ClassifySettings, bool]] = {
    "1 trial": (ClassifySettings(trials=1, min_trials=1), False),
    "3 trials": (ClassifySettings(trials=3), False),
    "12 trials, with elimination": (ClassifySettings(), True),
    "12 trials, without elimination": (ClassifySettings(), False),
}


def measure(model: ModelBundle, views: Views, budget: str) -> tuple[float, float]:
    """Balanced accuracy and mean trials."""
    settings, stop = BUDGETS[budget]
    evidence = gather_evidence(
        views.windows, model, settings, background=views.backgrounds, stop_early=stop
    )
    predicted = evidence.logits.argmax(axis=1)
    return balanced_accuracy(views.labels, predicted), float(evidence.trials.mean())


def calibrated(run: Trainer, views: Views) -> ModelBundle:
    """Bundle of a run with noise levels and trial variance as calibration sets them."""
    model, settings = as_bundle(run, CANDIDATE_LEVELS), ClassifySettings()
    levels = best_levels(model, views, settings, lambda share, text: None)
    model.calibration = replace(model.calibration, levels=levels)
    full = gather_evidence(
        views.windows, model, settings, background=views.backgrounds, stop_early=False
    )
    variance = trial_variance(full, views.labels)
    model.calibration = replace(model.calibration, prior_variance=variance)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--input-size", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    options = parser.parse_args()
    common = {
        "data": options.cells,
        "pixel_size_um": 0.1,
        "steps": options.steps,
        "input_size": options.input_size,
        "seed": options.seed,
        "validate_every": options.steps,
        "checkpoint_every": options.steps,
        "warmup": 50,
        "ema_decay": 0.99,
        "duplicates": "allow",
    }
    reading = TrainSettings(**common, output=options.output / "reading")
    names, sets = load_sets(reading)
    plain = plain_views(sets["val"], options.input_size)
    pixel_size = reading.window_um / reading.input_size
    outlines = Outlines(sets["val"].pixels, pixel_size)
    drawn = Outlines(sets["train"].pixels, pixel_size)  # found once for all trainings
    varied = varied_views(sets["val"], options.input_size, 1, AugmentSettings(), outlines)
    print("| training | trials | cells as they are | varied | trials a cell |")
    print("|---|---|---:|---:|---:|")
    for title in options.only:
        change = TRAININGS[title]
        folder = options.output / title.replace(" ", "-")
        settings = TrainSettings(**(common | change), output=folder)
        run = Trainer(settings, cells=(names, sets))
        run.outlines = drawn
        run.fit()
        shutil.rmtree(run.run, ignore_errors=True)
        model = calibrated(run, plain + varied)
        for budget in BUDGETS if title == "everything" else ["12 trials, with elimination"]:
            found, other = measure(model, plain, budget), measure(model, varied, budget)
            row = f"| {title} | {budget} | {found[0]:.3f} | {other[0]:.3f} |"
            print(row + f" {np.mean([found[1], other[1]]):.2f} |", flush=True)


if __name__ == "__main__":
    main()
