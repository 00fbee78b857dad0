"""From what the trials gave to posterior, prediction sets, anomalies and what to review."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.anomaly import anomaly_threshold, default_score, scores_after
from cytodiffusion.classification.conformal import conformal_p_values, enough_of_each
from cytodiffusion.classification.prior import prior_of, with_prior
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin, softmax
from cytodiffusion.classification.selective import accept, find_stricter
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.taxonomy import white_classes
from cytodiffusion.traits import trait_probabilities

if TYPE_CHECKING:
    from cytodiffusion.baselines.baseline import Baseline


@dataclass
class Evidence:
    """What the trials gave, before any calibration.

    Attributes
    ----------
    logits : (N, K) float64
        Mean over the trials used.
    trials : (N,) int64
    errors_by_level : (N, L, K) float32
    embedding : (N, D) float32
        Mean over the first ``min_trials`` trials, or the one of a cell that needed no more.
    all_logits : (N, T, K) float32
        NaN where a trial was not needed.
    traits : (N, S) float32
        Logits of the values of all traits, mean over the same trials as the embedding.
    """

    logits: NDArray[np.float64]
    trials: NDArray[np.int64]
    errors_by_level: NDArray[np.float32]
    embedding: NDArray[np.float32]
    all_logits: NDArray[np.float32]
    traits: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def decide(evidence: Evidence, model: ModelBundle, settings: ClassifySettings) -> Classification:
    """Turn evidence into posterior, prediction sets and anomalies by the bundle's calibration.

    This is what the network says; `cytodiffusion.classification.taught.with_head` adds what the
    model was taught.
    """
    model = model.untaught
    calibration = model.calibration
    posterior = softmax(evidence.logits / calibration.temperature)
    first = min(settings.min_trials, settings.trials)
    scores = scores_after(
        evidence.all_logits[:, :first], evidence.embedding, evidence.trials, calibration
    )
    chosen = default_score(calibration)
    threshold = anomaly_threshold(calibration, chosen, first)
    return Classification(
        **answers(posterior, model.validation, model, settings),
        class_names=model.class_names,
        anomaly_score=scores[chosen],
        anomaly=scores[chosen] > threshold,
        trials=evidence.trials,
        errors_by_level=evidence.errors_by_level,
        levels=np.array(calibration.levels, np.int64),
        anomaly_threshold=threshold,
        logits=evidence.logits,
        anomaly_scores=scores,
        embedding=evidence.embedding,
        traits=model.traits,
        trait_probabilities=trait_probabilities(evidence.traits, model.traits)
        if model.traits
        else None,
    )


def answers(
    posterior: NDArray[np.float64],
    kept: ValidationRecord,
    model: ModelBundle | Baseline,
    settings: ClassifySettings,
) -> dict[str, Any]:
    """Return what follows from a posterior ``(N, K)`` in which no class is expected over others.

    The prior comes last, after the correction for the slide, which was learned without one.
    Prediction sets are chosen without it, since the validation cells were scored so; a class that
    a cell has from the prior is added to its set.

    Parameters
    ----------
    posterior
    kept
        Of the validation cells that were classified as these were.
    """
    moved = with_prior(posterior, model, settings)
    predicted = moved.argmax(axis=1).astype(np.int64)
    by_prior = predicted != posterior.argmax(axis=1)
    sets = prediction_sets(posterior, kept, settings, model.name)
    sets[np.arange(len(sets)), predicted] |= by_prior & sets.any(axis=1)
    return {
        "posterior": moved,
        "predicted": predicted,
        "confidence": moved.max(axis=1, initial=0.0),
        "entropy": entropy(moved),
        "margin": margin(moved),
        "prediction_set": sets,
        "accept_above": accept_above(kept, settings, model),
        "by_prior": by_prior,
    }


def prediction_sets(
    posterior: NDArray[np.float64], kept: ValidationRecord, settings: ClassifySettings, name: str
) -> NDArray[np.bool_]:
    """Choose the classes ``(N, K)`` by the coverage that the settings ask for."""
    return p_values(posterior, kept, settings, name) > 1.0 - settings.coverage


def p_values(
    posterior: NDArray[np.float64], kept: ValidationRecord, settings: ClassifySettings, name: str
) -> NDArray[np.float64]:
    """Say how usual each class is for each cell, ``(N, K)``, as the settings want it."""
    scores = kept.scores.double().numpy()
    classes = classes_of_scores(kept, settings, name)
    if settings.by_class is None and classes is not None:
        enough = enough_of_each(classes, posterior.shape[1], settings.coverage)
        classes = classes if enough else None
    return conformal_p_values(posterior, scores, classes)


def record_of(model: ModelBundle | Baseline, *, adjusted: bool) -> ValidationRecord:
    """Return what a model makes promises by for cells that were, or were not, seen together."""
    together = model.slide_correction if adjusted else None
    kept = model.validation if together is None else together.validation
    return kept if model.head is None else model.head.joined(kept)


def records_of(model: ModelBundle | Baseline, settings: ClassifySettings) -> list[ValidationRecord]:
    """Return what a model may make promises by, under these settings."""
    seen = (False,) if settings.alone or model.slide_correction is None else (False, True)
    return [record_of(model, adjusted=adjusted) for adjusted in seen]


def check_model(model: ModelBundle | Baseline, settings: ClassifySettings) -> None:
    """Say, before the work, what a diffusion model or baseline cannot promise."""
    for kept in records_of(model, settings):
        check_promises(kept, settings, model)


def check_promises(
    kept: ValidationRecord, settings: ClassifySettings, model: ModelBundle | Baseline
) -> None:
    """Say, before the work, what the model cannot promise."""
    accept_above(kept, settings, model)
    classes_of_scores(kept, settings, model.name)
    prior_of(settings, model.class_names, [c.group for c in model.classes])


def classes_of_scores(
    kept: ValidationRecord, settings: ClassifySettings, name: str
) -> NDArray[np.int64] | None:
    """Classes of the conformal scores, None where they are not to be told apart."""
    if settings.by_class is False:
        return None
    classes = kept.classes.numpy()
    if not len(classes) and settings.by_class is None:
        return None
    if not len(classes):
        raise InputError(
            f"The model {name} was calibrated without a coverage of every class by itself; "
            "train or calibrate it again, or ask for the coverage of all cells together."
        )
    return np.asarray(classes)


def accept_above(
    kept: ValidationRecord, settings: ClassifySettings, model: ModelBundle | Baseline
) -> float | None:
    """Confidence that accepted cells are above, None where no error rate is asked for.

    A rate that somebody set is refused where the model cannot promise it, among white cells too;
    the one that is asked for by default is then not asked for.
    """
    if settings.error_rate is None:
        return None
    confidence, correct = kept.confidence.numpy(), kept.correct.numpy()
    white = kept.among(white_classes(model.class_names, [c.group for c in model.classes]))
    rate = settings.error_rate
    if "error_rate" in settings.model_fields_set:
        return accept(confidence, correct, rate, model=model.name, white=white).above
    found = find_stricter(confidence, correct, rate, white)
    return None if found is None else found.above


def promised_rate(model: ModelBundle | Baseline, settings: ClassifySettings) -> float | None:
    """Return the error rate that accepted cells will be held to, None where there is none."""
    kept = records_of(model, settings)[-1]
    return None if accept_above(kept, settings, model) is None else settings.error_rate
