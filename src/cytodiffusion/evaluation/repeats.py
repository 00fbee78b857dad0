"""Images that are in an evaluated set more than once: found, named, warned of."""

from __future__ import annotations

from cytodiffusion.datasets.duplicates import find_repeats, state_repeats
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.settings import HOME


def warn_of_repeats(context: Context) -> None:
    """Warn of copies within each set, by the fingerprints of the images that were cut."""
    for name, records in {HOME: context.records, **context.shift}.items():
        prints = context.frames(name, records).prints
        by_path = {r.path: r for r in records}
        repeats = find_repeats([by_path[path] for path in prints.paths], prints)
        for sentence in state_repeats(repeats):
            context.warn(f"{name}: {sentence}.")
