"""How hard each cell is: indices of difficulty that psychometric curves are drawn over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cytodiffusion.datasets import Record
from cytodiffusion.evaluation.psychometric.annotations import Annotations

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


def by_labels(records: Sequence[Record]) -> Index | None:
    """Index from how sure the experts were of the labels, where the data tell for most cells."""
    ease = {r.path: r.label_confidence for r in records if r.label_confidence is not None}
    if 2 * len(ease) <= len(records):
        return None
    return Index(
        "label confidence",
        "how sure the experts were of the label, as the data tell",
        lambda without: ease,
    )


def by_baselines(given: Mapping[str, Ease]) -> Index | None:
    """Index from the probability that each of other classifiers gives to the true class."""
    if not given:
        return None
    all_gave = set.intersection(*(set(ease) for ease in given.values()))
    first = next(iter(given.values()))
    ease = {p: float(np.mean([e[p] for e in given.values()])) for p in first if p in all_gave}
    return Index(
        "baselines",
        f"probability that {' and '.join(given)} give to the true class",
        lambda without: ease,
    )


def by_other_trials(confidence: Ease) -> Index:
    """Index from the model's own confidence in a second run with other noise."""
    return Index(
        "other trials",
        "confidence of the model itself in a second run with other noise: it knows only the "
        "difficulty that the model sees, so its own curve is a calibration curve",
        lambda without: confidence,
    )
