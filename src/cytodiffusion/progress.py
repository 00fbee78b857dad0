"""How long work reports progress and is cancelled."""

from __future__ import annotations

from collections.abc import Callable

#: Called with the fraction done (0 to 1) and a short message. It may raise
#: :class:`cytodiffusion.errors.Cancelled` to stop the work at that point.
Progress = Callable[[float, str], None]


def silent(fraction: float, message: str) -> None:
    """Report nothing."""


def part_of(progress: Progress, start: float, end: float) -> Progress:
    """Progress of a part of some work, which goes from ``start`` to ``end`` of the whole."""
    return lambda fraction, message: progress(start + (end - start) * fraction, message)
