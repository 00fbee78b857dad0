"""cytodiffusion.single_cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.cells.single_cell import Framing, at_start, find_centre, framing_of, framings_of
from cytodiffusion.classification.classifier import Classification, ClassifySettings, in_batches
from cytodiffusion.classification.result import join
from cytodiffusion.classification.slide_correction import adjust
from cytodiffusion.errors import CytoDiffusionError, InputError, naming
from cytodiffusion.image.image import open_image
from cytodiffusion.image.pixels import check_pixel_size
from cytodiffusion.pipeline import CORRECTED
from cytodiffusion.predict import Classifier, predict
from cytodiffusion.progress import Progress, silent


def classify_images(
    images: Sequence[str | Path],
    model: Classifier,
    settings: ClassifySettings | None = None,
    *,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> tuple[pd.DataFrame, list[str]]:
    """Classify single-cell images, the cell in the centre.

    All of them are taken to be of one laboratory: one scale, and one correction of their classes
    for what they have in common (`cytodiffusion.classification.slide_correction`).

    Parameters
    ----------
    images : sequence of str or Path
    model : ModelBundle or Baseline
    settings : ClassifySettings, optional
    pixel_size_um : float, optional
        Of all images; when None that of each file, else an estimate for all of them together
        (`cytodiffusion.cells.single_cell.framings_of`).
    progress : callable

    Returns
    -------
    frame : DataFrame
        The columns of ``cells.csv`` with ``path`` in place of ``label``; ``area_um2`` is that
        of the cell found in the centre, NaN where none was. ``attrs`` as `cells_frame` gives.
    skipped : list of str
        One sentence for each image that could not be read.

    Raises
    ------
    InputError
        If none of the images could be read, or the pixel size makes no sense.
    """
    settings = settings or ClassifySettings()
    if pixel_size_um is not None:
        check_pixel_size(pixel_size_um)
    found: list[_SingleCell] = []
    results: list[Classification] = []
    skipped: list[str] = []
    framings = framings_of([Path(image) for image in images], pixel_size_um, at_start(progress))
    for part in in_batches(len(images), settings.batch_size, settings.batch_size):

        def report(
            share: float, message: str, first: int = part.start, n: int = part.stop - part.start
        ) -> None:
            # Half of the time goes into reading and outlining
            done = first + (0.5 + 0.5 * share) * n
            progress(done / len(images), message)

        def reading(share: float, message: str, report: Progress = report) -> None:
            report(share - 1, message)

        paths = [Path(image) for image in images[part]]
        cells = _read_cells(paths, model, framings, skipped, reading)
        if not cells:
            continue
        result = predict(
            model,
            np.stack([c.window for c in cells]),
            settings,
            background=np.stack([c.background for c in cells]),
            progress=report,
        )
        results.append(result)
        found += [replace(c, window=c.window[:0]) for c in cells]
    if not results:
        why = f" ({skipped[0]})" if skipped else ""
        raise InputError(f"None of the {len(images)} images could be read{why}.")
    result = adjust(join(results), model, settings)
    frame = _images_frame(found, result)
    frame.attrs[CORRECTED] = result.adjusted
    return frame, skipped


@dataclass(frozen=True, eq=False)
class _SingleCell:
    path: Path
    window: NDArray[np.uint8]
    background: NDArray[np.float32]
    centre: tuple[float, float]
    area_um2: float
    touches_border: bool


def _read_cells(
    paths: Sequence[Path],
    model: Classifier,
    framings: Mapping[Path, Framing],
    skipped: list[str],
    progress: Progress,
) -> list[_SingleCell]:
    cells = []
    for number, path in enumerate(paths):
        progress(number / len(paths), f"reading {path.name}")
        try:
            rgb = open_image(path).rgb()
            framing = framing_of(path, framings)
            scale = framing.scale.pixel_size_um
            centre = find_centre(rgb, scale)
            window = centre_crop(rgb, scale, model.input_size, model.window_um, centre=centre)
            area, touches = _cell_at(centre, rgb, scale)
        except CytoDiffusionError as error:
            skipped.append(naming(path, error))
            continue
        cells.append(_SingleCell(path, window, framing.background, centre, area, touches))
    return cells


def _cell_at(
    centre: tuple[float, float], rgb: NDArray[np.uint8], pixel_size_um: float
) -> tuple[float, bool]:
    """Area and border contact of the cell at `centre`, found by the watershed."""
    from cytodiffusion.segmentation.watershed import watershed

    labels = watershed(rgb, pixel_size_um).labels
    here = labels[round(centre[0]), round(centre[1])]
    if here == 0:
        return float("nan"), False
    mask = labels == here
    edge = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    return float(mask.sum()) * pixel_size_um**2, bool(edge)


def _images_frame(cells: Sequence[_SingleCell], result: Classification) -> pd.DataFrame:
    frame = result.to_frame()
    frame.insert(0, "path", [str(c.path) for c in cells])
    frame.insert(1, "y", [c.centre[0] for c in cells])
    frame.insert(2, "x", [c.centre[1] for c in cells])
    frame.insert(3, "area_um2", [c.area_um2 for c in cells])
    frame.insert(
        list(frame.columns).index("trials") + 1, "touches_border", [c.touches_border for c in cells]
    )
    return frame
