"""Attributes and finer classes that a data set tells of its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.classification.scores import fit_temperature, softmax
from cytodiffusion.datasets.layouts import Record
from cytodiffusion.datasets.wbcatt import ATTRIBUTES
from cytodiffusion.taxonomy import Taxonomy
from cytodiffusion.traits import Trait, columns_of

#: Attribute of a record that names its finer class, as the taxonomy has it.
FINER = "finer class"

#: Columns that may tell a finer class.
FINER_COLUMNS = (FINER, "subclass", "subtype")

#: A value that fewer training cells have cannot be learned.
LEAST = 8


def find_traits(
    records: Sequence[Record],
    names: Sequence[str],
    taxonomy: Taxonomy | None,
    more: Sequence[str] = (),
) -> list[Trait]:
    """Find what the training images tell beside the class.

    Finer classes are those that the taxonomy knows as kinds of a class; attributes are the columns
    of WBCAtt and those that ``more`` names. Each needs two values with enough training cells.
    """
    train = [r for r in records if r.split == "train" and r.label in names]
    found = []
    for name in names:
        kinds = taxonomy.finer(name) if taxonomy else ()
        counts = Counter(finer_class(r, taxonomy) for r in train if r.label == name)
        known = [kind for kind in kinds if counts[kind.name] >= LEAST]
        if len(known) >= 2:
            values, colors = tuple(k.name for k in known), tuple(k.color for k in known)
            found.append(Trait(name, values, name, (name,), colors=colors))
    for column in dict.fromkeys([*ATTRIBUTES, *more]):
        told = [(r.attributes[column], str(r.label)) for r in train if r.attributes.get(column)]
        counts = Counter(value for value, _ in told)
        values = tuple(sorted(value for value, n in counts.items() if n >= LEAST))
        if len(values) >= 2:
            seen = {label for _, label in told}
            found.append(Trait(column, values, "", tuple(n for n in names if n in seen)))
    return found


def finer_class(record: Record, taxonomy: Taxonomy | None) -> str:
    """Name of the finer class that a record tells; empty where it tells none."""
    if taxonomy is None:
        return ""
    for column in FINER_COLUMNS:
        found = taxonomy.find(record.attributes.get(column, ""))
        if found and found.parent and found.parent == record.label:
            return found.name
    return ""


def with_coarse_labels(records: Sequence[Record], taxonomy: Taxonomy | None) -> list[Record]:
    """Give records whose class is a kind of another that one, and keep theirs as the finer.

    That is done where the data has the coarser class as well, so that it is of two levels.
    """
    names = {r.label for r in records if r.label}
    found = []
    for record in records:
        category = taxonomy.find(record.label) if taxonomy and record.label else None
        finer = finer_class(record, taxonomy)
        label = record.label
        if category and category.parent in names:
            label, finer = category.parent, category.name
        attributes = {**record.attributes, FINER: finer} if finer else record.attributes
        found.append(replace(record, label=label, attributes=attributes))
    return found


def values_of(records: Sequence[Record], traits: Sequence[Trait]) -> Tensor | None:
    """Return the indices ``(N, T)`` of the values, -1 where unknown; None without traits."""
    if not traits:
        return None
    rows = [[_value(record, trait) for trait in traits] for record in records]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(records), len(traits))


def _value(record: Record, trait: Trait) -> int:
    said = record.attributes.get(FINER if trait.parent else trait.name, "")
    mine = not trait.parent or record.label == trait.parent
    return trait.values.index(said) if mine and said in trait.values else -1


def calibrated(
    traits: Sequence[Trait], logits: NDArray[np.floating], truth: NDArray[np.int64]
) -> tuple[Trait, ...]:
    """Fit the temperature of each trait, and keep the conformal scores of finer classes.

    Parameters
    ----------
    logits : (N, S) array
        Of validation cells.
    truth : (N, T) array
        -1 where it is not known.
    """
    found = []
    for number, (trait, part) in enumerate(zip(traits, columns_of(traits), strict=True)):
        known = truth[:, number] >= 0
        if known.sum() < LEAST:
            found.append(trait)
            continue
        own = np.asarray(logits[known][:, part], np.float64)
        right = truth[known, number]
        temperature = fit_temperature(own, right)
        strange = 1 - softmax(own / temperature)[np.arange(len(right)), right]
        scores = tuple(np.sort(strange).tolist()) if trait.parent else ()
        found.append(replace(trait, temperature=temperature, scores=scores))
    return tuple(found)


def trait_scores(
    traits: Sequence[Trait], probabilities: NDArray[np.floating], truth: NDArray[np.int64]
) -> dict[str, float]:
    """Macro F1 of each trait over the cells ``(N,)`` of which it is known."""
    from sklearn.metrics import f1_score

    found = {}
    for number, (trait, part) in enumerate(zip(traits, columns_of(traits), strict=True)):
        known = truth[:, number] >= 0
        if known.any():
            said = probabilities[known][:, part].argmax(axis=1)
            found[trait.name] = float(f1_score(truth[known, number], said, average="macro"))
    return found
