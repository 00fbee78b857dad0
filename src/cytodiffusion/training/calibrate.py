"""Calibration of a trained denoiser on the validation split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.classify import ClassifySettings, Evidence, gather_evidence
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.progress import Progress
from cytodiffusion.uncertainty import fit_temperature, softmax

from .data import CellSet

#: Noise levels that are tried on validation cells.
CANDIDATE_LEVELS = (10, 30, 60, 100, 150, 200, 260, 330, 410, 500)
#: How many of them trials go round.
KEPT_LEVELS = 4
#: Weight in trials of the variance known from validation cells.
PRIOR_WEIGHT = 3.0
#: Shrinkage of covariances towards a multiple of the identity.
SHRINKAGE = 0.1


def blank_calibration(n_classes: int, embedding: int, levels: tuple[int, ...]) -> Calibration:
    """Calibration that changes nothing, to measure with."""
    eye = torch.eye(embedding)
    return Calibration(
        levels=levels,
        temperature=1.0,
        prior_variance=1.0,
        prior_weight=PRIOR_WEIGHT,
        conformal_scores=torch.zeros(1),
        anomaly_threshold=float("inf"),
        false_alarms=0.0,
        embedding_mean=torch.zeros(embedding),
        class_means=torch.zeros(n_classes, embedding),
        within_factor=eye,
        total_factor=eye,
    )


def calibrate(
    model: ModelBundle,
    train: CellSet,
    val: CellSet,
    settings: ClassifySettings,
    false_alarms: float,
    progress: Progress,
) -> Calibration:
    """Measure everything a bundle's calibration holds.

    Parameters
    ----------
    model : ModelBundle
        With any calibration of the right shapes.
    train : CellSet
        Gives the embedding's means and covariances.
    val : CellSet
        Gives levels, temperature, conformal scores and the anomaly threshold.
    settings : ClassifySettings
        The default budget, for which the temperature is fitted.
    false_alarms : float
        Share of validation cells that may exceed the anomaly threshold.
    progress : callable
    """
    size = model.input_size
    windows, labels = val.windows(size), val.labels.numpy()
    colours = val.backgrounds.numpy()
    levels = best_levels(model, windows, colours, labels, settings, progress)
    model.calibration = replace(model.calibration, levels=levels)

    everything = settings.model_copy(update={"batch_size": 1024})
    full = gather_evidence(
        windows, model, everything, background=colours, progress=progress, stop_early=False
    )
    model.calibration = replace(model.calibration, prior_variance=trial_variance(full, labels))
    stopped = gather_evidence(windows, model, everything, background=colours, progress=progress)
    temperature = fit_temperature(stopped.logits, labels)
    true = softmax(stopped.logits / temperature)[np.arange(len(labels)), labels]

    few = settings.model_copy(update={"trials": settings.min_trials})
    labelled = train.labels >= 0
    seen = gather_evidence(
        train.windows(size)[labelled.numpy()],
        model,
        few,
        background=train.backgrounds[labelled].numpy(),
        progress=progress,
        stop_early=False,
    )
    spread = embedding_spread(torch.from_numpy(seen.embedding), train.labels[labelled])
    calibration = replace(
        model.calibration,
        temperature=temperature,
        conformal_scores=torch.from_numpy(np.sort(1 - true)).float(),
        **spread,
    )
    scores = calibration.anomaly_score(torch.from_numpy(stopped.embedding)).numpy()
    threshold = float(np.quantile(scores, 1 - false_alarms))
    return replace(
        calibration,
        anomaly_threshold=threshold,
        false_alarms=float((scores > threshold).mean()),
    )


def best_levels(
    model: ModelBundle,
    windows: NDArray[np.uint8],
    colours: NDArray[np.float32],
    labels: NDArray[np.int64],
    settings: ClassifySettings,
    progress: Progress,
) -> tuple[int, ...]:
    """Noise levels whose single trials have the least log loss, best first."""
    model.calibration = replace(model.calibration, levels=CANDIDATE_LEVELS)
    once = settings.model_copy(update={"trials": len(CANDIDATE_LEVELS), "batch_size": 1024})
    evidence = gather_evidence(
        windows, model, once, background=colours, progress=progress, stop_early=False
    )
    losses = []
    for index in range(len(CANDIDATE_LEVELS)):
        logits = evidence.all_logits[:, index].astype(np.float64)
        posterior = softmax(logits / fit_temperature(logits, labels))
        losses.append(-np.log(posterior[np.arange(len(labels)), labels] + 1e-12).mean())
    order = np.argsort(losses)[:KEPT_LEVELS]
    return tuple(CANDIDATE_LEVELS[i] for i in order)


def trial_variance(evidence: Evidence, labels: NDArray[np.int64]) -> float:
    """Variance between trials of the logit lead of the true class over its best rival."""
    logits = evidence.all_logits.astype(np.float64)
    mean = logits.mean(axis=1)
    rows = np.arange(len(labels))
    rivals = mean.copy()
    rivals[rows, labels] = -np.inf
    rival = rivals.argmax(axis=1)
    lead = logits[rows, :, labels] - logits[rows, :, rival]
    close = np.abs(lead.mean(axis=1)) <= np.quantile(np.abs(lead.mean(axis=1)), 0.5)
    return float(np.mean(lead[close].var(axis=1, ddof=1))) + 1e-6


def embedding_spread(embedding: Tensor, labels: Tensor) -> dict[str, Any]:
    """Means and whitening factors of the embeddings, within classes and overall."""
    x = embedding.double()
    centres = torch.stack([x[labels == k].mean(0) for k in range(int(labels.max()) + 1)])
    within = x - centres[labels]
    overall = x - x.mean(0)
    return {
        "embedding_mean": x.mean(0).float(),
        "class_means": centres.float(),
        "within_factor": _whitening(within).float(),
        "total_factor": _whitening(overall).float(),
    }


def _whitening(centred: Tensor) -> Tensor:
    covariance = centred.T @ centred / max(1, len(centred) - 1)
    scale = covariance.diagonal().mean()
    eye = torch.eye(len(covariance), dtype=covariance.dtype)
    covariance = (1 - SHRINKAGE) * covariance + (SHRINKAGE * scale + 1e-9) * eye
    values, vectors = torch.linalg.eigh(covariance)
    factor: Tensor = vectors @ values.clamp(min=1e-12).rsqrt().diag() @ vectors.T
    return factor
