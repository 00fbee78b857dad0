"""The psychometric part of a report: which index, which observers, a curve for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
from cytodiffusion.evaluation.settings import HOME
from cytodiffusion.progress import Progress

#: Cells at most that are asked a second time for the index of difficulty.
ASKED_AGAIN = 2000


def annotations_of(context: Context) -> Annotations | None:
    """Read the table of annotations before the work, None where none is given.

    Raises
    ------
    InputError
        If there is one and psignifit is missing, or the table makes no sense.
    """
    path = context.settings.annotations
    if path is None:
        return None
    if not is_available():
        raise InputError(f"{NOT_INSTALLED[:1].upper()}{NOT_INSTALLED[1:]}.")
    annotations = read_annotations(path, context.records, context.names, context.taxonomies)
    for note in annotations.notes:
        context.warn(note)
    return annotations


def psychometric_figures(
    main: Candidate,
    baselines: Sequence[Candidate],
    annotations: Annotations | None,
    context: Context,
) -> dict[str, Any]:
    """Fit the curves of the model, of each annotator and, where that is fair, of each baseline.

    Returns
    -------
    dict
        ``index`` (``kind`` and ``stated``), ``guess_rate``, ``threshold_at``, ``level`` and
        ``observers``, each as `fit_curve` gives it, the model under ``model``; or ``why`` alone
        where nothing can be fitted.
    """
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
        by_labels(main.known),
        by_baselines({b.key: b.known for b in baselines}),
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
        frames=context.frames(HOME, context.records, s.pixel_size_um),
        progress=progress,
    )
    return by_other_trials(again)


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


#: Ease of cells by image, 0 (hard) to 1 (easy).
Ease = Mapping[Path, float]


@dataclass(frozen=True)
class Index:
    """An index of difficulty.

    Attributes
    ----------
    kind : str
        ``expert confidence``, ``agreement of experts``, ``label confidence``, ``baselines`` or
        ``other trials``.
    stated : str
        What it is, for the reader.
    of_cells : callable
        Takes the name of an annotator whose own answers must not count, or None, and gives the
        ease of every cell that has one.
    """

    kind: str
    stated: str
    of_cells: Callable[[str | None], Ease]


def by_experts(annotations: Annotations, truth: Mapping[Path, str]) -> Index | None:
    """Index from the annotators themselves, each judged by the others' answers only.

    Their mean confidence where the table has confidences, as in the published analysis; else
    the share of them that is right, for which there must be three at least.
    """
    sure: dict[Path, list[tuple[str, float]]] = defaultdict(list)
    right: dict[Path, list[tuple[str, float]]] = defaultdict(list)
    for a in annotations.answers:
        if a.confidence is not None:
            sure[a.path].append((a.annotator, a.confidence))
        if a.path in truth:
            right[a.path].append((a.annotator, float(a.label == truth[a.path])))
    if sure and len(annotations.annotators) > 1:
        return Index(
            "expert confidence",
            "mean confidence of the annotators; an annotator is judged by that of the others",
            lambda without: _means(sure, without),
        )
    if len(annotations.annotators) > 2:
        return Index(
            "agreement of experts",
            "share of the annotators that are right; an annotator is judged by the others",
            lambda without: _means(right, without),
        )
    return None


def _means(said: Mapping[Path, Sequence[tuple[str, float]]], without: str | None) -> Ease:
    others = {path: [v for who, v in rows if who != without] for path, rows in said.items()}
    return {path: float(np.mean(values)) for path, values in others.items() if values}


def by_labels(scored: ScoredCells) -> Index | None:
    """Index from how sure the experts were of the labels, where the data tell for most cells."""
    ease = {r.path: r.label_confidence for r in scored.records if r.label_confidence is not None}
    if 2 * len(ease) <= len(scored):
        return None
    return Index(
        "label confidence",
        "how sure the experts were of the label, as the data tell",
        lambda without: ease,
    )


def by_baselines(baselines: Mapping[str, ScoredCells]) -> Index | None:
    """Index from the probability that other classifiers give to the true class."""
    if not baselines:
        return None
    given: dict[Path, list[float]] = defaultdict(list)
    for scored in baselines.values():
        true = scored.result.posterior[np.arange(len(scored)), scored.labels]
        for record, p in zip(scored.records, true, strict=True):
            given[record.path].append(float(p))
    ease = {path: float(np.mean(p)) for path, p in given.items() if len(p) == len(baselines)}
    return Index(
        "baselines",
        f"probability that {' and '.join(baselines)} give to the true class",
        lambda without: ease,
    )


def by_other_trials(scored: ScoredCells) -> Index:
    """Index from the model's own confidence in a second run with other noise."""
    confidence = scored.result.confidence
    ease = {r.path: float(c) for r, c in zip(scored.records, confidence, strict=True)}
    return Index(
        "other trials",
        "confidence of the model itself in a second run with other noise: it knows only the "
        "difficulty that the model sees, so its own curve is a calibration curve",
        lambda without: ease,
    )
