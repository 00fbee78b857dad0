"""Less confidence, wider sets and an anomaly score of its own for a slide unlike the training.

How unlike the training the cells of a slide look is measured without labels, by their anomaly
scores: the mean over the cells of how far the score is above that of validation cells taken for
the same class. Most cells of a slide in another stain score higher; a few odd cells among ordinary
ones hardly move the mean. A bundle may hold how much confidence falls with that distance
(`cytodiffusion.model.slide_distance`).

A prediction set of a far slide also has the likeliest classes whose lowered probabilities add up to
the coverage asked for, and a cell is anomalous where it stands out from its own slide: the stain
that all cells share is no anomaly. All of it leaves the order of a cell's classes as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin, softmax

if TYPE_CHECKING:
    from cytodiffusion.model.slide_distance import SlideDistance

Floats = NDArray[np.float64]

#: Standard errors that the mean must be above that of validation cells before it counts.
MARGIN = 2.0

#: Standard scores beyond it count as this much, so that single cells make no slide far.
LARGEST = 6.0

#: Cells of a class with which it has half of its full say in the distance: the hundreds of red
#: cells of a field do not outvote its white cells, nor a stray cell the others.
HALF_SAY = 50

#: Cells of a class with which it has half of its full say in where ordinary cells of a slide lie.
HALF_VOTE = 5

#: From this distance on a slide is far: its sets are widened and the user is told.
FAR = 0.5

#: Confidences nearer to 0 and 1 than this count as so near.
NEAREST = 1e-4

#: The anomaly score that distances are measured by; it stays as it is among all scores.
DEFAULT = "combined"

#: Largest temperature, as a logarithm, and halvings of the interval that it is searched in.
HOTTEST, HALVINGS = 4.0, 30


def standard_scores(scores: Floats, called: NDArray[np.int64], kept: SlideDistance) -> Floats:
    """Anomaly scores ``(N,)`` over those of validation cells taken for the same class."""
    return np.asarray((scores - np.array(kept.typical)[called]) / kept.spread)


def slide_distance(standard: Floats, called: NDArray[np.int64], kept: SlideDistance) -> float:
    """How far the slide of N cells is from the training; 0 where it may be one of it.

    Parameters
    ----------
    standard : (N,) array
        Standard scores of its cells.
    called : (N,) array
        What each was taken for.
    kept : SlideDistance
    """
    if not len(standard):
        return 0.0
    mean, noise = mean_standard(standard, called)
    return max(0.0, mean - kept.usual - MARGIN * noise)


def mean_standard(standard: Floats, called: NDArray[np.int64]) -> tuple[float, float]:
    """Mean standard score of a slide's cells, each class with its say, and its standard error."""
    clipped = np.clip(standard, -LARGEST, LARGEST)
    counts = np.bincount(called)
    there = counts > 0
    n = counts[there]
    means = np.bincount(called, clipped)[there] / n
    say = n / (n + HALF_SAY)
    say = say / say.sum()
    noise = float(np.sqrt((say**2 / n).sum()))
    return float(say @ means), noise


