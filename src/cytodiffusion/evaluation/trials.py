"""What trials bring: the accuracy after each of them, and the published rule beside ours."""

from __future__ import annotations

import time
from typing import Any

from cytodiffusion.classification.classifier import gather_evidence
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import Record
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.candidate import Candidate
from cytodiffusion.evaluation.cells import draw, label_indices
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.settings import EVALUATED
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.metrics.curves import accuracy_by_trials
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.stable_diffusion import StableDiffusionDenoiser
from cytodiffusion.progress import Progress, silent

#: Cells that go through the network together; the published code takes one.
CELLS_AT_ONCE = 8


def trial_curve(
    model: ModelBundle,
    records: list[Record],
    settings: ClassifySettings,
    frames: Frames,
    *,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Accuracy of the network after 1, 2, ..., T trials; what it was taught has none."""
    model = model.untaught
    records = [record for record in records if record.label in model.class_names]
    read = frames.cut(records, model.input_size, model.window_um)
    evidence = gather_evidence(
        read.pixels,
        model,
        settings,
        background=read.backgrounds,
        progress=progress,
        stop_early=False,
    )
    labels = label_indices(read.records, model.class_names)
    return {"n": len(labels), "points": accuracy_by_trials(evidence.all_logits, labels)}


def check_published(main: Candidate, cells: int) -> None:
    """Refuse the published rule for a network that it is not for."""
    denoiser = getattr(main.model, "denoiser", None)
    if cells and not isinstance(denoiser, StableDiffusionDenoiser):
        raise InputError(
            f"{main.model.name} has not Stable Diffusion's network, which the published rule is "
            "for: leave out published_cells."
        )


def published_figures(main: Candidate, context: Context) -> dict[str, Any]:
    """Measure the published rule on cells of known classes, drawn at random."""
    from cytodiffusion.classification.published_rule import PublishedSettings, classify_published

    s, model = context.settings, main.model
    progress = context.next("the published rule")
    wanted = {id(record) for record in draw(main.known.records, s.published_cells, s.seed)}
    cells = main.known[[id(record) in wanted for record in main.known.records]]
    frames = context.frames(EVALUATED, context.records, s.pixel_size_um)
    read = frames.cut(cells.records, model.input_size, model.window_um)
    settings = PublishedSettings(
        trials=s.published_trials, seed=s.seed, cells_at_once=CELLS_AT_ONCE
    )
    began = time.perf_counter()
    found = classify_published(
        read.pixels, model, settings, background=read.backgrounds, progress=progress
    )
    seconds = time.perf_counter() - began
    labels, own = cells.labels, cells.result.predicted
    return {
        "n": len(labels),
        "accuracy": float((found.predicted == labels).mean()),
        "balanced_accuracy": balanced_accuracy(labels, found.predicted),
        "own": {
            "accuracy": float((own == labels).mean()),
            "balanced_accuracy": balanced_accuracy(labels, own),
        },
        "trials_mean": float(found.trials.mean()),
        "passes_mean": float(found.passes.mean()),
        "ms_per_cell": 1000 * seconds / len(labels),
        "settings": settings.model_dump(mode="json"),
    }
