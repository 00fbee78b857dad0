"""Cells of a slide together: classes corrected for what all of them have in common.

A bundle may hold a small network (`cytodiffusion.model.laboratory`) that sees all cells of a slide,
or of a folder, and corrects the logits of each. Cells must come from one laboratory; how many there
are of which class does not matter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cytodiffusion.classification.decision import accept_above, prediction_sets
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin, softmax
from cytodiffusion.classification.settings import ClassifySettings

#: Of fewer cells nothing is said about their laboratory.
LEAST_CELLS = 16


def correctable(model: Any, settings: ClassifySettings) -> bool:
    """Tell whether cells of this model can be corrected, and are to be."""
    return not settings.alone and getattr(model, "laboratory", None) is not None


def adjust(
    result: Classification, model: Any, settings: ClassifySettings | None = None
) -> Classification:
    """Correct the classes and doubts of cells for what all of them have in common.

    Parameters
    ----------
    result : Classification
        Of all cells of a slide or folder, as `cytodiffusion.predict.predict` gives it.
    model : ModelBundle or Baseline
        What gave it.
    settings : ClassifySettings, optional
        Those it was given with.

    Returns
    -------
    Classification
        ``result`` itself where the model has nothing to correct with, where there are fewer than
        `LEAST_CELLS`, or where the settings ask for each cell alone. Anomalies, trials and
        ``logits`` are never changed, so that correcting twice is correcting once.
    """
    settings = settings or ClassifySettings()
    if not correctable(model, settings) or len(result) < LEAST_CELLS:
        return result
    assert result.embedding is not None
    laboratory = model.laboratory
    temperature = model.calibration.temperature
    logits = laboratory.corrected(result.logits, result.embedding, temperature)
    posterior = softmax(logits / laboratory.temperature)
    return replace(
        result,
        posterior=posterior,
        predicted=posterior.argmax(axis=1).astype(np.int64),
        confidence=posterior.max(axis=1),
        entropy=entropy(posterior),
        margin=margin(posterior),
        prediction_set=prediction_sets(posterior, laboratory, settings, model.name),
        accept_above=accept_above(laboratory, settings, model.name),
        adjusted=True,
    )
