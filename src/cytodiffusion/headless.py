"""Whole images without a window: from a file to a folder of results.

The same steps as in the window, in the same order and with the same engine calls, so that the same
seed gives the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytodiffusion.classify import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.export import class_counts, export_results, file_record, run_record
from cytodiffusion.image import Image, open_image
from cytodiffusion.inputs import SegmentOptions, find_cells, image_files
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.pipeline import classify_images, classify_labels, provenance
from cytodiffusion.progress import Progress, silent


@dataclass(frozen=True)
class Analysis:
    """One image, analysed and written.

    Attributes
    ----------
    image
        What was analysed.
    folder
        Where the results are.
    files
        Path of every result by its stem.
    cells, anomalies
        How many.
    counts
        Cells of each class.
    pixel_size_um, pixel_size_source
        Scale that was used, and where it comes from.
    warnings
        Sentences the user should read.
    seconds
        From opening to the last file.
    """

    image: str
    folder: Path
    files: Mapping[str, Path]
    cells: int
    anomalies: int
    counts: Mapping[str, int]
    pixel_size_um: float
    pixel_size_source: str
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    frame: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)

    def record(self) -> dict[str, Any]:
        """Return what a program wants to know, without the table itself."""
        return {name: value for name, value in vars(self).items() if name != "frame"}


def analyse(
    source: Path | Image,
    folder: Path,
    model: ModelBundle,
    settings: ClassifySettings,
    options: SegmentOptions | None = None,
    *,
    notes: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Analysis:
    """Segment and classify one image and write all results into `folder`.

    Parameters
    ----------
    source
        Path of an image, or an image that is open.
    folder
        Created where missing; gets all files or none.
    model, settings
        As in `cytodiffusion.pipeline.classify_labels`.
    options
        How cells are found.
    notes
        Further entries of ``run.json``.

    Raises
    ------
    CytoDiffusionError
        One sentence about what is wrong with the image, the model or the folder.
    """
    started = time.perf_counter()
    options = options or SegmentOptions()
    progress(0.0, "Opening")
    image = source if isinstance(source, Image) else open_image(source)
    rgb = image.rgb()
    found = find_cells(image, options, _part(progress, 0.02, 0.35))
    pixel_size = found.pixel_size_um
    from_file = options.pixel_size_um is None and image.pixel_size_um is not None
    origin = "file" if from_file else found.pixel_size_source
    results = classify_labels(
        rgb,
        found.labels,
        model,
        settings,
        pixel_size_um=pixel_size,
        progress=_part(progress, 0.35, 0.93),
    )
    progress(0.93, "Writing results")
    record = run_record(
        inputs=[] if image.path is None else [file_record(image.path)],
        image={
            "name": image.name,
            "shape": rgb.shape,
            "pixel_size_um": image.pixel_size_um,
            "notes": image.notes,
        },
        segmentation={
            "method": found.method,
            "settings": found.settings,
            "pixel_size_um": pixel_size,
            "pixel_size_source": origin,
            "warnings": found.warnings,
        },
        **provenance(model, settings),
        **(notes or {}),
        seconds=round(time.perf_counter() - started, 3),
    )
    files = export_results(
        folder,
        rgb,
        found.labels,
        results.frame,
        model.classes,
        pixel_size_um=pixel_size,
        record=record,
    )
    progress(1.0, "Done")
    return Analysis(
        image=str(image.path or image.name),
        folder=folder,
        files=files,
        cells=len(results.frame),
        anomalies=int(results.frame["anomaly"].sum()),
        counts=class_counts(results.frame, model.classes),
        pixel_size_um=pixel_size,
        pixel_size_source=origin,
        warnings=(*image.notes, *found.warnings),
        seconds=round(time.perf_counter() - started, 3),
        frame=results.frame,
    )


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used, and why."""

    path: str
    reason: str


def classify_folder(
    folder: Path,
    model: ModelBundle,
    settings: ClassifySettings,
    *,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> tuple[pd.DataFrame, list[Skipped]]:
    """Classify every image in `folder` and the folders in it, one cell in the centre of each.

    Returns
    -------
    frame
        A row an image in the order of the paths, with ``path`` in place of ``label``.
    skipped
        Files that are no readable images.

    Raises
    ------
    InputError
        When there is no readable image.
    """
    frames: list[pd.DataFrame] = []
    skipped: list[Skipped] = []
    files = image_files(folder)
    done = 0
    for paths, arrays in _read_in_chunks(files, skipped):
        part = _part(progress, done / len(files), (done + len(paths)) / len(files))
        frame = classify_images(arrays, model, settings, pixel_size_um=pixel_size_um, progress=part)
        frame["path"] = [str(path) for path in paths]
        frames.append(frame)
        done += len(paths)
    if not frames:
        first = f" ({skipped[0].reason})" if skipped else ""
        raise InputError(f"There is no readable image in the folder {folder}{first}.")
    return pd.concat(frames, ignore_index=True), skipped


def _read_in_chunks(
    files: Sequence[Path], skipped: list[Skipped], most: int = 256, most_bytes: int = 1 << 28
) -> Iterator[tuple[list[Path], list[NDArray[np.uint8]]]]:
    """Yield images, a bounded number at a time; append those that cannot be read to `skipped`."""
    paths: list[Path] = []
    arrays: list[NDArray[np.uint8]] = []
    for path in files:
        try:
            rgb = open_image(path).rgb()
        except InputError as error:
            skipped.append(Skipped(str(path), str(error)))
            continue
        paths.append(path)
        arrays.append(rgb)
        if len(paths) == most or sum(a.nbytes for a in arrays) >= most_bytes:
            yield paths, arrays
            paths, arrays = [], []
    if paths:
        yield paths, arrays


def _part(progress: Progress, start: float, end: float) -> Progress:
    """Return a progress callback that covers `start` to `end` of a whole."""
    return lambda fraction, message: progress(start + (end - start) * fraction, message)
