"""The psychometric part of a report: which index, which observers, a curve for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.candidate import Candidate
from cytodiffusion.evaluation.cells import ScoredCells, draw, score
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.psychometric.annotations import Annotations, read_annotations
from cytodiffusion.evaluation.psychometric.curve import (
    FEWEST,
    LEVEL,
    NOT_INSTALLED,
    THRESHOLD_AT,
    fit_curve,
    is_available,
)
from cytodiffusion.evaluation.psychometric.difficulty import (
    Ease,
    Index,
    by_baselines,
    by_experts,
    by_labels,
    by_other_trials,
)
from cytodiffusion.evaluation.settings import EVALUATED
from cytodiffusion.progress import Progress

#: Cells at most that are asked a second time for the index of difficulty.
ASKED_AGAIN = 2000


def annotations_of(context: Context, answers: pd.DataFrame | None = None) -> Annotations | None:
    """Read the table of annotations before the work, None where none is given."""
    path = context.settings.annotations
    if path is None:
        return None
    if not is_available():
        raise InputError(f"{NOT_INSTALLED[:1].upper()}{NOT_INSTALLED[1:]}.")
    annotations = read_annotations(
        path, context.records, context.names, context.taxonomies, answers
    )
    for note in annotations.notes:
        context.warn(note)
    return annotations


def psychometric_figures(
    main: Candidate,
    baselines: Sequence[Candidate],
    annotations: Annotations | None,
    context: Context,
) -> dict[str, Any]:
    """Fit the curves of the model, of each annotator and, where that is fair, of each baseline."""
    progress = context.next("psychometric curves")
    if not is_available():
        return {"why": NOT_INSTALLED}
    known = main.known
    truth = {r.path: str(r.label) for r in known.records}

    def asking(share: float, text: str) -> None:
        progress(share / 2, text)

    index = _index(main, baselines, annotations, truth, context, asking)
    if index is None:
        return {
            "why": "there is no index of difficulty: neither annotators nor confidences of labels "
            "nor a baseline, and the model was not asked a second time"
        }
    observers = _answers(main, baselines, annotations, truth, index)
    found = {}
    for number, (name, (own, correct)) in enumerate(observers.items()):
        progress((1 + number / len(observers)) / 2, name)
        ease = index.of_cells(own)
        pairs = [(ease[path], hit) for path, hit in correct if path in ease]
        x, hits = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], bool)
        found[name] = fit_curve(x, hits, len(context.names), context.settings.seed)
    return {
        "index": {"kind": index.kind, "stated": index.stated},
        "guess_rate": 1 / len(context.names),
        "threshold_at": THRESHOLD_AT,
        "level": LEVEL,
        "observers": found,
    }


def _index(
    main: Candidate,
    baselines: Sequence[Candidate],
    annotations: Annotations | None,
    truth: Mapping[Path, str],
    context: Context,
    progress: Progress,
) -> Index | None:
    """Return the first that reaches enough cells, the most independent of the model first."""
    for index in (
        by_experts(annotations, truth) if annotations else None,
        by_labels(main.known.records),
        by_baselines({b.key: _of_true_class(b.known) for b in baselines}),
    ):
        if index is not None and len(set(index.of_cells(None)) & set(truth)) >= FEWEST:
            return index
    return _ask_again(main, context, progress)


def _ask_again(main: Candidate, context: Context, progress: Progress) -> Index | None:
    s = context.settings
    if not s.trial_cells or not hasattr(main.model, "denoiser"):
        return None
    again = score(
        main.model,
        draw(main.known.records, ASKED_AGAIN, s.seed),
        s.classify.model_copy(update={"seed": s.seed + 1}),
        frames=context.frames(EVALUATED, context.records, s.pixel_size_um),
        progress=progress,
    )
    return by_other_trials(_by_image(again, again.result.confidence))


def _of_true_class(scored: ScoredCells) -> Ease:
    """Probability that a classifier gives to the true class of each cell."""
    return _by_image(scored, scored.result.posterior[np.arange(len(scored)), scored.labels])


def _by_image(scored: ScoredCells, values: NDArray[np.float64]) -> Ease:
    return {r.path: float(v) for r, v in zip(scored.records, values, strict=True)}


#: Name whose answers the index must leave out, and images with whether they were answered right.
_Observer = tuple[str | None, list[tuple[Path, bool]]]


def _answers(
    main: Candidate,
    baselines: Sequence[Candidate],
    annotations: Annotations | None,
    truth: Mapping[Path, str],
    index: Index,
) -> dict[str, _Observer]:
    observers: dict[str, _Observer] = {"model": (None, _hits(main.known))}
    if index.kind != "baselines":
        observers |= {b.key: (None, _hits(b.known)) for b in baselines}
    for name in annotations.annotators if annotations else ():
        assert annotations is not None
        said = [a for a in annotations.answers if a.annotator == name and a.path in truth]
        # a person may be called as a baseline is
        key = name if name not in observers else f"{name} (annotator)"
        observers[key] = (name, [(a.path, a.label == truth[a.path]) for a in said])
    return observers


def _hits(scored: ScoredCells) -> list[tuple[Path, bool]]:
    hits = scored.result.predicted == scored.labels
    return [(r.path, bool(hit)) for r, hit in zip(scored.records, hits, strict=True)]
