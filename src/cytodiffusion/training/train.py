"""cytodiffusion.training.train."""

from __future__ import annotations

from pathlib import Path

from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.finish import finish_bundle
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer


def train(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Train a bundle, a baseline, or what is added to a bundle.

    That is a generator, a slide correction, the distance of slides or a smear network.

    Every random draw depends on the seed and the step alone, so a run that was killed and
    resumed ends as an unbroken one does.
    """
    if settings.kind == "stable-diffusion":
        from cytodiffusion.training.stable_diffusion import (
            train_stable_diffusion,  # imports this module
        )

        return train_stable_diffusion(settings, progress)
    if settings.kind == "generator":
        from cytodiffusion.training.generator import train_generator  # imports this module

        return train_generator(settings, progress)
    if settings.kind == "generator-detail":
        from cytodiffusion.training.adversarial_detail import teach_detail  # imports this module

        return teach_detail(settings, progress)
    if settings.kind == "slide-correction":
        from cytodiffusion.training.slide_correction import train_slide_correction

        return train_slide_correction(settings, progress)
    if settings.kind == "slide-distance":
        from cytodiffusion.training.slide_distance import train_slide_distance

        return train_slide_distance(settings, progress)
    if settings.kind == "segmenter":
        from cytodiffusion.training.segmenter import train_segmenter  # imports this module

        return train_segmenter(settings, progress)
    if settings.kind != "diffusion":
        from cytodiffusion.training.baseline import train_baseline  # imports this module

        return train_baseline(settings, progress)
    if settings.pseudo_labels:
        from cytodiffusion.training.few_labels import train_few_labels

        return train_few_labels(settings, progress)
    run = Trainer(settings, progress)
    run.fit()
    return finish_bundle(
        run.final_denoiser(), run.names, run.sets, run.settings, run.history, progress
    )
