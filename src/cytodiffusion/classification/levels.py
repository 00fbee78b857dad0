"""Coarse and fine classes: one posterior on two levels of a hierarchy.

A model answers with its classes, the coarse level. Where it also tells the finer classes of some
of them (a neutrophil is a band or a segmented one), the probability of a finer class is that of
its parent times that of the finer class among the parent's, so that probabilities add up along
the tree by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.conformal import conformal_sets
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin
from cytodiffusion.model.traits import Trait, columns_of

Level = Literal["coarse", "fine"]


@dataclass(frozen=True)
class Tree:
    """Finer classes in the order of their parents; a class without finer ones is its own.

    Attributes
    ----------
    names : tuple of str
        F names.
    parents : (F,) int64
        Index of the coarse class of each.
    columns : (F,) int64
        Column of each among the values of all traits; -1 where a class has no finer ones.
    """

    names: tuple[str, ...]
    parents: NDArray[np.int64]
    columns: NDArray[np.int64]


def tree_of(class_names: Sequence[str], traits: Sequence[Trait]) -> Tree:
    """Find the finer classes of a model's classes among its traits."""
    finer = {
        trait.parent: (trait.values, part)
        for trait, part in zip(traits, columns_of(traits), strict=True)
        if trait.parent
    }
    names: list[str] = []
    parents: list[int] = []
    columns: list[int] = []
    for index, name in enumerate(class_names):
        values, part = finer.get(name, ((name,), slice(-1, 0)))
        names += values
        parents += [index] * len(values)
        columns += range(part.start, part.stop)
    return Tree(tuple(names), np.array(parents, np.int64), np.array(columns, np.int64))


def has_finer(traits: Sequence[Trait]) -> bool:
    """Tell whether a model has a fine level at all."""
    return any(trait.parent for trait in traits)


def finer_posterior(result: Classification) -> NDArray[np.float64]:
    """Probabilities ``(N, F)`` of the finer classes; those of a class sum to that of the class."""
    tree = tree_of(result.class_names, result.traits)
    return result.posterior[:, tree.parents] * _conditional(result, tree)


def at_level(result: Classification, level: Level, coverage: float = 0.95) -> Classification:
    """Return a result whose classes are those of a level; the coarse one is the model's own.

    The class of a cell is the likeliest finer one of its likeliest class, so that both levels
    agree. A prediction set holds the finer classes of each class in it that are not too unlikely
    among those of that class, by a conformal limit of its own; where both limits are met, the
    share of sets without the true finer class is at most the sum of both.

    Parameters
    ----------
    coverage : float
        Of the sets of finer classes among those of one class.
    """
    if level == "coarse" or not has_finer(result.traits):
        return result
    tree = tree_of(result.class_names, result.traits)
    share = _conditional(result, tree)
    posterior = result.posterior[:, tree.parents] * share
    mine = tree.parents[None] == result.predicted[:, None]
    predicted = np.where(mine, share, -1.0).argmax(axis=1).astype(np.int64)
    chosen = result.prediction_set[:, tree.parents] & _usual(result, tree, share, coverage)
    rows = np.arange(len(result))
    logits = np.asarray(result.logits)[:, tree.parents] + np.log(np.maximum(share, 1e-12))
    return replace(
        result,
        class_names=tree.names,
        posterior=posterior,
        predicted=predicted,
        confidence=posterior[rows, predicted],
        entropy=entropy(posterior),
        margin=margin(posterior),
        prediction_set=chosen,
        errors_by_level=result.errors_by_level[:, :, tree.parents],
        logits=logits,
    )


def _conditional(result: Classification, tree: Tree) -> NDArray[np.float64]:
    """Probabilities ``(N, F)`` of the finer classes, each among those of its class."""
    share = np.ones((len(result), len(tree.names)))
    told = tree.columns >= 0
    if told.any() and result.trait_probabilities is not None:
        share[:, told] = result.trait_probabilities[:, tree.columns[told]]
    return share


def _usual(
    result: Classification, tree: Tree, share: NDArray[np.float64], coverage: float
) -> NDArray[np.bool_]:
    """Finer classes ``(N, F)`` that cannot be ruled out among those of their class."""
    usual = np.ones(share.shape, bool)
    for trait in result.traits:
        if trait.parent in result.class_names and trait.scores:
            mine = tree.parents == result.class_names.index(trait.parent)
            usual[:, mine] = conformal_sets(share[:, mine], np.array(trait.scores), coverage)
    return usual


def attribute_columns(result: Classification) -> dict[str, NDArray[np.object_]]:
    """Attributes of cells as columns ``attr_<name>``: the likeliest value ``(N,)`` of each.

    Empty where the class of a cell was never seen with the attribute in training: what a red
    cell's granules are, nobody has told the model.
    """
    found: dict[str, NDArray[np.object_]] = {}
    if result.trait_probabilities is None:
        return found
    names = np.array(result.class_names, object)[result.predicted]
    for trait, part in zip(result.traits, columns_of(result.traits), strict=True):
        if trait.parent:
            continue
        likeliest = result.trait_probabilities[:, part].argmax(axis=1)
        values = np.array(trait.values, object)[likeliest]
        if trait.classes:
            values[~np.isin(names, trait.classes)] = ""
        found[f"attr_{trait.name}"] = values
    return found
