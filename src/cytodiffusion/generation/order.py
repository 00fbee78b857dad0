"""What is asked for: classes and counts, checked, and what it would take."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.generation.sampler import drawn_size
from cytodiffusion.generation.settings import GenerationSettings as GenerationSettings
from cytodiffusion.generation.settings import Mix as Mix
from cytodiffusion.generation.synthesis import sample_cells
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.taxonomy import plain

#: More cells than these are not begun without insisting.
MANY = 2000

#: More cells than these are not drawn in one go whoever insists: their list alone fills the memory.
MOST = 10_000_000

#: Cells and steps of the sampling that an estimate of the time is made from. A generator draws
#: detail in four fifths of the steps and in no fewer than four: five keep to that proportion.
_PROBE_CELLS, _PROBE_STEPS = 8, 5


class LargeOrder(InputError):
    """So many cells that one should be asked first; the sentence says what it would take."""


@dataclass(frozen=True, eq=False)
class GenerationOrder:
    """Cells to draw, one class after the other.

    Attributes
    ----------
    counts : mapping
        Cells by class name, none of them 0.
    index : (N,) int64
        Class of each cell.
    numbers : (N,) int64
        Which one of its class it is.
    towards : int or None
        Index of the class to go towards.
    """

    counts: Mapping[str, int]
    index: NDArray[np.int64]
    numbers: NDArray[np.int64]
    towards: int | None

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Effort:
    """What drawing cells would take.

    Attributes
    ----------
    cells : int
    seconds : float
    megabytes : float
        Of pixels: in memory, and about as much on disk.
    device : str
    """

    cells: int
    seconds: float
    megabytes: float
    device: str

    def sentence(self) -> str:
        """Return it in words."""
        size = f"{self.megabytes / 1000:,.1f} GB" if self.megabytes > 999 else (
            f"{self.megabytes:,.0f} MB"
        )  # fmt: skip
        return (
            f"{self.cells:,} cells would take about {duration(self.seconds)} on {self.device}, "
            f"and {size}"
        )


def take_order(
    model: ModelBundle, counts: Mapping[str, int], mix: Mix | None = None
) -> GenerationOrder:
    """Check what is asked for."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise InputError(
                f"The number of {name} cells must be a whole number of at least 0, not {count!r}."
            )
    wanted: dict[str, int] = {}
    for name, count in counts.items():
        known = class_of(model, name)
        wanted[known] = wanted.get(known, 0) + int(count)
    wanted = {name: count for name, count in wanted.items() if count}
    if not wanted:
        raise InputError("There is nothing to generate: ask for at least one cell of a class.")
    if sum(wanted.values()) > MOST:
        raise InputError(
            f"{sum(wanted.values()):,} cells are too many: at most {MOST:,} are drawn in one go."
        )
    names = list(model.untaught.class_names)
    index = np.repeat([names.index(name) for name in wanted], list(wanted.values()))
    numbers = np.concatenate([np.arange(count) for count in wanted.values()])
    towards = None if mix is None else names.index(class_of(model, mix.name))
    return GenerationOrder(wanted, index.astype(np.int64), numbers.astype(np.int64), towards)


def class_of(model: ModelBundle, name: str) -> str:
    """Return the model's class of that name or alias."""
    drawn = model.untaught.class_names
    own = {plain(known): known for known in drawn}
    if plain(name) in own:
        return own[plain(name)]
    alias = model.taxonomy.find(name) if model.taxonomy else None
    if alias is not None and alias.name in drawn:
        return alias.name
    near = difflib.get_close_matches(plain(name), own, n=1, cutoff=0.5)
    meant = f" Did you mean {own[near[0]]}?" if near else ""
    raise InputError(
        f"The model {model.name} draws no {name!r}.{meant} It draws {', '.join(drawn)}."
    )


def check_order(
    order: GenerationOrder, model: ModelBundle, settings: GenerationSettings, insist: bool = False
) -> None:
    """Ask before very large orders."""
    if len(order) > MANY and not insist:
        effort = estimate_effort(model, len(order), settings)
        raise LargeOrder(f"{effort.sentence()}: ask for fewer, or insist.")


def estimate_effort(model: ModelBundle, n: int, settings: GenerationSettings) -> Effort:
    """Estimate what drawing ``n`` cells takes, from a few steps of a few cells.

    The classifier's check, some 5 % of it, and cells that are drawn anew come on top.
    """
    index = np.zeros(_PROBE_CELLS, np.int64)
    steps = min(_PROBE_STEPS, settings.steps)
    spent = []
    for _ in range(2):  # the first run warms up
        started = time.perf_counter()
        sample_cells(model, index, steps=steps, guidance=settings.guidance)
        spent.append(time.perf_counter() - started)
    seconds = min(spent) * settings.steps / steps * n / _PROBE_CELLS
    return Effort(n, seconds, n * drawn_size(model) ** 2 * 3 / 1e6, str(model.device))


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.0f} {unit}s"
    return f"{max(seconds, 1):.0f} s"