def lowered(posterior: Floats, distance: float, kept: SlideDistance) -> Floats:
    """Posterior ``(N, K)`` as sure as the model is right at that distance.

    Each row gets a temperature of its own, at least 1, so that the order of its classes stays.
    """
    if distance <= 0 or not len(posterior):
        return posterior
    wanted = expected_confidence(posterior, distance, kept)
    logs = np.log(np.maximum(posterior, 1e-300))
    low, high = np.zeros(len(posterior)), np.full(len(posterior), HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        cool = softmax(logs / np.exp(middle)[:, None]).max(axis=1) >= wanted
        low, high = np.where(cool, middle, low), np.where(cool, high, middle)
    return softmax(logs / np.exp(low)[:, None])


def expected_confidence(posterior: Floats, distance: float, kept: SlideDistance) -> Floats:
    """How probably cells ``(N,)`` are what they are taken for at that distance."""
    odds = log_odds(posterior.max(axis=1))
    doubt = np.array(kept.doubt)[posterior.argmax(axis=1)]
    fallen = odds - distance * (kept.fall + kept.slope * odds + doubt)
    return np.asarray(1 / (1 + np.exp(-np.minimum(fallen, odds))))


def log_odds(confidence: Floats) -> Floats:
    """Logarithm of the odds ``(N,)``, of confidences that are not too near to 0 and 1."""
    kept = np.clip(confidence, NEAREST, 1 - NEAREST)
    return np.asarray(np.log(kept / (1 - kept)))


def likeliest_sets(posterior: Floats, coverage: float) -> NDArray[np.bool_]:
    """Fewest classes ``(N, K)`` whose probabilities add up to ``coverage`` at least."""
    order = np.argsort(-posterior, axis=1, kind="stable")
    ordered = np.take_along_axis(posterior, order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    chosen = np.zeros(posterior.shape, bool)
    np.put_along_axis(chosen, order, before < coverage, axis=1)
    return chosen


def own_location(standard: Floats, called: NDArray[np.int64]) -> float:
    """Where ordinary cells of a slide lie: the median of their classes' medians, each with a say.

    A stain moves all classes. What moves one class alone, such as blasts that are all taken for
    lymphocytes, does not move the median of the classes.
    """
    classes = np.unique(called)
    medians = np.array([np.median(standard[called == k]) for k in classes])
    counts = np.array([(called == k).sum() for k in classes])
    say = counts / (counts + HALF_VOTE)
    order = np.argsort(medians, kind="stable")
    cumulated = np.cumsum(say[order])
    return float(medians[order][np.searchsorted(cumulated, cumulated[-1] / 2)])


def own_scale(standard: Floats, called: NDArray[np.int64]) -> float:
    """How far from the median of their class three quarters of a slide's cells lie at most."""
    away = standard.copy()
    common = np.median(standard)
    for k in np.unique(called):
        here = called == k
        n = here.sum()
        away[here] -= (n * np.median(standard[here]) + HALF_VOTE * common) / (n + HALF_VOTE)
    return max(float(np.quantile(np.abs(away), 0.75)), 1e-6)


def relative_scores(standard: Floats, called: NDArray[np.int64]) -> Floats:
    """How far cells ``(N,)`` stand out from their own slide, in units of its own scale."""
    return (standard - own_location(standard, called)) / own_scale(standard, called)


def own_share(standard: Floats, called: NDArray[np.int64], kept: SlideDistance) -> float:
    """How much cells are held against their own slide rather than the training, 0 to 1.

    None at all as long as ordinary cells of most classes lie where validation cells do.
    """
    return float(np.clip(own_location(standard, called) - kept.usual - FAR, 0.0, 1.0))


def slide_scores(
    scores: Floats, called: NDArray[np.int64], kept: SlideDistance, threshold: float
) -> Floats:
    """Anomaly scores ``(N,)`` held against the slide where that is far, for the same threshold."""
    standard = standard_scores(scores, called, kept)
    share = own_share(standard, called, kept)
    if share <= 0:
        return scores
    above = relative_scores(standard, called) - kept.tail
    return np.asarray((1 - share) * scores + share * (threshold + kept.spread * above))


def weigh_distance(result: Classification, kept: SlideDistance, coverage: float) -> Classification:
    """Hold the cells of a slide against its distance from the training.

    Parameters
    ----------
    result : Classification
        Of all cells of the slide, enough of them to tell its distance.
    kept : SlideDistance
    coverage : float
        Of the prediction sets.
    """
    called = np.asarray(result.logits).argmax(axis=1)
    threshold = result.anomaly_threshold
    scores = result.anomaly_scores.get(DEFAULT, result.anomaly_score)
    distance = slide_distance(standard_scores(scores, called, kept), called, kept)
    posterior = lowered(result.posterior, distance, kept)
    sets = result.prediction_set
    if distance >= FAR:
        sets = sets | likeliest_sets(posterior, coverage)
    held = slide_scores(scores, called, kept, threshold)
    return replace(
        result,
        posterior=posterior,
        confidence=posterior.max(axis=1),
        entropy=entropy(posterior),
        margin=margin(posterior),
        prediction_set=sets,
        anomaly_score=held,
        anomaly=held > threshold,
        slide_distance=distance,
        sure_before=float(result.confidence.mean()),
    )


def far_slide(distance: float | None, before: float | None, after: float) -> str | None:
    """Return a sentence where a slide is far from the training, else None.

    Parameters
    ----------
    distance : float or None
        None where it was not measured.
    before, after : float
        Mean confidence.
    """
    if distance is None or before is None or distance < FAR:
        return None
    return (
        f"This slide looks unlike those that the model knows (distance {distance:.1f}; below "
        f"{FAR:g} is usual): its confidences were lowered, on average from {before:.2f} to "
        f"{after:.2f}, its prediction sets were widened, and anomalies are "
        "cells unlike the others of this slide."
    )
