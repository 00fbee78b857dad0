"""What is to be read about a table of classified cells: its keys in records, and sentences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from cytodiffusion.classification.contradiction import contradiction_sentence
from cytodiffusion.classification.levels import level_note
from cytodiffusion.classification.result import many_unlike, unpromised
from cytodiffusion.classification.slide_correction import too_few_to_tell
from cytodiffusion.classification.slide_distance import far_slide

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.baselines.baseline import Baseline
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.model.bundle import ModelBundle

#: Whether the cells of a table were corrected for what they have in common: its key in records.
CORRECTED = "corrected_for_slide"

#: What people corrected, and what of it could not be placed: its key in records.
CORRECTIONS = "corrections"

#: How far the slide of a table is from the training, None where that is not known, and the mean
#: confidence before that lowered it: their keys in records.
DISTANCE, SURE_BEFORE = "slide_distance", "mean_confidence_before"

#: The mean confidence after that, of the coarse level: its key in the ``attrs`` of a table.
SURE = "mean_confidence"

#: What certainty accepted cells are above, None where none is for review: its key in records.
ACCEPTED = "accepted_above"

#: What the ``attrs`` of a table say and its record repeats.
RECORDED = (CORRECTED, ACCEPTED, DISTANCE, SURE_BEFORE)


def cautions(
    frame: pd.DataFrame, model: ModelBundle | Baseline, settings: ClassifySettings
) -> tuple[str, ...]:
    """Return what the user should read about the classified cells of a field, a sentence each."""
    said = (
        level_note(model, settings.level),
        unpromised(settings.error_rate, frame.attrs[ACCEPTED]),
        distance_sentence(frame, model, settings),
        many_unlike(int(frame["anomaly"].sum()), len(frame)),
        contradiction_sentence(Counter(frame["predicted"][frame["contradiction"]])),
        frame.attrs.get(CORRECTIONS, {}).get("not_placed"),
    )
    return tuple(sentence for sentence in said if sentence)


def distance_sentence(
    frame: pd.DataFrame, model: ModelBundle | Baseline, settings: ClassifySettings
) -> str | None:
    """Return what to tell of the distance of a table's slide from the training, if anything."""
    if model.slide_distance is None or settings.alone:
        return None
    distance, before = frame.attrs[DISTANCE], frame.attrs[SURE_BEFORE]
    if distance is None:
        return too_few_to_tell(len(frame))
    return far_slide(distance, before, frame.attrs[SURE])


def corrections_record(frame: pd.DataFrame, lost: str | None) -> dict[str, Any]:
    """Say how many cells of a table people gave a class, which, and what was not placed."""
    said = frame["human"][frame["human"] != ""] if "human" in frame else frame["predicted"][:0]
    changed = said != frame["predicted"][said.index]
    classes = said.value_counts().sort_index()
    return {
        "cells": len(said),
        "other_than_predicted": int(changed.sum()),
        "classes": {str(name): int(n) for name, n in classes.items()},
        "not_placed": lost or "",
        "said": f"{len(said):,} {'cell has' if len(said) == 1 else 'cells have'} a class that a "
        f"person gave, {int(changed.sum()):,} of them another one than predicted.",
    }
