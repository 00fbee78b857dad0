"""What a model says of a cell beside its class: attributes, and finer classes.

A trait has a few values, of which a cell has one: its nucleus is round or segmented, a neutrophil
is a band or a segmented one. The head of the denoiser that tells them sees the trunk's features
of the same passes that classify (`cytodiffusion.model.denoiser`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trait:
    """One property of cells.

    Attributes
    ----------
    name : str
        Such as ``nucleus_shape``; that of finer classes is the name of the coarser class.
    values : tuple of str
        Two or more.
    parent : str
        The class whose finer classes the values are; empty for an attribute.
    classes : tuple of str
        Classes that were seen with it in training; of others it is not told. Empty: all.
    temperature : float
        Logits are divided by it.
    scores : tuple of float
        ``1 - p(true)`` of validation cells, sorted: the conformal scores of finer classes.
    colors : tuple of str
        Of finer classes; empty for an attribute.
    """

    name: str
    values: tuple[str, ...]
    parent: str = ""
    classes: tuple[str, ...] = ()
    temperature: float = 1.0
    scores: tuple[float, ...] = ()
    colors: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the trait as it stands in a bundle's ``classes.json``."""
        content = {
            "name": self.name,
            "values": list(self.values),
            "parent": self.parent,
            "classes": list(self.classes),
            "temperature": self.temperature,
            "scores": [round(score, 5) for score in self.scores],
            "colors": list(self.colors),
        }
        return {key: value for key, value in content.items() if value not in ("", [])}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Trait:
        """Make a trait of its entry; ValueError where it makes no sense."""
        found = cls(
            name=str(content["name"]),
            values=tuple(map(str, content["values"])),
            parent=str(content.get("parent", "")),
            classes=tuple(map(str, content.get("classes", ()))),
            temperature=float(content.get("temperature", 1.0)),
            scores=tuple(map(float, content.get("scores", ()))),
            colors=tuple(map(str, content.get("colors", ()))),
        )
        if len(found.values) < 2 or len(set(found.values)) != len(found.values):
            raise ValueError(f"the trait {found.name!r} needs two or more values that differ")
        if not 1e-3 < found.temperature < 1e3:
            raise ValueError(f"the temperature of the trait {found.name!r} is of no usual size")
        if not all(math.isfinite(score) for score in found.scores):
            raise ValueError(f"the scores of the trait {found.name!r} are no numbers")
        if found.colors and len(found.colors) != len(found.values):
            raise ValueError(f"the trait {found.name!r} needs as many colours as values")
        return found


def sizes_of(traits: Sequence[Trait]) -> tuple[int, ...]:
    """Numbers of values of traits, in order."""
    return tuple(len(trait.values) for trait in traits)


def columns_of(traits: Sequence[Trait]) -> list[slice]:
    """Where each trait's values stand among the columns of all."""
    stops = np.cumsum([0, *sizes_of(traits)]).tolist()
    return [slice(a, b) for a, b in pairwise(stops)]


def trait_probabilities(
    logits: NDArray[np.floating], traits: Sequence[Trait]
) -> NDArray[np.float32]:
    """Probabilities ``(N, S)`` of logits ``(N, S)``; those of each trait sum to 1."""
    found = np.zeros(logits.shape, np.float32)
    for trait, part in zip(traits, columns_of(traits), strict=True):
        own = np.asarray(logits[:, part], np.float64) / trait.temperature
        powers = np.exp(own - own.max(axis=1, keepdims=True, initial=-np.inf))
        found[:, part] = powers / powers.sum(axis=1, keepdims=True)
    return found
