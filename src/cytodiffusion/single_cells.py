"""From a folder of single-cell images to a table of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.cells.single_cell import SingleCell, SingleCells
from cytodiffusion.classification.cautions import (
    ACCEPTED,
    CORRECTED,
    CORRECTIONS,
    DISTANCE,
    SURE,
    SURE_BEFORE,
    corrections_record,
)
from cytodiffusion.classification.classifier import Classification, ClassifySettings, in_batches
from cytodiffusion.classification.correction_table import (
    CorrectionRow,
    CorrectionTable,
    lost_sentence,
)
from cytodiffusion.classification.corrections import correct
from cytodiffusion.classification.levels import at_level, level_note
from cytodiffusion.classification.prior import prior_record, settled
from cytodiffusion.classification.result import join
from cytodiffusion.classification.slide_correction import adjust
from cytodiffusion.errors import CytoDiffusionError, InputError, naming
from cytodiffusion.image.pixels import Scale
from cytodiffusion.predict import Classifier, predict
from cytodiffusion.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd


def classify_images(
    images: Sequence[str | Path],
    model: Classifier,
    settings: ClassifySettings | None = None,
    *,
    pixel_size_um: float | None = None,
    corrections: CorrectionTable | None = None,
    progress: Progress = silent,
) -> tuple[pd.DataFrame, list[str]]:
    """Classify single-cell images, the cell in the centre.

    All of them are taken to be of one laboratory: one scale, and one correction of their classes
    for what they have in common (`cytodiffusion.classification.slide_correction`). What is odd
    about files is in the table's ``attrs["notes"]``, a sentence each, and logged.
    """
    settings = settled(settings or ClassifySettings(), field=False)
    found = classified_images(
        images,
        model,
        settings,
        pixel_size_um=pixel_size_um,
        corrections=corrections,
        progress=progress,
    )
    result = at_level(found.result, settings.level, settings.coverage)
    frame = _images_frame(found.cells, result)
    if corrections is not None:
        frame.attrs[CORRECTIONS] = corrections_record(frame, lost_sentence(found.lost))
    frame.attrs["prior"] = prior_record(model, settings)
    frame.attrs[CORRECTED] = result.adjusted
    frame.attrs[ACCEPTED] = result.accept_above
    frame.attrs[DISTANCE], frame.attrs[SURE_BEFORE] = result.slide_distance, result.sure_before
    frame.attrs[SURE] = float(found.result.confidence.mean())
    frame.attrs["notes"] = found.notes
    if note := level_note(model, settings.level):
        frame.attrs["notes"].append(note)
    return frame, found.skipped


@dataclass(frozen=True, eq=False)
class ClassifiedImages:
    """Single-cell images that could be read, and what their cells are on the coarse level."""

    cells: list[ReadCell]
    result: Classification
    skipped: list[str]
    notes: list[str]
    lost: list[CorrectionRow]  #: corrections of images that are not among them


def classified_images(
    images: Sequence[str | Path],
    model: Classifier,
    settings: ClassifySettings,
    *,
    pixel_size_um: float | None = None,
    corrections: CorrectionTable | None = None,
    progress: Progress = silent,
) -> ClassifiedImages:
    """Read and classify single-cell images; see `classify_images`."""
    paths = [Path(image) for image in images]
    folder = SingleCells(paths, pixel_size_um, _part(progress, 0.0, _MEASURING))
    cells: list[ReadCell] = []
    results: list[Classification] = []
    skipped: list[str] = []
    for part in in_batches(len(paths), settings.batch_size, settings.batch_size):
        shares = [_MEASURING + (1 - _MEASURING) * n / len(paths) for n in (part.start, part.stop)]
        middle = (shares[0] + shares[1]) / 2
        found = _read_cells(paths[part], model, folder, skipped, _part(progress, shares[0], middle))
        if not found:
            continue
        result = predict(
            model,
            np.stack([c.window for c in found]),
            settings,
            background=np.stack([c.background for c in found]),
            progress=_part(progress, middle, shares[1]),
        )
        results.append(result)
        cells += [replace(c, window=c.window[:0]) for c in found]
    if not results:
        why = f" ({skipped[0]})" if skipped else ""
        raise InputError(f"None of the {len(images)} images could be read{why}.")
    result = adjust(join(results), model, settings)
    lost: list[CorrectionRow] = []
    if corrections is not None:
        placed, lost = corrections.place_paths([cell.path for cell in cells], model.class_names)
        result = correct(result, placed, model, settings)
    notes = [f"{path.name}: {note}" for path, notes in folder.notes.items() for note in notes]
    return ClassifiedImages(cells, result, skipped, notes, lost)


#: Share of the time that measuring the images takes, before the first is classified.
_MEASURING = 0.5


def _part(progress: Progress, start: float, end: float) -> Progress:
    return lambda share, message: progress(start + (end - start) * share, message)


@dataclass(frozen=True, eq=False)
class ReadCell:
    """A single-cell image that was read."""

    path: Path
    window: NDArray[np.uint8]
    background: NDArray[np.float32]
    centre: tuple[float, float]
    area_um2: float
    touches_border: bool
    scale: Scale
    shape: tuple[int, int]


def _read_cells(
    paths: Sequence[Path],
    model: Classifier,
    folder: SingleCells,
    skipped: list[str],
    progress: Progress,
) -> list[ReadCell]:
    cells = []
    for number, path in enumerate(paths):
        progress(number / len(paths), f"reading {path.name}")
        try:
            cell = folder.read(path)
            window = cell.crop(model.input_size, model.window_um)
            area, touches = _extent(cell)
        except CytoDiffusionError as error:
            skipped.append(naming(path, error))
            continue
        height, width = cell.rgb.shape[:2]
        found = (window, cell.background, cell.centre, area, touches, cell.scale, (height, width))
        cells.append(ReadCell(path, *found))
    return cells


def _extent(cell: SingleCell) -> tuple[float, bool]:
    """Area of the cell in um2, NaN where none was found, and whether it touches the border."""
    mask = cell.mask
    if mask is None:
        return float("nan"), False
    edge = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    return float(mask.sum()) * cell.scale.pixel_size_um**2, bool(edge)


def _images_frame(cells: Sequence[ReadCell], result: Classification) -> pd.DataFrame:
    frame = result.to_frame()
    frame.insert(0, "path", [str(c.path) for c in cells])
    frame.insert(1, "y", [c.centre[0] for c in cells])
    frame.insert(2, "x", [c.centre[1] for c in cells])
    frame.insert(3, "area_um2", [c.area_um2 for c in cells])
    frame.insert(
        list(frame.columns).index("trials") + 1, "touches_border", [c.touches_border for c in cells]
    )
    return frame
