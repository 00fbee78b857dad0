"""Generated cells on disk: a folder a class, a table, a contact sheet and their provenance."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.files.atomic import check_folder, staged_folder
from cytodiffusion.files.synthetic_mark import PROVENANCE, STATEMENT, write_synthetic_png
from cytodiffusion.files.writers import write_cells_csv, write_run_json
from cytodiffusion.generation.cells import GeneratedCells, joined, renamed
from cytodiffusion.generation.generate import as_crops, generate_parts
from cytodiffusion.generation.order import GenerationSettings, Mix
from cytodiffusion.generation.sheet import COLUMNS, LINES, contact_sheet
from cytodiffusion.image.pixels import check_pixel_size
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.progress import Progress, silent

log = logging.getLogger(__name__)

CELLS, SHEET = "cells.csv", "contact_sheet.png"


@dataclass(frozen=True, eq=False)
class SavedCells:
    """Generated cells that are on disk.

    Attributes
    ----------
    folder : Path
    frame : DataFrame
        The table of the cells, as in ``cells.csv``; ``path`` is relative to the folder.
    cells : GeneratedCells
        What is known of all of them; without their pixels.
    """

    folder: Path
    frame: pd.DataFrame
    cells: GeneratedCells

    @property
    def files(self) -> dict[str, Path]:
        """Paths of the table, the sheet and the provenance."""
        return {Path(name).stem: self.folder / name for name in (CELLS, SHEET, PROVENANCE)}

    def record(self) -> dict[str, Any]:
        """Return what a program wants to know."""
        return {"folder": self.folder, "files": self.files, **self.cells.record()}


def save_generated(cells: GeneratedCells, folder: str | Path) -> SavedCells:
    """Write cells in a folder per class, a table, a contact sheet and ``provenance.json``."""
    writer = _Writer(Path(folder))
    writer.add(cells)
    return writer.finish()


def generate_into(
    folder: str | Path,
    model: ModelBundle,
    counts: Mapping[str, int],
    settings: GenerationSettings | None = None,
    *,
    towards: Mix | None = None,
    progress: Progress = silent,
    insist: bool = False,
    pixel_size_um: float | None = None,
    names: Mapping[str, str] | None = None,
    stain_of: NDArray[np.uint8] | None = None,
) -> SavedCells:
    """Draw cells and write each part as it is done; see `generate` and `save_generated`.

    Work that is cancelled or interrupted leaves what is done, with its table.
    """
    if pixel_size_um is not None:
        check_pixel_size(pixel_size_um)
    check_folder(Path(folder))
    writer = _Writer(Path(folder), pixel_size_um)
    parts = generate_parts(
        model,
        counts,
        settings,
        towards=towards,
        progress=progress,
        insist=insist,
        stain_of=stain_of,
    )
    try:
        for part in parts:
            writer.add(part if names is None else renamed(part, names))
    except KeyboardInterrupt:
        if writer.parts:
            kept = writer.finish(complete=False)
            log.warning("%s They are in %s.", " ".join(kept.cells.warnings), kept.folder)
        raise
    return writer.finish()


class _Writer:
    """Writes cells part by part and remembers what the tables need."""

    def __init__(self, folder: Path, pixel_size_um: float | None = None):
        self.folder, self.pixel_size_um = folder, pixel_size_um
        self.earlier = {p.relative_to(folder).as_posix() for p in folder.glob("*/synthetic-*.png")}
        self.parts: list[GeneratedCells] = []  #: without pixels
        self.paths: list[str] = []
        self.made: Counter[str] = Counter()
        self.sheet: list[GeneratedCells] = []

    def add(self, cells: GeneratedCells) -> None:
        """Write the images of some cells."""
        check_folder(self.folder)
        size_um = self.pixel_size_um or cells.pixel_size_um
        side = round(cells.pixels.shape[1] * cells.pixel_size_um / size_um)
        for row, pixels in enumerate(as_crops(cells.pixels, side)):
            name = f"{_safe(cells.classes[row])}/{file_name(cells, row)}"
            record = cells.cell_record(row)
            write_synthetic_png(self.folder / name, pixels, record, size_um)
            self.paths.append(name)
        full = {name for name, n in self.made.items() if n >= COLUMNS * LINES}
        if any(name not in full for name in cells.classes):
            self.sheet.append(cells)
        self.made.update(cells.classes)
        self.parts.append(replace(cells, pixels=cells.pixels[:0]))

    def finish(self, complete: bool = True) -> SavedCells:
        """Write table, sheet and provenance of all cells that were added."""
        cells = joined(self.parts)
        if stale := self.earlier.difference(self.paths):
            log.warning(
                "%s holds %d images of an earlier order, such as %s; they are not in the new %s.",
                self.folder,
                len(stale),
                min(stale),
                CELLS,
            )
        if not complete:
            cells = replace(cells, complete=False)
        frame = cells.frame()
        frame.insert(0, "path", self.paths)
        record = {"statement": STATEMENT, **cells.record()}
        with staged_folder(self.folder) as staging:
            write_cells_csv(staging / CELLS, frame)
            sheet = contact_sheet(joined(self.sheet or self.parts), self.made)
            about = {key: record[key] for key in ("synthetic", "model", "settings", "towards")}
            write_synthetic_png(staging / SHEET, sheet, about)
            write_run_json(staging / PROVENANCE, record)
        return SavedCells(self.folder, frame, cells)


def file_name(cells: GeneratedCells, row: int) -> str:
    """Return the name of a cell's image: class, seed and number, as far as they tell it apart."""
    mix = f"-to-{_safe(cells.towards.name)}-{cells.towards.share:g}" if cells.towards else ""
    name = _safe(cells.classes[row]).replace(" ", "_")
    return f"synthetic-{name}{mix.replace(' ', '_')}-s{cells.seed}-{cells.numbers[row]:05d}.png"


def _safe(name: str) -> str:
    """Return the name of a class without what names of folders may not have."""
    return re.sub(r'[\\/:*?"<>|]', "_", name)
