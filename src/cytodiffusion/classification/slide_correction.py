"""Cells of a slide together: classes corrected for what all of them have in common.

A bundle may hold a small network (`cytodiffusion.model.slide_correction`) that sees all cells of a
slide, or of a folder, and corrects the logits of each. The cells must have been stained and imaged
in one laboratory; the mixture of their classes does not matter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cytodiffusion.classification.decision import answers
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.model.bundle import ModelBundle

if TYPE_CHECKING:
    from cytodiffusion.baselines.baseline import Baseline

#: Fewer cells say too little about their slide, and stay as they are.
LEAST_CELLS = 16


def correctable(model: ModelBundle | Baseline, settings: ClassifySettings) -> bool:
    """Tell whether cells of this model can be corrected, and are to be."""
    return not settings.alone and model.slide_correction is not None


def adjust(
    result: Classification,
    model: ModelBundle | Baseline,
    settings: ClassifySettings | None = None,
) -> Classification:
    """Correct the classes and the uncertainty of cells for what all of them have in common."""
    settings = settings or ClassifySettings()
    correction = model.slide_correction
    if settings.alone or correction is None or len(result) < LEAST_CELLS:
        return result
    assert result.embedding is not None
    temperature = model.validation.temperature
    logits = correction.corrected(result.logits, result.embedding, temperature)
    posterior = softmax(logits / correction.validation.temperature)
    found = answers(posterior, correction.validation, model, settings)
    return replace(result, **found, adjusted=True)
