"""Whole images without a window: from a file to a folder of results.

The same steps as in the window, in the same order and with the same engine calls, so that the same
seed gives the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cytodiffusion.classification import many_unlike
from cytodiffusion.classify import ClassifySettings
from cytodiffusion.export import class_counts, export_results, file_record
from cytodiffusion.image import Image, open_image
from cytodiffusion.inputs import SegmentOptions, find_cells
from cytodiffusion.pipeline import classify_labels
from cytodiffusion.predict import Classifier
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
    cells, anomalies, review
        How many; cells are for review where an error rate was asked for.
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
    review: int = 0
    frame: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)

    def record(self) -> dict[str, Any]:
        """Return what a program wants to know, without the table itself."""
        return {name: value for name, value in vars(self).items() if name != "frame"}


def analyse(
    source: Path | Image,
    folder: Path,
    model: Classifier,
    settings: ClassifySettings,
    options: SegmentOptions | None = None,
    *,
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
    record = {
        "program": "cytodiffusion",
        **results.record,
        "inputs": [] if image.path is None else [file_record(image.path)],
        "image": {
            "name": image.name,
            "shape": rgb.shape,
            "pixel_size_um": image.pixel_size_um,
            "notes": image.notes,
        },
        "segmentation": {
            "method": found.method,
            "settings": found.settings,
            "pixel_size_um": pixel_size,
            "pixel_size_source": origin,
            "warnings": found.warnings,
        },
        "seconds": round(time.perf_counter() - started, 3),
    }
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
    anomalies = int(results.frame["anomaly"].sum())
    unlike = many_unlike(anomalies, len(results.frame))
    return Analysis(
        image=str(image.path or image.name),
        folder=folder,
        files=files,
        cells=len(results.frame),
        anomalies=anomalies,
        counts=class_counts(results.frame, model.classes),
        pixel_size_um=pixel_size,
        pixel_size_source=origin,
        warnings=(*image.notes, *found.warnings, *([unlike] if unlike else [])),
        seconds=round(time.perf_counter() - started, 3),
        review=int(results.frame["review"].sum()),
        frame=results.frame,
    )


def _part(progress: Progress, start: float, end: float) -> Progress:
    """Return a progress callback that covers `start` to `end` of a whole."""
    return lambda fraction, message: progress(start + (end - start) * fraction, message)
