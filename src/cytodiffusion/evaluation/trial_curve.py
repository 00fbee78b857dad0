"""What each further trial brings: one run in which no cell stops early."""

from __future__ import annotations

from typing import Any

from cytodiffusion.classification.classifier import gather_evidence
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import Record
from cytodiffusion.evaluation.cells import label_indices
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.metrics.curves import accuracy_by_trials
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.progress import Progress, silent


def trial_curve(
    model: ModelBundle,
    records: list[Record],
    settings: ClassifySettings,
    frames: Frames,
    *,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Accuracy after 1, 2, ..., T trials.

    Parameters
    ----------
    model : ModelBundle
    records : list of Record
        Of classes that the model has.
    settings : ClassifySettings
        Gives the budget T and the seed.
    frames : Frames
        Of the set that the records are of.
    progress : callable

    Returns
    -------
    dict
        ``n`` cells, and ``points`` with ``trials``, ``accuracy`` and ``balanced_accuracy``.
    """
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
