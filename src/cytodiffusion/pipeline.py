"""From image and labels to a table of cells: the one path of window and command line."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.adjustment import adjust, correctable
from cytodiffusion.classification import join
from cytodiffusion.classify import Classification, ClassifySettings, in_batches
from cytodiffusion.crops import Crops, cell_table, centre_crop, iter_crops
from cytodiffusion.errors import CytoDiffusionError, InputError, naming
from cytodiffusion.framing import Framing, at_start, find_centre, framing_of, framings_of
from cytodiffusion.image import as_rgb8, check_pixel_size, open_image
from cytodiffusion.predict import Classifier, predict
from cytodiffusion.progress import Progress, silent
from cytodiffusion.stain import estimate_background

#: Cells in the first batch of a field: few, so that colours show soon.
FIRST_BATCH = 32

#: Whether the cells of a table were corrected for what they have in common: its key in records.
CORRECTED = "corrected_for_slide"

#: Libraries whose versions a result records.
RECORDED = ("napari-cytodiffusion", "torch", "diffusers", "numpy", "scikit-image", "cellpose")


@dataclass(frozen=True, eq=False)
class CellBatch:
    """Some cells of a field, classified."""

    crops: Crops
    result: Classification
    done: int  #: cells classified so far, these included
    total: int
    #: Number of an earlier batch that this one takes the place of; its cells are the same.
    revises: int | None = None

    def without_pixels(self) -> CellBatch:
        """Return the batch without its crops' pixels, which can be cut out again."""
        empty = np.broadcast_to(np.uint8(0), self.crops.pixels.shape)
        return replace(self, crops=replace(self.crops, pixels=empty))


@dataclass(frozen=True, eq=False)
class CellResults:
    """All cells of a field and how they came about."""

    frame: pd.DataFrame
    record: dict[str, Any]


def iter_classify_labels(
    image: Any,
    labels: NDArray[np.integer],
    model: Classifier,
    settings: ClassifySettings | None = None,
    *,
    pixel_size_um: float,
    ids: Sequence[int] | None = None,
    progress: Progress = silent,
) -> Iterator[CellBatch]:
    """Classify the cells of a label image, batch by batch, in the order of their ids.

    Where the model can correct them for what they have in common (`cytodiffusion.adjustment`),
    all batches come once more at the end, corrected, in the places of the first.

    Parameters
    ----------
    image : array-like or Image or path
        Anything `cytodiffusion.image.as_rgb8` takes.
    labels : (Y, X) integer array
        0 is background.
    model : ModelBundle or Baseline
    settings : ClassifySettings, optional
    pixel_size_um : float
        Micrometres a pixel.
    ids : sequence of int, optional
        Only these labels.
    progress : callable
        May raise ``Cancelled``; closing the iterator stops it as well.

    Yields
    ------
    CellBatch

    Raises
    ------
    InputError
        If labels and image do not fit, or there are no cells.
    """
    settings = settings or ClassifySettings()
    check_pixel_size(pixel_size_um)
    rgb = as_rgb8(image)
    background = estimate_background(rgb)
    wanted = np.atleast_1d(ids) if ids is not None else cell_table(labels, pixel_size_um).ids
    total, done = len(wanted), 0
    kept: list[CellBatch] = []
    # Every cutter measures the whole label image once, so there are two of them and no more
    for chosen, batch in (
        (wanted[:FIRST_BATCH], FIRST_BATCH),
        (wanted[FIRST_BATCH:], settings.batch_size),
    ):
        if not len(chosen):
            continue
        for crops in iter_crops(
            rgb, labels, pixel_size_um, model.input_size, model.window_um, batch=batch, ids=chosen
        ):

            def report(share: float, message: str, first: int = done, n: int = len(crops)) -> None:
                now = first + share * n
                progress(now / total, f"classified {int(now)} of {total} cells")

            result = predict(model, crops, settings, background=background, progress=report)
            done += len(crops)
            batch_done = CellBatch(crops, result, done, total)
            if correctable(model, settings):
                kept.append(batch_done.without_pixels())
            yield batch_done
    yield from _revised(kept, model, settings)


def _revised(
    batches: Sequence[CellBatch], model: Classifier, settings: ClassifySettings
) -> Iterator[CellBatch]:
    """Yield the batches corrected for what their cells have in common, if they can be."""
    if not batches:
        return
    result = adjust(join([batch.result for batch in batches]), model, settings)
    if not result.adjusted:
        return
    done = 0
    for number, batch in enumerate(batches):
        part = slice(done, done + len(batch.crops))
        done = part.stop
        yield replace(batch, result=result[part], done=done, revises=number)


def cells_frame(batches: Iterable[CellBatch]) -> pd.DataFrame:
    """Join batches to the table of ``cells.csv``, one row a cell, sorted by label.

    Its ``attrs`` say whether the cells were corrected for what they have in common.
    """
    latest: dict[int, pd.DataFrame] = {}
    corrected: dict[int, bool] = {}
    for batch in batches:
        number = len(latest) if batch.revises is None else batch.revises
        corrected[number] = batch.result.adjusted
        latest[number] = batch_frame(batch)
    parts = list(latest.values())
    if not parts:
        raise InputError("There are no classified cells to make a table of.")
    frame = pd.concat(parts, ignore_index=True).sort_values("label", ignore_index=True)
    frame.attrs[CORRECTED] = all(corrected.values())
    return frame


def batch_frame(batch: CellBatch) -> pd.DataFrame:
    """Table of one batch, with the columns of ``cells.csv``."""
    crops = batch.crops
    frame = batch.result.to_frame()
    frame.insert(0, "label", crops.ids)
    frame.insert(1, "y", crops.centroids[:, 0])
    frame.insert(2, "x", crops.centroids[:, 1])
    frame.insert(3, "area_um2", crops.areas_um2)
    frame.insert(list(frame.columns).index("trials") + 1, "touches_border", crops.touches_border)
    return frame


def classify_labels(
    image: Any,
    labels: NDArray[np.integer],
    model: Classifier,
    settings: ClassifySettings | None = None,
    *,
    pixel_size_um: float,
    progress: Progress = silent,
) -> CellResults:
    """Classify every cell of a label image; see `iter_classify_labels`."""
    settings = settings or ClassifySettings()
    batches = iter_classify_labels(
        image, labels, model, settings, pixel_size_um=pixel_size_um, progress=progress
    )
    frame = cells_frame(batches)
    found = {"pixel_size_um": pixel_size_um, CORRECTED: frame.attrs[CORRECTED]}
    return CellResults(frame, provenance(model, settings, **found))


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
    for what they have in common (`cytodiffusion.adjustment`).

    Parameters
    ----------
    images : sequence of str or Path
    model : ModelBundle or Baseline
    settings : ClassifySettings, optional
    pixel_size_um : float, optional
        Of all images; when None that of each file, else an estimate for all of them together
        (`cytodiffusion.framing.framings_of`).
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


class Seeded(Protocol):
    """Settings of whatever was done."""

    @property
    def seed(self) -> int:
        """Seed of the random numbers."""

    def model_dump(self) -> dict[str, Any]:
        """Return the settings by name."""


def provenance(model: Classifier, settings: Seeded, **more: Any) -> dict[str, Any]:
    """Record how a result came about: model, settings, seed, versions, machine."""
    return {
        "model": model.record(),
        "settings": settings.model_dump(),
        "seed": settings.seed,
        **circumstances(),
        **more,
    }


def circumstances() -> dict[str, Any]:
    """Record what a result was made with, and when: versions, machine, time."""
    return {
        "versions": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
