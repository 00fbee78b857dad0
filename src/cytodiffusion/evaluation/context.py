"""What the steps of an evaluation share: settings, data, progress, warnings, the table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from cytodiffusion.datasets import Record
from cytodiffusion.datasets.names import spelling
from cytodiffusion.evaluation.cells import ScoredCells
from cytodiffusion.evaluation.fine import with_coarse_labels
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.progress import Progress
from cytodiffusion.taxonomy import Taxonomy
from cytodiffusion.traits import Trait

log = logging.getLogger(__name__)

#: Files that a warning names.
NAMED = 3


@dataclass(eq=False)
class Context:
    """State of one evaluation.

    Attributes
    ----------
    settings : EvaluateSettings
    progress : callable
    names : tuple of str
        Classes of the model; labels that mean one of them get its spelling.
    traits : tuple of Trait
        What the model tells beside the class: labels that are finer classes become coarse ones.
    taxonomies : tuple of Taxonomy
        That know what labels mean: of the evaluation, and of the layout of the data.
    everything, records : list of Record
        All images of the data, and those that are evaluated.
    shift : dict
        Images of each other laboratory that are evaluated.
    skipped : dict
        By set, one sentence for each image that could not be read.
    warnings : list of str
    tables : list of DataFrame
        Parts of ``cells.csv``.
    stages : int
        That progress is divided into.
    """

    settings: EvaluateSettings
    progress: Progress
    names: tuple[str, ...]
    traits: tuple[Trait, ...] = ()
    taxonomies: tuple[Taxonomy, ...] = ()
    everything: list[Record] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    shift: dict[str, list[Record]] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    tables: list[pd.DataFrame] = field(default_factory=list)
    stages: int = 1
    _frames: dict[str, Frames] = field(default_factory=dict)
    _stage: int = 0

    def warn(self, sentence: str) -> None:
        """Note, once, what a reader of the report has to know."""
        if sentence and sentence not in self.warnings:
            self.warnings.append(sentence)
            log.warning(sentence)

    def next(self, title: str) -> Progress:
        """Progress of the next stage, as a part of the whole."""
        stage, self._stage = self._stage, self._stage + 1

        def report(fraction: float, text: str) -> None:
            share = (stage + min(fraction, 1.0)) / self.stages
            self.progress(min(share, 0.999), f"{title}: {text}" if text else title)

        report(0.0, "")
        return report

    def named(self, records: Sequence[Record]) -> list[Record]:
        """Give labels the spelling of the model's classes."""
        spelt = spelling(self.names, self.taxonomies)
        found = [replace(r, label=spelt(r.label)) if r.label else r for r in records]
        left_out = self.settings.leave_out
        return with_coarse_labels(found, self.names, self.traits, self.taxonomies, left_out)

    def frames(
        self, name: str, records: Sequence[Record], pixel_size_um: float | None = None
    ) -> Frames:
        """Scale and centre of the cells of one set; measured when first asked for."""
        if name not in self._frames:
            progress = self.next(f"images of {name}")
            self._frames[name] = Frames(records, pixel_size_um, progress)
        return self._frames[name]

    def add_cells(self, scored: ScoredCells, model: str, name: str) -> None:
        """Add cells to the table, and warn of images that could not be read."""
        self._count_skipped(scored.skipped, name)
        table = scored.frame()
        table.insert(0, "set", name)
        table.insert(1, "model", model)
        self.tables.append(table)

    def _count_skipped(self, skipped: list[str], name: str) -> None:
        if not skipped or name in self.skipped:
            return
        self.skipped[name] = skipped
        more = f" and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
        images, are = ("image", "is") if len(skipped) == 1 else ("images", "are")
        self.warn(
            f"{name}: {len(skipped)} {images} could not be read and {are} left out: "
            f"{' '.join(skipped[:NAMED])}{more}"
        )
