"""What is open in a window, taken into a study: images as they are, outlines changed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.image.calibrated_tiff import write_calibrated
from cytodiffusion.image.image import as_rgb8, open_image
from cytodiffusion.pipeline import CellBatch, cells_frame, iter_classify_labels
from cytodiffusion.predict import Classifier
from cytodiffusion.progress import Progress, silent
from cytodiffusion.study.add import joined
from cytodiffusion.study.export import file_name
from cytodiffusion.study.images import StudyImage
from cytodiffusion.study.opening import read_image
from cytodiffusion.study.outlines import OutlineChanges
from cytodiffusion.study.predictions import find_run
from cytodiffusion.study.study import Study

#: Folder in that of a study for images that have no file of their own.
IMAGES = "images"
#: Pixels on each side of the middle of a large image that are compared.
_MIDDLE = 512


@dataclass(frozen=True, eq=False)
class OpenField:
    """An image that is open in a window, with what is known of its cells.

    Attributes
    ----------
    name : str
        What the image is called.
    path : Path or None
        Its file, where it has one.
    pixels : array
        Of the image; where no file has them they are written into the study.
    labels : (Y, X) integer array
    pixel_size_um : float
    pixel_size_source : str
        How that is known.
    segmentation : mapping
        How the cells were found.
    batches : sequence of CellBatch
        What the model said, not corrected by people; empty where none did.
    settings : ClassifySettings
        That it said so with.
    said : mapping
        Class and observer of each cell that a person gave one, by label.
    """

    name: str
    path: Path | None
    pixels: Any
    labels: NDArray[np.integer]
    pixel_size_um: float
    pixel_size_source: str = "given"
    segmentation: Mapping[str, Any] = field(default_factory=dict)
    batches: Sequence[CellBatch] = ()
    settings: ClassifySettings = field(default_factory=ClassifySettings)
    said: Mapping[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """What a study has now of an image that was open.

    Attributes
    ----------
    image : StudyImage
    cells, said : int
        How many cells there are, and how many of them people gave a class.
    written : bool
        Whether the pixels were written into the study, as no file has them.
    """

    image: StudyImage
    cells: int
    said: int
    written: bool


def keep_field(study: Study, opened: OpenField, model: Classifier | None, observer: str) -> Kept:
    """Keep an image with its cells, what a model said of them and what people said.

    Where the study has the image already, its outlines become those that are open, and what was
    said of cells that overlap stays.

    Parameters
    ----------
    model : ModelBundle or Baseline, optional
        That classified the cells; without one there is nothing of a model to keep.
    observer : str
        Who said what is known to be said by a person but not by whom.
    """
    labels = np.asarray(opened.labels)
    if not labels.any():
        raise InputError(f"There are no cells in the labels of {opened.name}: segment it first.")
    path, written = _file_of(study, opened)
    image = study.put_image(
        path,
        labels,
        opened.pixel_size_um,
        opened.pixel_size_source,
        name=opened.name,
        record={"segmentation": dict(opened.segmentation)},
    )
    if image.single_cell:
        raise InputError(f"{image.name} is in the study as an image of one cell.")
    if not np.array_equal(study.labels(image.name), labels):  # it was there before
        study.replace_labels(image.name, labels)
        image = study.image(image.name)
    if model is not None and opened.batches:
        frame = cells_frame(opened.batches)
        study.put_predictions(image.name, frame, model, opened.settings, joined(opened.batches))
    said = _keep_said(study, image.name, opened.said, observer)
    return Kept(image, len(study.cells(image.name)), said, written)


def _file_of(study: Study, opened: OpenField) -> tuple[Path, bool]:
    """Return the file of an image, written into the study where none has its pixels."""
    if opened.path is not None and opened.path.is_file() and _shows(opened.path, opened):
        return opened.path, False
    stem = file_name(Path(opened.name).stem) or "image"
    target, number = study.folder / IMAGES / f"{stem}.tif", 1
    while target.exists():
        number += 1
        target = target.with_name(f"{stem}-{number}.tif")
    known = opened.pixel_size_um if opened.pixel_size_source in ("given", "file") else None
    target.parent.mkdir(exist_ok=True)
    return write_calibrated(target, np.asarray(opened.pixels), known), True


def _shows(path: Path, opened: OpenField) -> bool:
    """Whether a file has the pixels that are open; of one that is read in parts, the middle."""
    found = open_image(path)
    if found.shape != tuple(opened.labels.shape):
        return False
    stored = found.levels[0]
    part: tuple[slice, ...] = (slice(None), slice(None))
    if not isinstance(stored, np.ndarray):
        part = tuple(slice(max(0, n // 2 - _MIDDLE), n // 2 + _MIDDLE) for n in found.shape)
    return bool(np.array_equal(as_rgb8(stored[part]), as_rgb8(opened.pixels[part])))


def _keep_said(study: Study, image: str, said: Mapping[int, tuple[str, str]], observer: str) -> int:
    numbers = {
        label: number for number, (_, label) in study.places(study.cells(image).index).items()
    }
    words: dict[str, dict[int, str]] = {}
    for label, (name, who) in said.items():
        if label in numbers:
            words.setdefault(who or observer, {})[numbers[label]] = name
    for who, classes in words.items():
        for name in dict.fromkeys(classes.values()):
            study.add_class(name)
        known = study.said(cells=classes)
        new = {
            number: name
            for number, name in classes.items()
            if (name, who) not in known.get(number, ())
        }
        if new:
            study.annotate_many(new, who)
    return sum(map(len, words.values()))


@dataclass(frozen=True)
class TakenOver:
    """What became of outlines that were changed by hand.

    Attributes
    ----------
    changes : OutlineChanges
    classified : int
        How many cells were classified, the others keeping what was said of them.
    """

    changes: OutlineChanges
    classified: int

    @property
    def sentences(self) -> list[str]:
        """What the user should know, what was dropped among it."""
        changes = self.changes
        said = [
            f"{len(ids):,} {what}"
            for ids, what in (
                (changes.changed, "changed"),
                (changes.added, "new"),
                (changes.gone, "gone"),
            )
            if ids
        ]
        cells = f"Cells taken over: {', '.join(said)}." if said else "No outline was changed."
        return [cells, *filter(None, [changes.sentence])]


def take_over_outlines(
    study: Study,
    name: str,
    labels: NDArray[np.integer],
    model: Classifier,
    settings: ClassifySettings,
    progress: Progress = silent,
) -> TakenOver:
    """Keep changed outlines of an image, measure the cells, and classify only those that changed.

    Parameters
    ----------
    name : str
        Of the image.
    labels : (Y, X) integer array
    model : ModelBundle or Baseline
        That classified the other cells; with another one all are classified.
    progress : callable
        May raise ``Cancelled``; the outlines are kept then, and the changed cells have no class.
    """
    progress(0.0, "Keeping the outlines")
    changes = study.replace_labels(name, labels)
    opened = read_image(study, name)
    found = study.classification(name)
    known: tuple[CellBatch, ...] = ()
    run = find_run(study.database, model, settings)
    if opened.batch is not None and found is not None and opened.run == run:
        known = (replace(opened.batch, result=found[1]),)  # with the names of the model
    batches = [
        batch.without_pixels()
        for batch in iter_classify_labels(
            opened.levels[0],
            opened.labels,
            model,
            settings,
            pixel_size_um=opened.image.pixel_size_um,
            known=known,
            progress=progress,
        )
    ]
    if batches:
        study.put_predictions(name, cells_frame(batches), model, settings, joined(batches))
    return TakenOver(changes, len(opened.numbers) - sum(len(batch.crops) for batch in known))
