"""Scores of how unlike the training cells a cell is; all are higher for unlike cells.

All scores come from the first trials, the same number for every cell, so that a cell's score does
not depend on how soon its class was decided. One of them, zeta, is the uncertainty score of the
published diffusion classifier (Deltadahl et al., Nature Machine Intelligence 7:1791, 2025). With
class errors sorted, e_0 <= e_1 <= ..., and the ``k`` nearest rivals of the best,

    zeta = mean_j (e_j - e_0) - mean_{j != l} |e_j - e_l|,      j, l in 1..k,

the mean lead over the rivals less the mean spread among them. It is large where one class is near
and all others are far and alike, and small, also negative, where no class stands out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from torch import Tensor

from cytodiffusion.errors import InputError
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.class_statistics import COMBINED, SCORES, ClassStatistics

#: Rivals that count at most.
RIVALS = 10


def normalised(errors: ArrayLike) -> NDArray[np.float64]:
    """Errors less the smallest of their cell, over their mean: the scale that zeta is defined on.

    Parameters
    ----------
    errors : (N, K) array
        Mean error of each class over the trials, in any unit.

    Returns
    -------
    (N, K) float64 array
        Rows with smallest value 0 and mean 1; zeros where all classes have the same error.
    """
    table = _table(errors)
    lead = table - table.min(axis=1, keepdims=True, initial=np.inf)
    mean = lead.mean(axis=1, keepdims=True)
    return np.asarray(np.divide(lead, mean, out=np.zeros_like(lead), where=mean > 0))


def zeta(errors: ArrayLike, *, as_published: bool = False) -> NDArray[np.float64]:
    """How far the best class stands out from its ``k = min(K - 1, 10)`` nearest rivals.

    Parameters
    ----------
    errors : (N, K) array
        Normalised class errors (see `normalised`); any order of the classes.
    as_published : bool
        The authors' code divides by ``k`` and ``k (k - 1)`` but its loops stop one short, so the
        last of the ``k`` rivals is left out of both sums. By default it is counted: then the
        sums are the means that their divisors say, and two classes have a zeta too. True leaves it
        out, for figures to be compared with theirs.

    Returns
    -------
    (N,) float64 array
        Small where no class stands out; 0 where there is one class only.
    """
    table = np.sort(_table(errors), axis=1)
    k = min(table.shape[1] - 1, RIVALS)
    if k < 1:
        return np.zeros(len(table))
    rivals = table[:, 1 : k if as_published else k + 1]
    m = rivals.shape[1]
    lead = (rivals - table[:, :1]).sum(axis=1) / k
    # sum of |e_j - e_l| over all ordered pairs of m sorted numbers
    ranks = 2 * np.arange(1, m + 1) - m - 1
    spread = 2 * (rivals * ranks).sum(axis=1) / max(k * (k - 1), 1)
    return np.asarray(lead - spread)


def _table(errors: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(errors, np.float64)
    if table.ndim != 2 or table.shape[1] < 1 or not np.isfinite(table).all():
        raise InputError(
            f"Class errors must be finite numbers, one row a cell and one column a class, not an "
            f"array of shape {table.shape}."
        )
    return table


Floats = NDArray[np.float64]

#: A cell's distance to its class is that to this nearest of its training cells.
NEIGHBOUR = 5

#: The score that flags anomalies of a bundle without `ClassStatistics`.
PLAIN = "relative_mahalanobis"


def default_score(calibration: Calibration) -> str:
    """Name of the score that flags anomalies."""
    return PLAIN if calibration.class_statistics is None else "combined"


def anomaly_threshold(calibration: Calibration, name: str, trials: int) -> float:
    """Return what the stated share of validation cells exceeds, after ``trials`` trials."""
    if calibration.class_statistics is None:
        return calibration.threshold(trials)
    return calibration.class_statistics.threshold(name, trials)


def anomaly_scores(
    logits: NDArray[np.floating], embedding: NDArray[np.float32], calibration: Calibration
) -> dict[str, Floats]:
    """All scores of cells, each ``(N,)``.

    Parameters
    ----------
    logits : (N, T, K) array
        Of the first T trials, ``-s(t) error``.
    embedding : (N, D) array
        Mean over these trials.
    """
    table = np.asarray(logits, np.float64)
    if not len(table):  # no cells had no trials
        table = table.reshape(0, max(1, table.shape[1]), table.shape[2])
    mean = table.mean(axis=1)
    predicted = mean.argmax(axis=1)
    found = {
        "zeta": -zeta(normalised(-mean)),
        "contrast": mean.mean(axis=1) - mean.max(axis=1, initial=-np.inf),
        "mahalanobis": class_distance(embedding, predicted, calibration),
        "relative_mahalanobis": calibration.anomaly_score(embedding),
        "energy": -logsumexp(mean / calibration.temperature, axis=1),
    }
    statistics = calibration.class_statistics
    if statistics is not None:
        found |= _parts(mean, predicted, statistics)
        found["error_level"] = error_level(table, predicted, statistics)
        found["neighbours"] = neighbour_distance(
            unit_embedding(embedding, calibration), predicted, statistics
        )
        found["combined"] = combine(found, statistics, table.shape[1])
    return {name: np.asarray(found[name]) for name in SCORES if name in found}


def scores_after(
    logits: NDArray[np.floating],
    embedding: NDArray[np.float32],
    trials: NDArray[np.int64],
    calibration: Calibration,
) -> dict[str, Floats]:
    """All scores of cells that one trial settled, and of others.

    Parameters
    ----------
    logits : (N, T, K) array
        Of the first T trials; of the cells of which ``trials`` is 1 only the first counts.
    embedding : (N, D) array
        Mean over these trials.
    trials : (N,) array
        Of each cell.
    calibration : Calibration

    Returns
    -------
    dict
        As `anomaly_scores`. Scores of one trial lie as far from the threshold after T trials as
        they did from that after one, so that one threshold holds for all cells.
    """
    first = max(1, logits.shape[1])
    found = {
        name: np.zeros(len(trials))
        for name in anomaly_scores(logits[:0], embedding[:0], calibration)
    }
    settled = (trials == 1) & (first > 1)
    for rows, used in ((settled, 1), (~settled, first)):
        part = anomaly_scores(logits[rows, :used], embedding[rows], calibration)
        for name, values in part.items():
            ours, after = (anomaly_threshold(calibration, name, t) for t in (used, first))
            found[name][rows] = values + (after - ours)
    return found


def combined_score(logits: Floats, calibration: Calibration) -> Floats:
    """Score that flags anomalies ``(N,)`` from logits ``(N, T, K)`` alone; needs statistics."""
    statistics = calibration.class_statistics
    assert statistics is not None
    mean = logits.mean(axis=1)
    return combine(_parts(mean, mean.argmax(axis=1), statistics), statistics, logits.shape[1])


def _parts(
    mean: Floats, predicted: NDArray[np.int64], statistics: ClassStatistics
) -> dict[str, Floats]:
    """Parts of the combined score, from mean logits ``(N, K)``."""
    lead = leads(mean)
    return {
        "contrast": mean.mean(axis=1) - mean.max(axis=1, initial=-np.inf),
        "shape": unusual(shapes(lead), predicted, statistics.shape_means, statistics.shape_factors),
        "profile": unusual(lead, predicted, statistics.lead_means, statistics.lead_factors),
    }


def combine(scores: dict[str, Floats], statistics: ClassStatistics, trials: int) -> Floats:
    """Mean ``(N,)`` of the standardised parts: 0 for a median cell, 1 at the 90 % quantile."""
    row = statistics.row(trials)
    parts = np.stack([scores[name] for name in COMBINED], axis=1)
    centres, scales = _numbers(statistics.centres[row]), _numbers(statistics.scales[row])
    return np.asarray(((parts - centres) / scales).mean(axis=1))


def leads(logits: Floats) -> Floats:
    """Mean logits ``(N, K)`` less the largest of each cell."""
    return np.asarray(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))


def shapes(lead: Floats) -> Floats:
    """Leads ``(N, K)`` over minus their mean: how they are shared out, not how large they are.

    Two classes have none: all of the lead is over the one rival there is.
    """
    if lead.shape[1] == 2:
        return np.zeros_like(lead)
    return np.asarray(lead / np.maximum(-lead.mean(axis=1, keepdims=True), 1e-12))


def unusual(values: Floats, predicted: NDArray[np.int64], means: Tensor, factors: Tensor) -> Floats:
    """Mahalanobis distance ``(N,)`` of values ``(N, K)`` from those of the predicted class."""
    away = values - _numbers(means)[predicted]
    white = np.einsum("nk,nkj->nj", away, _numbers(factors)[predicted])
    return np.asarray(np.linalg.norm(white, axis=1))


def own_levels(logits: Floats, classes: NDArray[np.int64]) -> Floats:
    """Logarithm of each trial's error under one class a cell, ``(N, T)`` from ``(N, T, K)``."""
    own = np.take_along_axis(logits, classes[:, None, None], axis=2)[:, :, 0]
    return np.asarray(np.log(np.maximum(-own, 1e-12)))


