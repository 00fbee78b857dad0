"""Cells of a slide together: classes corrected for what all of them have in common.

A bundle may hold a small network (`cytodiffusion.model.slide_correction`) that sees all cells of a
slide, or of a folder, and corrects the logits of each. The cells must have been stained and imaged
in one laboratory; the mixture of their classes does not matter. What is corrected is then held
against the distance of the slide (`cytodiffusion.classification.slide_distance`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cytodiffusion.classification.decision import answers
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_distance import weigh_distance
from cytodiffusion.classification.taught import with_head, without_head
from cytodiffusion.model.bundle import ModelBundle

if TYPE_CHECKING:
    from cytodiffusion.baselines.baseline import Baseline

#: Fewer cells say too little about their slide, and stay as they are.
LEAST_CELLS = 16


def too_few_to_tell(cells: int) -> str | None:
    """Return a sentence where the cells are too few to tell how far their slide is, else None."""
    if cells >= LEAST_CELLS:
        return None
    return (
        f"Fewer than {LEAST_CELLS} cells do not tell how far their slide is from the training: "
        "their confidences and anomalies are as on a slide of the training."
    )


def correctable(model: ModelBundle | Baseline, settings: ClassifySettings) -> bool:
    """Tell whether cells of this model are to be looked at together, and can be."""
    parts = (model.slide_correction, model.slide_distance)
    return not settings.alone and any(part is not None for part in parts)


def adjust(
    result: Classification,
    model: ModelBundle | Baseline,
    settings: ClassifySettings | None = None,
) -> Classification:
    """Correct the classes and the uncertainty of cells for what all of them have in common.

    A result that was adjusted before may be given again: it starts from the logits.
    """
    settings = settings or ClassifySettings()
    if not correctable(model, settings) or len(result) < LEAST_CELLS:
        return result
    result, taught, model = without_head(result, model), model, model.untaught
    correction, distance = model.slide_correction, model.slide_distance
    temperature = model.validation.temperature
    if correction is None:
        kept, posterior = model.validation, softmax(result.logits / temperature)
    else:
        assert result.embedding is not None
        logits = correction.corrected(result.logits, result.embedding, temperature)
        kept = correction.validation
        posterior = softmax(logits / kept.temperature)
    found = answers(posterior, kept, model, settings)
    result = replace(result, **found, adjusted=correction is not None)
    # After the prior: among classes that are all doubtful, the expected one would win every cell
    if distance is not None:
        result = weigh_distance(result, distance, settings.coverage)
    return with_head(result, taught, settings)
