"""Data whose labels are finer classes: scored on the coarse level, and on the fine one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.levels import at_level, tree_of
from cytodiffusion.datasets import Record
from cytodiffusion.evaluation.cells import ScoredCells
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.taxonomy import Taxonomy, plain
from cytodiffusion.training.traits import FINER, FINER_COLUMNS
from cytodiffusion.traits import Trait


def with_coarse_labels(
    records: Sequence[Record],
    names: Sequence[str],
    traits: Sequence[Trait],
    taxonomies: Sequence[Taxonomy],
    kept: str | None = None,
) -> list[Record]:
    """Give records of finer classes their coarse class, and note the finer one beside it.

    A finer class is one that the model knows as such: it is the label, or stands in a column
    such as ``subtype``.

    Parameters
    ----------
    names : sequence of str
        Classes of the model.
    kept : str, optional
        A label that stays as it is.
    """
    parents = {value: t.parent for t in traits if t.parent for value in t.values}
    if not parents:
        return list(records)
    own = {plain(value): value for value in parents}

    def finer_of(text: str) -> str:
        found = (t.find(text) for t in taxonomies)
        said = (text, *(c.name for c in found if c))
        return next((own[plain(word)] for word in said if plain(word) in own), "")

    changed = []
    for record in records:
        label = record.label or ""
        value = "" if label in names or label == kept else finer_of(label)
        if not value:
            told = (finer_of(record.attributes.get(c, "")) for c in FINER_COLUMNS)
            value = next((v for v in told if v and parents[v] == label), "")
        if value:
            attributes = {**record.attributes, FINER: value}
            record = replace(record, label=parents[value], attributes=attributes)
        changed.append(record)
    return changed


def fine_figures(scored: ScoredCells, coverage: float = 0.95) -> dict[str, Any] | None:
    """Scores of finer classes; None where the model or the data have none.

    For each class with finer ones: how often the likeliest of these is the true one, over the
    cells of that class whose finer class is known, whatever class they were given. Where it is
    known of all cells of such classes, the fine level as a whole is scored, too.

    Parameters
    ----------
    scored : ScoredCells
        Cells of classes that the model has.
    """
    result = scored.result
    tree = tree_of(result.class_names, result.traits)
    told = np.array([r.attributes.get(FINER, "") for r in scored.records], object)
    shares = result.trait_probabilities
    classes = {}
    truth = np.full(len(scored), -1, np.int64)
    for parent in np.unique(tree.parents[tree.columns >= 0]):
        mine = np.flatnonzero(tree.parents == parent)
        values = [tree.names[k] for k in mine]
        index = np.array([values.index(v) if v in values else -1 for v in told], np.int64)
        known = (index >= 0) & (scored.labels == parent)
        if shares is None or not known.any():
            continue
        truth[known] = mine[index[known]]
        said = shares[known][:, tree.columns[mine]].argmax(axis=1)
        right = index[known]
        classes[result.class_names[parent]] = {
            "n": int(known.sum()),
            "accuracy": float((said == right).mean()),
            "balanced_accuracy": balanced_accuracy(right, said),
            "recall": _recalls(values, right, said),
        }
    if not classes:
        return None
    only = tree.columns < 0  # a class without finer ones is its own
    place = {int(tree.parents[k]): int(k) for k in np.flatnonzero(only)}
    simple = np.array([place.get(int(label), -1) for label in scored.labels], np.int64)
    truth = np.where(simple >= 0, simple, truth)
    return {"classes": classes, **_whole(scored, truth, coverage)}


def _recalls(
    values: Sequence[str], truth: NDArray[np.int64], said: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    return {
        value: {"n": int((truth == k).sum()), "recall": float((said[truth == k] == k).mean())}
        for k, value in enumerate(values)
        if (truth == k).any()
    }


def _whole(scored: ScoredCells, truth: NDArray[np.int64], coverage: float) -> dict[str, Any]:
    """Scores of the fine level, where the finer class of every cell is known."""
    if (truth < 0).any():
        return {}
    fine = at_level(scored.result, "fine", coverage)
    inside = fine.prediction_set[np.arange(len(truth)), truth]
    return {
        "n": len(truth),
        "accuracy": float((fine.predicted == truth).mean()),
        "balanced_accuracy": balanced_accuracy(truth, fine.predicted),
        "coverage": float(inside.mean()),
        "set_size": float(fine.prediction_set.sum(axis=1).mean()),
    }
