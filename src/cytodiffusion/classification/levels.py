"""Coarse and fine classes: one posterior on two levels of a hierarchy.

A model answers with its classes, the coarse level. Where it also tells the finer classes of some
of them (a neutrophil is a band or a segmented one), the probability of a finer class is that of
its parent times that of the finer class among the parent's, so that probabilities add up along
the tree by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.conformal import conformal_sets
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin
from cytodiffusion.taxonomy import white_classes
from cytodiffusion.traits import Trait, columns_of

if TYPE_CHECKING:
    from cytodiffusion.baselines.baseline import Baseline
    from cytodiffusion.model.bundle import CellClass, ModelBundle

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


def level_note(model: ModelBundle | Baseline, level: Level) -> str | None:
    """Return a sentence where the fine level is asked of a model that has none, else None."""
    if level == "coarse" or has_finer(traits_of(model)):
        return None
    return (
        f"The model {model.name} tells no finer classes: its cells have the classes of the coarse "
        "level."
    )


def traits_of(model: ModelBundle | Baseline) -> tuple[Trait, ...]:
    """Return what a model tells beside the class; nothing, for a baseline."""
    found: tuple[Trait, ...] = getattr(model, "traits", ())
    return found


def classes_at(model: ModelBundle | Baseline, level: Level) -> tuple[CellClass, ...]:
    """Return the classes of a level with their colours and groups, in the order of results.

    A finer class is in the group of its coarse class, and a white cell if that is one. Without a
    colour of its own it has a shade of that of its coarse class.
    """
    traits = traits_of(model)
    if level == "coarse" or not has_finer(traits):
        return model.classes
    colors = {
        (trait.parent, value): color
        for trait in traits
        for value, color in zip(trait.values, trait.colors, strict=False)
    }
    tree = tree_of(model.class_names, traits)
    found = []
    for number, (name, parent) in enumerate(zip(tree.names, tree.parents, strict=True)):
        coarse = model.classes[parent]
        if tree.columns[number] < 0:
            found.append(coarse)
            continue
        white = white_classes((coarse.name,), (coarse.group,))[0]
        siblings = np.flatnonzero(tree.parents == parent)
        shade = _shade(coarse.color, number - int(siblings[0]), len(siblings))
        color = colors.get((coarse.name, name), shade)
        group = coarse.group or ("" if white else "other")
        found.append(replace(coarse, name=name, color=color, group=group))
    return tuple(found)


def _shade(color: str, number: int, of: int) -> str:
    """One of several shades of a colour ``#rrggbb``, from darker to lighter."""
    parts = [int(color.lstrip("#")[i : i + 2], 16) for i in (0, 2, 4)]
    share = 0.6 * (number / max(of - 1, 1) - 0.5)  # -0.3 black to +0.3 white
    mixed = [round(p + share * (255 - p) if share > 0 else p * (1 + share)) for p in parts]
    return "#" + "".join(f"{p:02x}" for p in mixed)


def finer_posterior(result: Classification) -> NDArray[np.float64]:
    """Probabilities ``(N, F)`` of the finer classes; those of a class sum to that of the class."""
    tree = _tree(result)
    return result.posterior[:, tree.parents] * _conditional(result, tree)


def at_level(result: Classification, level: Level, coverage: float = 0.95) -> Classification:
    """Return a result whose classes are those of a level; the coarse one is the model's own.

    This comes last, after all that corrects or marks the classes of the model; the result of the
    fine level keeps the one that it was made from as its ``coarse``.

    The class of a cell is the likeliest finer one of its likeliest class, so that both levels
    agree. A prediction set holds the finer classes of each class in it that are not too unlikely
    among those of that class, by a conformal limit of its own, or all of them where each is; where
    both limits are met, the share of sets without the true finer class is at most the sum of both.

    Parameters
    ----------
    coverage : float
        Of the sets of finer classes among those of one class.
    """
    if result.coarse is not None:
        result = result.coarse
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
        coarse=result,
        human_class=_human_of(result, tree, share),
    )


def _human_of(
    result: Classification, tree: Tree, share: NDArray[np.float64]
) -> NDArray[np.int64] | None:
    """Return the finer class ``(N,)`` that people meant: the likeliest one of a coarse class."""
    if result.human is None:
        return None
    mine = tree.parents[None] == result.by_human[:, None]
    likeliest = np.where(mine, share, -1.0).argmax(axis=1)
    number = {name: k for k, name in enumerate(tree.names)}
    said = np.array([number.get(name, -1) for name in result.human], np.int64)
    meant = np.where(said >= 0, said, likeliest)
    return np.where(result.by_human >= 0, meant, -1).astype(np.int64)


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
            own = conformal_sets(share[:, mine], np.array(trait.scores), coverage)
            usual[:, mine] = own | ~own.any(axis=1, keepdims=True)
    return usual


def told_columns(result: Classification) -> dict[str, NDArray[Any]]:
    """Return what a table says of cells ``(N,)`` beside their classes."""
    return {**_other_level(result), **attribute_columns(result)}


def _other_level(result: Classification) -> dict[str, NDArray[Any]]:
    """Return the coarse class on the fine level; on the coarse one the likeliest finer class.

    The probability of a finer class is that of its class times its share among the finer ones.
    """
    if result.coarse is not None:
        return {"coarse": _predicted_names(result.coarse)}
    if not has_finer(result.traits) or result.trait_probabilities is None:
        return {}
    fine = at_level(result, "fine")
    has = np.isin(fine.predicted, np.flatnonzero(_tree(result).columns >= 0))
    return {
        "finer": np.where(has, _predicted_names(fine), ""),
        "finer_confidence": np.where(has, fine.confidence, np.nan),
    }


def _tree(result: Classification) -> Tree:
    return tree_of(result.class_names, result.traits)


def _predicted_names(result: Classification) -> NDArray[np.object_]:
    found: NDArray[np.object_] = np.array(result.class_names, object)[result.predicted]
    return found


def attribute_columns(result: Classification) -> dict[str, NDArray[np.object_]]:
    """Attributes of cells as columns ``attr_<name>``: the likeliest value ``(N,)`` of each.

    Empty where the class of a cell was never seen with the attribute in training: what a red
    cell's granules are, nobody has told the model.
    """
    found: dict[str, NDArray[np.object_]] = {}
    if result.trait_probabilities is None:
        return found
    for trait, part in attributes_of(result.traits):
        likeliest = result.trait_probabilities[:, part].argmax(axis=1)
        values = np.array(trait.values, object)[likeliest]
        values[~told_of(result, trait)] = ""
        found[f"attr_{trait.name}"] = values
    return found


def attributes_of(traits: Sequence[Trait]) -> list[tuple[Trait, slice]]:
    """Return the traits that are attributes, and where their values stand among all columns."""
    both = zip(traits, columns_of(traits), strict=True)
    return [(trait, part) for trait, part in both if not trait.parent]


def told_of(result: Classification, trait: Trait) -> NDArray[np.bool_]:
    """Tell which cells ``(N,)`` are of a class that was seen with an attribute in training."""
    if not trait.classes:
        return np.ones(len(result), bool)
    names = _predicted_names(result.coarse or result)
    return np.isin(names.astype(str), trait.classes)
