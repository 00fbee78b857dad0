"""Labelled single-cell images as a classifier sees them, and what it makes of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.cells.single_cell import at_start
from cytodiffusion.classification.result import Classification, join
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_correction import adjust
from cytodiffusion.datasets import Record
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.traits import FINER

#: Images that are in memory at a time.
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class ScoredCells:
    """Cells of known class and what a classifier made of them.

    Attributes
    ----------
    records : list of Record
    result : Classification
    labels : (N,) int64 array
        Index of the true class among the classifier's; -1 for a class that it does not know.
    skipped : list of str
    """

    records: list[Record]
    result: Classification
    labels: NDArray[np.int64]
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0  #: spent in the classifier, reading excluded

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(
        self, index: Sequence[bool] | NDArray[np.int64] | NDArray[np.bool_]
    ) -> ScoredCells:
        rows = np.arange(len(self))[np.asarray(index)]
        return replace(
            self,
            records=[self.records[i] for i in rows],
            result=self.result[rows],
            labels=self.labels[rows],
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Cells ``(N,)`` of classes that the classifier has."""
        return self.labels >= 0

    def frame(self) -> pd.DataFrame:
        """One row a cell: path, true class and everything the classifier says."""
        table = self.result.to_frame()
        table.insert(0, "path", [str(r.path) for r in self.records])
        table.insert(1, "label", [r.label for r in self.records])
        table.insert(2, "split", [r.split for r in self.records])
        finer = [r.attributes.get(FINER, "") for r in self.records]
        if any(finer):
            table.insert(2, "finer_label", finer)
        return table


def choose_records(
    found: Sequence[Record],
    data: Path,
    split: str,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> list[Record]:
    """Labelled images of one split of a data set."""
    chosen = [r for r in found if r.label and split in (r.split, "all")]
    return draw(chosen, limit, seed) or _none(data, split, found)


def shift_records(
    found: Sequence[Record], data: Path, *, limit: int | None = None, seed: int = 0
) -> list[Record]:
    """Labelled images of another laboratory: its test split, or all where it has none."""
    labelled = [r for r in found if r.label]
    chosen = [r for r in labelled if r.split == "test"] or labelled
    return draw(chosen, limit, seed) or _none(data, "all", found)


def _none(data: Path, split: str, found: Sequence[Record]) -> list[Record]:
    there = sorted({r.split for r in found if r.label})
    where = "" if split == "all" else f" in its {split} split"
    other = f"; it has {', '.join(there)}: choose with --split, or all" if there else ""
    raise InputError(f"{data} has no labelled images{where}{other}.")


def draw(records: list[Record], limit: int | None, seed: int) -> list[Record]:
    """Return ``limit`` of the records at random, in their order; all where there are no more."""
    if limit is None or len(records) <= limit:
        return records
    chosen = np.random.default_rng(seed).choice(len(records), limit, replace=False)
    return [records[i] for i in np.sort(chosen)]


def score(
    model: Any,
    records: Sequence[Record],
    settings: ClassifySettings,
    *,
    frames: Frames | None = None,
    progress: Progress = silent,
) -> ScoredCells:
    """Classify images, a chunk at a time so that memory does not grow with their number.

    All of them are taken to be of one laboratory (`cytodiffusion.classification.slide_correction`).
    """
    from cytodiffusion.predict import predict

    kept: list[Record] = []
    results: list[Classification] = []
    skipped: list[str] = []
    seconds = 0.0
    frames = frames or Frames(records, progress=at_start(progress))
    for start in range(0, len(records), CHUNK):
        part = records[start : start + CHUNK]

        def report(share: float, text: str, first: int = start, n: int = len(part)) -> None:
            progress((first + share * n) / len(records), text)

        read = frames.cut(
            part,
            model.input_size,
            model.window_um,
            lambda share, text: report(0.3 * share, text),
        )
        skipped += read.skipped
        if not read.records:
            continue
        kept += read.records
        began = time.perf_counter()
        results.append(
            predict(
                model,
                read.pixels,
                settings,
                background=read.backgrounds,
                progress=lambda share, text: report(0.3 + 0.7 * share, text),
            )
        )
        seconds += time.perf_counter() - began
    if not results:
        raise InputError(f"None of the {len(records)} images could be read: {skipped[0]}")
    labels = label_indices(kept, model.class_names)
    result = adjust(join(results), model, settings)
    return ScoredCells(kept, result, labels, skipped, seconds)


def label_indices(records: Sequence[Record], names: Sequence[str]) -> NDArray[np.int64]:
    """Index ``(N,)`` of each record's class; -1 where ``names`` lacks it."""
    index = {name: k for k, name in enumerate(names)}
    return np.array([index.get(r.label or "", -1) for r in records], np.int64)