def error_level(
    logits: Floats, predicted: NDArray[np.int64], statistics: ClassStatistics
) -> Floats:
    """How far ``(N,)`` the error under the predicted class is from the usual, either way."""
    levels = np.arange(logits.shape[1]) % len(statistics.level_means)
    mean = _numbers(statistics.level_means)[levels][:, predicted].T
    spread = _numbers(statistics.level_spreads)[levels][:, predicted].T
    standard = (own_levels(logits, predicted) - mean) / spread
    return np.asarray(np.abs(standard.mean(axis=1)))


def class_distance(
    embedding: NDArray[np.float32], predicted: NDArray[np.int64], calibration: Calibration
) -> Floats:
    """Mahalanobis distance ``(N,)`` of embeddings ``(N, D)`` from the mean of a class each."""
    away = np.asarray(embedding, np.float64) - _numbers(calibration.class_means)[predicted]
    return np.asarray(np.linalg.norm(away @ _numbers(calibration.within_factor), axis=1))


def unit_embedding(embedding: NDArray[np.float32], calibration: Calibration) -> Floats:
    """Embeddings ``(N, D)``, centred, whitened within classes and of length 1."""
    away = np.asarray(embedding, np.float64) - _numbers(calibration.embedding_mean)
    white = away @ _numbers(calibration.within_factor)
    length = np.linalg.norm(white, axis=1, keepdims=True)
    return np.asarray(white / np.maximum(length, 1e-12))


def neighbour_distance(
    unit: Floats, predicted: NDArray[np.int64], statistics: ClassStatistics
) -> Floats:
    """Distance ``(N,)`` to the `NEIGHBOUR`-th nearest training cell of the predicted class."""
    cells = _numbers(statistics.neighbours)
    classes = statistics.neighbour_classes.cpu().numpy()
    distance = np.full(len(unit), 2.0)  # where a class has no cells: the largest there is
    for k in np.unique(predicted):
        own, here = cells[classes == k], predicted == k
        if len(own):
            nth = min(NEIGHBOUR, len(own)) - 1
            squared = np.partition(2 - 2 * unit[here] @ own.T, nth, axis=1)[:, nth]
            distance[here] = np.sqrt(np.maximum(squared, 0.0))
    return distance


def _numbers(tensor: Tensor) -> Floats:
    return np.asarray(tensor.double().cpu().numpy())
