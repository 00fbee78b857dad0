"""Generated cells, and what is known of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.files.record import circumstances
from cytodiffusion.generation.order import GenerationSettings, Mix
from cytodiffusion.generation.style import StainColours


@dataclass(frozen=True, eq=False)
class GeneratedCells:
    """Synthetic cells.

    Attributes
    ----------
    pixels : (N, S, S, 3) uint8
        The cell in the centre; empty background is about 235 in all channels.
    classes : tuple of str
        N names: the class that was asked for.
    numbers : (N,) int64
        Which one of its class each cell is, from 0; with seed and class it names the picture.
    predicted : tuple of str
        N names: what the model's own classifier takes each for.
    confidence : (N,) float64
        Probability that the classifier gives to the asked class; of a mixed cell, to the two
        classes together.
    accepted : (N,) bool
        Whether the classifier's first choice is the asked class (or one of the two), with at
        least the confidence of the settings. All True where others were rejected.
    attempts : (N,) int64
        Drawings that it took.
    asked : mapping
        Cells asked for, by class.
    rejected : mapping
        Drawings that were rejected, by class.
    settings : GenerationSettings
    towards : Mix or None
    model : mapping
        Record of the model.
    colors : mapping
        Colour ``#rrggbb`` of each class of the model.
    pixel_size_um : float
    complete : bool
        False where the work was cancelled before all cells were done.
    stain : StainColours or None
        Of the image in whose stain the cells are; None for the stain that the model draws in.
    """

    pixels: NDArray[np.uint8]
    classes: tuple[str, ...]
    numbers: NDArray[np.int64]
    predicted: tuple[str, ...]
    confidence: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    attempts: NDArray[np.int64]
    asked: Mapping[str, int]
    rejected: Mapping[str, int]
    settings: GenerationSettings
    towards: Mix | None
    model: Mapping[str, Any]
    colors: Mapping[str, str] = field(repr=False)
    pixel_size_um: float
    complete: bool = True
    stain: StainColours | None = None

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def seed(self) -> int:
        """What they were drawn with."""
        return self.settings.seed

    @property
    def missing(self) -> dict[str, int]:
        """Cells that were asked for and are not there, by class; classes without any left out."""
        made = Counter(self.classes)
        return {name: n - made[name] for name, n in self.asked.items() if n > made[name]}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences the user should read."""
        said = []
        lacking = ", ".join(f"{n} of {self.asked[name]} {name}" for name, n in self.missing.items())
        if not self.complete:
            total = sum(self.asked.values())
            said.append(f"Cancelled: {len(self)} of {total} cells are done.")
        elif lacking:
            said.append(
                f"Left out: {lacking}, as the classifier accepted none of "
                f"{self.settings.tries} drawings of each."
            )
        return tuple(said)

    def of_class(self, name: str) -> NDArray[np.uint8]:
        """Return the cells ``(n, S, S, 3)`` of one class."""
        return self.pixels[[c == name for c in self.classes]]

    def frame(self) -> pd.DataFrame:
        """Return the table of the cells; the column ``synthetic`` is ``true`` in every row."""
        n = len(self)
        table: dict[str, Any] = {
            "class": list(self.classes),
            "split": ["train"] * n,  # a synthetic cell measures nothing
            "synthetic": ["true"] * n,
            "number": self.numbers,
            "seed": [self.seed] * n,
            "guidance": [self.settings.guidance] * n,
            "steps": [self.settings.steps] * n,
            "towards": [self.towards.name if self.towards else ""] * n,
            "share": [self.towards.share if self.towards else 0.0] * n,
            "predicted": list(self.predicted),
            "classifier_confidence": self.confidence.round(6),
            "accepted": ["true" if ok else "false" for ok in self.accepted],
            "attempts": self.attempts,
        }
        return pd.DataFrame(table)

    def cell_record(self, row: int) -> dict[str, Any]:
        """Return what a single image says of its making."""
        return {
            "synthetic": True,
            "class": self.classes[row],
            "number": int(self.numbers[row]),
            "attempt": int(self.attempts[row]),
            "settings": self.settings.model_dump(),
            "towards": self.towards.model_dump() if self.towards else None,
            "stain": asdict(self.stain) if self.stain else None,
            "model": {key: self.model.get(key) for key in ("name", "version", "sha256")},
        }

    def record(self) -> dict[str, Any]:
        """Return how they came about: model, settings, seed, versions, counts."""
        return {
            "synthetic": True,
            "program": "cytodiffusion",
            "model": dict(self.model),
            "settings": self.settings.model_dump(),
            "seed": self.seed,
            **circumstances(),
            "towards": self.towards.model_dump() if self.towards else None,
            "stain": asdict(self.stain) if self.stain else None,
            "asked": dict(self.asked),
            "made": dict(Counter(self.classes)),
            "rejected": dict(self.rejected),
            "missing": self.missing,
            "accepted": int(self.accepted.sum()),
            "pixel_size_um": self.pixel_size_um,
            "complete": self.complete,
        }


def joined(parts: Sequence[GeneratedCells]) -> GeneratedCells:
    """Put the parts of one order together."""
    last = parts[-1]
    return replace(
        last,
        pixels=np.concatenate([p.pixels for p in parts]),
        classes=tuple(c for p in parts for c in p.classes),
        numbers=np.concatenate([p.numbers for p in parts]),
        predicted=tuple(c for p in parts for c in p.predicted),
        confidence=np.concatenate([p.confidence for p in parts]),
        accepted=np.concatenate([p.accepted for p in parts]),
        attempts=np.concatenate([p.attempts for p in parts]),
        rejected=summed(p.rejected for p in parts),
        complete=all(p.complete for p in parts),
    )


def renamed(cells: GeneratedCells, names: Mapping[str, str]) -> GeneratedCells:
    """Call classes by other names."""

    def new(name: str) -> str:
        return names.get(name, name)

    return replace(
        cells,
        classes=tuple(map(new, cells.classes)),
        predicted=tuple(map(new, cells.predicted)),
        asked={new(k): n for k, n in cells.asked.items()},
        rejected={new(k): n for k, n in cells.rejected.items()},
        colors={new(k): c for k, c in cells.colors.items()},
    )


def summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counts by name."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)
