"""Attributes of cells in plain words: what the model says of nucleus, cytoplasm and granules.

The eleven attributes that are known here are those of WBCAtt (Tsutsui, Pang & Wen, *WBCAtt: a
white blood cell dataset annotated with detailed morphological attributes*, NeurIPS 2023); a model
may tell others, which are named as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from cytodiffusion.classification.levels import at_level, attributes_of, has_finer, told_of
from cytodiffusion.classification.result import Classification

#: What each attribute is called, and what it means.
WORDS: dict[str, tuple[str, str]] = {
    "cell_size": ("Size of the cell", "Small or big, beside other white cells."),
    "cell_shape": ("Shape of the cell", "Round, or with an irregular outline."),
    "nucleus_shape": (
        "Shape of the nucleus",
        "In one piece and round, indented or bent to a band; or segmented into two or more lobes.",
    ),
    "nuclear_cytoplasmic_ratio": (
        "Nucleus to cytoplasm",
        "High where the nucleus fills most of the cell.",
    ),
    "chromatin_density": (
        "Chromatin",
        "Densely packed, so that the nucleus is dark; or loosely, so that it is light and finely "
        "structured.",
    ),
    "cytoplasm_vacuole": ("Vacuoles", "Whether there are clear bubbles in the cytoplasm."),
    "cytoplasm_texture": ("Texture of the cytoplasm", "Clear, or frosted like ground glass."),
    "cytoplasm_colour": ("Colour of the cytoplasm", "Of what lies around the nucleus."),
    "granularity": ("Granules", "Whether granules are to be seen in the cytoplasm."),
    "granule_type": ("Kind of granules", "Small, round or coarse; none where there are none."),
    "granule_colour": ("Colour of the granules", "None where there are none."),
}

#: Values that are no words by themselves.
_VALUES = {
    "nil": "none",
    "densely": "dense",
    "loosely": "loose",
    "unsegmented-band": "band, in one piece",
    "unsegmented-round": "round, in one piece",
    "unsegmented-indented": "indented, in one piece",
    "segmented-bilobed": "segmented, two lobes",
    "segmented-multilobed": "segmented, several lobes",
}


@dataclass(frozen=True)
class ToldAttribute:
    """An attribute of one cell: the likeliest value and its probability."""

    name: str
    value: str
    probability: float

    @property
    def title(self) -> str:
        """Name in plain words."""
        return WORDS.get(self.name, (self.name.replace("_", " ").capitalize(), ""))[0]

    @property
    def meaning(self) -> str:
        """What it is about; empty where that is not known."""
        return WORDS.get(self.name, ("", ""))[1]

    @property
    def words(self) -> str:
        """Value in plain words."""
        return _VALUES.get(self.value, self.value)


def told_attributes(result: Classification, row: int = 0) -> list[ToldAttribute]:
    """Return the attributes of one cell that its class was seen with in training.

    Those of `WORDS` come in that order, others after them.
    """
    if result.trait_probabilities is None:
        return []
    one, found = result[row : row + 1], []
    for trait, part in attributes_of(result.traits):
        if told_of(one, trait)[0]:
            shares = result.trait_probabilities[row, part]
            best = int(shares.argmax())
            found.append(ToldAttribute(trait.name, trait.values[best], float(shares[best])))
    order = {name: number for number, name in enumerate(WORDS)}
    return sorted(found, key=lambda told: order.get(told.name, len(order)))


def told_finer(result: Classification, row: int = 0) -> list[tuple[str, float]]:
    """Return the finer classes of a cell's class with their shares of it, the likeliest first.

    Empty where its class has none.
    """
    one = at_level(result[row : row + 1], "coarse")
    if one.trait_probabilities is None or not has_finer(one.traits):
        return []
    fine = at_level(one, "fine")
    name = one.class_names[one.predicted[0]]
    values = next((t.values for t in one.traits if t.parent == name), ())
    whole = max(float(one.posterior[0, one.predicted[0]]), 1e-12)
    shares = {v: float(fine.posterior[0, fine.class_names.index(v)]) / whole for v in values}
    return sorted(shares.items(), key=lambda item: -item[1])
