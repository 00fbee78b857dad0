"""Classes by what a model was taught, over what its network says.

A bundle may hold a small head (`cytodiffusion.model.taught_head`). It comes after the network, the
correction for the slide and the distance of the slide, as corrections of a slide do
(`cytodiffusion.classification.corrections`); the prior comes after it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.corrections import alike, away_from_mean, places, widened
from cytodiffusion.classification.decision import answers, record_of
from cytodiffusion.classification.prior import prior_of
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_distance import FAR, likeliest_sets
from cytodiffusion.model.bundle import ModelBundle

if TYPE_CHECKING:
    from cytodiffusion.baselines.baseline import Baseline

Floats = NDArray[np.float64]

#: Logarithms of posteriors are cut off here: beyond, a class is not there for the network.
LEAST = -30.0


def with_head(
    result: Classification, model: ModelBundle | Baseline, settings: ClassifySettings
) -> Classification:
    """Return what a model says by what it was taught; the same result where that is nothing.

    Parameters
    ----------
    result : Classification
        What the network of the model says, in its classes.
    """
    head = model.head
    if head is None or result.embedding is None or not isinstance(model, ModelBundle):
        return result
    base = network_base(result, model, settings)
    posterior = softmax(
        head.logits(base, away_from_mean(result.embedding, model)) / head.validation.temperature
    )
    found = answers(posterior, record_of(model, adjusted=result.adjusted), model, settings)
    if (result.slide_distance or 0.0) >= FAR:  # as wide as those of other cells of a far slide
        found["prediction_set"] |= likeliest_sets(posterior, settings.coverage)
    extra = len(head.offsets) - head.n_known
    changed: dict[str, Any] = {
        "class_names": model.class_names,
        "logits": widened(result.logits, extra).astype(np.float64),
        "errors_by_level": widened(result.errors_by_level, extra),
        "anomaly_score": result.anomaly_score,
    }
    if len(head.cells) and len(result):
        seen = places(head.cells.embedding, model)
        shift = alike(places(result.embedding, model), seen) @ head.carried.astype(np.float64)
        changed["anomaly_score"] = result.anomaly_score - np.maximum(shift, 0.0)
    anomaly = changed["anomaly_score"] > result.anomaly_threshold
    return replace(result, **found, **changed, anomaly=anomaly)


def without_head(result: Classification, model: ModelBundle | Baseline) -> Classification:
    """Return what the network itself said, as far as logits and errors go: to start from anew."""
    if model.head is None or len(result.class_names) == model.head.n_known:
        return result
    known = model.head.n_known
    return replace(
        result,
        class_names=result.class_names[:known],
        logits=result.logits[:, :known],
        errors_by_level=result.errors_by_level[..., :known],
    )


def network_base(result: Classification, model: ModelBundle, settings: ClassifySettings) -> Floats:
    """Logarithms ``(N, K)`` of the network's posterior, with no class expected over others."""
    network = model.untaught
    prior = prior_of(settings, network.class_names, [c.group for c in network.classes])
    plain = result.posterior if prior is None else prior.removed(result.posterior)
    return np.maximum(np.log(np.maximum(plain, 1e-300)), LEAST)
