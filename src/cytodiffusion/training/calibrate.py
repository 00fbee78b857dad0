"""Calibration of a trained denoiser on the validation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cytodiffusion.classification.anomaly import anomaly_scores, anomaly_threshold, default_score
from cytodiffusion.classification.classifier import Evidence, gather_evidence
from cytodiffusion.classification.conformal import measured_coverage
from cytodiffusion.classification.scores import confidence, fit_temperature, softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.codec import WHITE, to_unit
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.progress import Progress
from cytodiffusion.training.augmentation.augment import augment
from cytodiffusion.training.augmentation.outlines import Outlines
from cytodiffusion.training.augmentation.settings import AugmentSettings
from cytodiffusion.training.class_statistics import (
    embedding_spread,
    measure_statistics,
    standardise,
)
from cytodiffusion.training.data import CellSet, generator_for

#: Noise levels that are tried on validation cells.
CANDIDATE_LEVELS = (10, 30, 60, 100, 150, 200, 260, 330, 410, 500)
#: How many of them trials go round.
KEPT_LEVELS = 4
#: Weight in trials of the variance known from validation cells.
PRIOR_WEIGHT = 3.0
#: Training cells of each class, at most, that the spread of embeddings is measured on.
MOST_OF_EACH = 400


def blank_calibration(n_classes: int, embedding: int, levels: tuple[int, ...]) -> Calibration:
    """Calibration that changes nothing, to measure with."""
    eye = torch.eye(embedding)
    return Calibration(
        levels=levels,
        validation=ValidationRecord(),
        prior_variance=1.0,
        prior_weight=PRIOR_WEIGHT,
        anomaly_threshold=float("inf"),
        false_alarms=0.0,
        embedding_mean=torch.zeros(embedding),
        class_means=torch.zeros(n_classes, embedding),
        within_factor=eye,
        total_factor=eye,
    )


@dataclass(frozen=True)
class Views:
    """Windows ``(N, S, S, 3)`` of cells, their backgrounds ``(N, 3)`` and labels ``(N,)``."""

    windows: NDArray[np.uint8]
    backgrounds: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __add__(self, other: Views) -> Views:
        return Views(
            np.concatenate([self.windows, other.windows]),
            np.concatenate([self.backgrounds, other.backgrounds]),
            np.concatenate([self.labels, other.labels]),
        )


def some_of_each(cells: CellSet, most: int, seed: int) -> CellSet:
    """Draw at most ``most`` labelled cells of each class."""
    labels = cells.labels.numpy()
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(labels == c))[:most] for c in np.unique(labels) if c >= 0
    ]
    index = torch.from_numpy(np.sort(np.concatenate(chosen)))
    return cells.take(index.tolist())


def plain_views(cells: CellSet, size: int) -> Views:
    """Return the labelled cells as they are."""
    known = (cells.labels >= 0).numpy()
    return Views(
        cells.windows(size)[known],
        cells.backgrounds.numpy()[known],
        cells.labels.numpy()[known],
    )


def varied_views(
    cells: CellSet,
    size: int,
    seed: int,
    settings: AugmentSettings,
    outlines: Outlines | None = None,
) -> Views:
    """Return the labelled cells once more, in other stains, sizes and focus.

    With ``outlines`` of the cells their surroundings are varied too, and how they dried.
    """
    known = (cells.labels >= 0).nonzero().squeeze(1)
    generator = generator_for(seed, 0, "calibration")
    windows = np.empty((len(known), size, size, 3), np.uint8)
    for start in range(0, len(known), 256):
        index = known[start : start + 256]
        unit = to_unit(cells.pixels[index], cells.backgrounds[index])
        masks = None if outlines is None else outlines.of(index)
        window, _ = augment(unit, size, generator, settings, masks)
        pixels = (window * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        windows[start : start + 256] = pixels.numpy()
    white = np.full((len(known), 3), 255 * WHITE, np.float32)
    return Views(windows, white, cells.labels[known].numpy())


def calibrate(
    model: ModelBundle,
    train: CellSet,
    val: CellSet,
    settings: ClassifySettings,
    false_alarms: float,
    augmentation: AugmentSettings,
    progress: Progress,
) -> Calibration:
    """Measure everything a bundle's calibration holds.

    What must hold for slides of another laboratory too (levels, spread of the embeddings) is
    measured on cells as they are and in varied stains; what is promised for cells like the
    validation cells (temperature, prediction sets, false alarms) on cells as they are.
    """
    size, seed = model.input_size, settings.seed
    plain, varied = plain_views(val, size), varied_views(val, size, seed, augmentation)
    model.calibration = replace(
        model.calibration, levels=best_levels(model, plain + varied, settings, progress)
    )
    full = _evidence(plain, model, settings, progress, stop_early=False)
    model.calibration = replace(
        model.calibration, prior_variance=trial_variance(full, plain.labels)
    )
    stopped = _evidence(plain, model, settings, progress)
    calibration = replace(
        model.calibration,
        validation=validation_record(stopped.logits, plain.labels, settings.coverage),
    )
    calibration = _with_class_statistics(
        calibration,
        model,
        some_of_each(train, MOST_OF_EACH, seed),
        settings,
        augmentation,
        progress,
    )
    budgets = []
    for trials in range(1, settings.min_trials + 1):
        budget = settings.model_copy(update={"trials": trials, "min_trials": trials})
        budgets.append(_evidence(plain, model, budget, progress, stop_early=False))
    calibration = _with_thresholds(calibration, budgets, false_alarms)
    stained = _evidence(varied, model, _few(settings), progress, stop_early=False)
    rate = float((_default_scores(calibration, stained) > calibration.anomaly_threshold).mean())
    measured = calibration.validation.measured | {"alarms_in_varied_stains": rate}
    return replace(calibration, validation=replace(calibration.validation, measured=measured))


def _few(settings: ClassifySettings) -> ClassifySettings:
    """Return settings with the trials that all anomaly scores come from."""
    return settings.model_copy(update={"trials": settings.min_trials})


def _with_class_statistics(
    calibration: Calibration,
    model: ModelBundle,
    cells: CellSet,
    settings: ClassifySettings,
    augmentation: AugmentSettings,
    progress: Progress,
) -> Calibration:
    """Spread of embeddings in all stains; typical errors of cells as they are."""
    plain = plain_views(cells, model.input_size)
    varied = varied_views(cells, model.input_size, settings.seed, augmentation)
    seen, changed = (
        _evidence(views, model, _few(settings), progress, stop_early=False)
        for views in (plain, varied)
    )
    embedding = np.concatenate([seen.embedding, changed.embedding])
    labels = np.concatenate([plain.labels, varied.labels])
    spread = embedding_spread(torch.from_numpy(embedding), torch.from_numpy(labels))
    calibration = replace(calibration, **spread)
    statistics = measure_statistics(seen, plain.labels, calibration, settings.seed)
    return replace(calibration, class_statistics=statistics)


def validation_record(
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    coverage: float,
    accepted_by: Callable[[NDArray[np.float64]], NDArray[np.float64]] = confidence,
) -> ValidationRecord:
    """Fit a temperature to cells of known class, and keep how sure and how right it is of them.

    Parameters
    ----------
    logits : (N, K) array
    labels : (N,) array
    coverage : float
        Of the prediction sets that are measured.
    accepted_by : callable
        Gives the certainty ``(N,)`` of posteriors ``(N, K)``.
    """
    temperature = fit_temperature(logits, labels)
    posterior = softmax(logits / temperature)
    strange = 1 - posterior[np.arange(len(labels)), labels]
    order = np.argsort(strange, kind="stable")
    return ValidationRecord(
        scores=torch.from_numpy(strange[order]).float(),
        classes=torch.from_numpy(labels[order]).long(),
        confidence=torch.from_numpy(accepted_by(posterior)),
        correct=torch.from_numpy(posterior.argmax(axis=1) == labels),
        true=torch.from_numpy(np.asarray(labels, np.int64)),
        called=torch.from_numpy(posterior.argmax(axis=1).astype(np.int64)),
        temperature=temperature,
        measured=measured_coverage(posterior, labels, coverage),
    )


def _with_thresholds(
    calibration: Calibration, budgets: list[Evidence], false_alarms: float
) -> Calibration:
    """Thresholds of all anomaly scores, and those of the default score by themselves."""
    calibration = replace(
        calibration, class_statistics=standardise(calibration, budgets, false_alarms)
    )
    name = default_score(calibration)
    thresholds = [
        anomaly_threshold(calibration, name, trials) for trials in range(1, len(budgets) + 1)
    ]
    alarms = _default_scores(calibration, budgets[-1]) > thresholds[-1]
    return replace(
        calibration,
        anomaly_threshold=thresholds[-1],
        early_thresholds=tuple(thresholds[:-1]),
        false_alarms=float(alarms.mean()),
    )


def _default_scores(calibration: Calibration, evidence: Evidence) -> NDArray[np.float64]:
    scores = anomaly_scores(evidence.all_logits, evidence.embedding, calibration)
    return scores[default_score(calibration)]


def _evidence(
    views: Views,
    model: ModelBundle,
    settings: ClassifySettings,
    progress: Progress,
    stop_early: bool = True,
) -> Evidence:
    return gather_evidence(
        views.windows,
        model,
        settings.model_copy(update={"batch_size": 1024}),
        background=views.backgrounds,
        progress=progress,
        stop_early=stop_early,
    )


def best_levels(
    model: ModelBundle, views: Views, settings: ClassifySettings, progress: Progress
) -> tuple[int, ...]:
    """Noise levels whose single trials have the least log loss, best first."""
    model.calibration = replace(model.calibration, levels=CANDIDATE_LEVELS)
    once = settings.model_copy(update={"trials": len(CANDIDATE_LEVELS)})
    evidence = _evidence(views, model, once, progress, stop_early=False)
    labels = views.labels
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
