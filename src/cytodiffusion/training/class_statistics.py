"""What the cells of each class look like to a trained denoiser, and how unlike is too unlike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.classification.anomaly import (
    anomaly_scores,
    leads,
    own_levels,
    shapes,
    unit_embedding,
)
from cytodiffusion.classification.classifier import Evidence
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.class_statistics import COMBINED, SCORES, ClassStatistics

#: Training cells of each class that are kept to measure distances from.
NEIGHBOURS = 128

#: How much the spread of all classes counts in that of one, of which there may be few cells.
POOLED = 0.5


def measure_statistics(
    seen: Evidence, labels: NDArray[np.int64], calibration: Calibration, seed: int
) -> ClassStatistics:
    """Typical errors and embeddings of training cells; nothing is standardised yet.

    Parameters
    ----------
    seen : Evidence
        Of training cells, all of the same number of trials.
    labels : (N,) integer array
    calibration : Calibration
        With the spread of the embeddings.
    seed : int
        Chooses the cells that are kept.
    """
    logits = seen.all_logits.astype(np.float64)
    n_levels = len(calibration.levels)
    lead = leads(logits.mean(axis=1))
    lead_means, lead_factors = _usual(lead, labels)
    shape_means, shape_factors = _usual(shapes(lead), labels)
    level_means, level_spreads = _levels(logits, labels, n_levels)
    kept = _some_of_each(labels, seed)
    unit = unit_embedding(seen.embedding[kept], calibration)
    return ClassStatistics(
        lead_means=lead_means,
        lead_factors=lead_factors,
        shape_means=shape_means,
        shape_factors=shape_factors,
        level_means=_floats(level_means),
        level_spreads=_floats(level_spreads),
        neighbours=torch.from_numpy(unit).half(),
        neighbour_classes=torch.from_numpy(labels[kept]).long(),
        centres=torch.zeros(1, len(COMBINED)),
        scales=torch.ones(1, len(COMBINED)),
        thresholds=torch.zeros(1, len(SCORES)),
    )


def standardise(
    calibration: Calibration, budgets: Sequence[Evidence], false_alarms: float
) -> ClassStatistics:
    """Centres, scales and thresholds of the scores from validation cells."""
    assert calibration.class_statistics is not None
    parts = [_scores(evidence, calibration) for evidence in budgets]
    centres = np.array([[np.median(p[name]) for name in COMBINED] for p in parts])
    high = np.array([[np.quantile(p[name], 0.9) for name in COMBINED] for p in parts])
    statistics = replace(
        calibration.class_statistics,
        centres=_floats(centres),
        scales=_floats(np.maximum(high - centres, 1e-6)),
    )
    finished = replace(calibration, class_statistics=statistics)
    parts = [_scores(evidence, finished) for evidence in budgets]
    thresholds = [[np.quantile(p[name], 1 - false_alarms) for name in SCORES] for p in parts]
    return replace(statistics, thresholds=_floats(np.array(thresholds)))


def _usual(values: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Mean ``(K, D)`` and whitening ``(K, D, D)`` of the rows ``(N, D)`` of each class."""
    rows, classes = torch.from_numpy(values), torch.from_numpy(labels)
    count = int(classes.max()) + 1
    means = torch.stack([rows[classes == c].mean(0) for c in range(count)])
    away = rows - means[classes]
    pooled = covariance(away)
    own = [covariance(away[classes == c]) for c in range(count)]
    factors = torch.stack([whitening(POOLED * pooled + (1 - POOLED) * x) for x in own])
    return means.float(), factors.float()


def _scores(evidence: Evidence, calibration: Calibration) -> dict[str, NDArray[np.float64]]:
    return anomaly_scores(evidence.all_logits, evidence.embedding, calibration)


def _levels(
    logits: NDArray[np.float64], labels: NDArray[np.int64], n_levels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread ``(L, K)`` of the own class's error; those of all trials where none was."""
    own, k = own_levels(logits, labels), logits.shape[2]
    mean = np.tile([own[labels == c].mean() for c in range(k)], (n_levels, 1))
    spread = np.tile([own[labels == c].std() for c in range(k)], (n_levels, 1))
    for level in range(min(n_levels, own.shape[1])):
        here = own[:, level::n_levels]
        mean[level] = [here[labels == c].mean() for c in range(k)]
        spread[level] = [here[labels == c].std() for c in range(k)]
    return mean, np.maximum(spread, 1e-3)


def _some_of_each(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    kept = [order[labels[order] == c][:NEIGHBOURS] for c in range(int(labels.max()) + 1)]
    return np.concatenate(kept)


def _floats(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values)).float()


#: Shrinkage of covariances towards a multiple of the identity.
SHRINKAGE = 0.1


def embedding_spread(embedding: Tensor, labels: Tensor) -> dict[str, Any]:
    """Means and whitening factors of the embeddings, within classes and overall."""
    x = embedding.double()
    centres = torch.stack([x[labels == k].mean(0) for k in range(int(labels.max()) + 1)])
    within = x - centres[labels]
    overall = x - x.mean(0)
    return {
        "embedding_mean": x.mean(0).float(),
        "class_means": centres.float(),
        "within_factor": whitening(covariance(within)).float(),
        "total_factor": whitening(covariance(overall)).float(),
    }


def covariance(centred: Tensor) -> Tensor:
    """Covariance ``(D, D)`` of centred rows ``(N, D)``."""
    return centred.T @ centred / max(1, len(centred) - 1)


def whitening(covariance: Tensor) -> Tensor:
    """Matrix ``(D, D)`` that gives rows of this covariance the unit one when multiplied."""
    scale = covariance.diagonal().mean()
    eye = torch.eye(len(covariance), dtype=covariance.dtype)
    covariance = (1 - SHRINKAGE) * covariance + (SHRINKAGE * scale + 1e-9) * eye
    values, vectors = torch.linalg.eigh(covariance)
    factor: Tensor = vectors @ values.clamp(min=1e-12).rsqrt().diag() @ vectors.T
    return factor
