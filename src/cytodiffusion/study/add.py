"""Images into a study: cells found and classified, what is there already left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytodiffusion.batch import Task, request_of, slides_of, with_scale
from cytodiffusion.cells.cell_table import CellTable
from cytodiffusion.classification.cautions import cautions
from cytodiffusion.classification.classifier import in_batches
from cytodiffusion.classification.levels import at_level, classes_at
from cytodiffusion.classification.result import join
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import Cancelled, CytoDiffusionError
from cytodiffusion.field import check_field
from cytodiffusion.image.image import open_image
from cytodiffusion.pipeline import CellBatch, cells_frame, find_cells, iter_classify_labels
from cytodiffusion.predict import Classifier
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.settings import SegmentOptions
from cytodiffusion.single_cells import ReadCell, classified_images
from cytodiffusion.study.images import (
    LABELS,
    ImageFile,
    StudyImage,
    check_not_changed,
    image_of_file,
    insert_image,
    is_file_of,
    move_image,
)
from cytodiffusion.study.predictions import find_run, insert_predictions, open_run

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.classification.result import Classification
    from cytodiffusion.image.formats import FoundImages
    from cytodiffusion.slide_scale import SlideScale
    from cytodiffusion.study.study import Study

#: Images of one cell that are kept in one transaction: others wait for it.
_AT_ONCE = 200

#: What became of an image: its cells were found and classified, its cells were classified by
#: another model or with other settings, or all of that had been done before.
ADDED, CLASSIFIED, THERE = "added", "classified", "there"


@dataclass(frozen=True)
class Added:
    """What became of one image.

    Attributes
    ----------
    image : StudyImage
    status : str
        `ADDED`, `CLASSIFIED` or `THERE`.
    cells : int
    warnings : tuple of str
        Sentences the user should read.
    """

    image: StudyImage
    status: str
    cells: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """An image that was not added, and why."""

    path: Path
    error: str


def add_field(
    study: Study,
    path: str | Path,
    model: Classifier,
    settings: ClassifySettings | None = None,
    options: SegmentOptions | None = None,
    *,
    name: str | None = None,
    slide: SlideScale | None = None,
    progress: Progress = silent,
) -> Added:
    """Find and classify the cells of an image; see `Study.add_image`.

    ``slide`` is the scale that the images of its folder have in common, for an image whose file
    states none.
    """
    settings, options = settings or ClassifySettings(), options or SegmentOptions()
    file = ImageFile.of(path)
    check_not_changed(study.database, file)
    known = image_of_file(study.database, file)
    if known is not None:
        return _again(study, known, file, model, settings, progress)
    progress(0.0, "Opening")
    image = check_field(open_image(file.path), pixel_size_um=options.pixel_size_um)
    if options.pixel_size_um is not None or image.pixel_size_um is not None:
        slide = None
    own = getattr(model, "segmenter", None)  # a baseline has none
    found = find_cells(image, options, part_of(progress, 0.02, 0.35), slide=slide, segmenter=own)
    rgb = image.rgb()
    batches = list(
        batch.without_pixels()
        for batch in iter_classify_labels(
            rgb,
            found.labels,
            model,
            settings,
            pixel_size_um=found.pixel_size_um,
            kinds=found.kinds,
            progress=part_of(progress, 0.35, 0.98),
        )
    )
    frame, result = cells_frame(batches), joined(batches)
    record = {
        "request": with_scale(request_of(model, settings, options), slide),
        "image": {
            "shape": rgb.shape,
            "pixel_size_um": image.pixel_size_um,
            "notes": image.notes,
        },
        "segmentation": {
            "method": found.method,
            "settings": found.settings,
            "pixel_size_um": found.pixel_size_um,
            "pixel_size_source": found.pixel_size_source,
            "warnings": found.warnings,
            "kinds": None if found.kinds is None else found.kinds.tolist(),
            **({} if slide is None else {"slide": slide.record()}),
        },
    }
    warnings = (*image.notes, *found.warnings, *cautions(frame, model, settings))
    # Two steps, neither of which keeps others from writing for long: where the second is missing,
    # adding the image again does it
    added = study.put_image(
        file.path,
        found.labels,
        found.pixel_size_um,
        found.pixel_size_source,
        name=name,
        record=record,
    )
    study.put_predictions(added.name, frame, model, settings, result)
    progress(1.0, "Done")
    return Added(added, ADDED, len(frame), warnings)


def joined(batches: Sequence[CellBatch]) -> Classification:
    """Return the last word on all cells, in the order of their labels."""
    latest: dict[int, CellBatch] = {}
    for batch in batches:
        latest[len(latest) if batch.revises is None else batch.revises] = batch
    ids = np.concatenate([batch.crops.ids for batch in latest.values()])
    return join([batch.result for batch in latest.values()])[np.argsort(ids, kind="stable")]


def _again(
    study: Study,
    image: StudyImage,
    file: ImageFile,
    model: Classifier,
    settings: ClassifySettings,
    progress: Progress,
) -> Added:
    """Go on with an image that is there: its file may lie elsewhere, the model be another."""
    if not is_file_of(Path(image.path), image):
        move_image(study.database, study.folder, image, file.path)
    cells = int(
        study.database.one(
            "SELECT count(*) FROM cells WHERE image = ? AND gone IS NULL", (image.id,)
        )
    )
    run = find_run(study.database, model, settings)
    unsaid = study.database.one(
        "SELECT count(*) FROM cells c WHERE c.image = ? AND c.gone IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM predictions p WHERE p.cell = c.id AND p.run = ?)",
        (image.id, 0 if run is None else run.id),
    )
    if not unsaid:
        return Added(image, THERE, cells)
    if image.single_cell:
        return add_single_cells(study, [file.path], model, settings).added[0]
    kinds = image.record.get("segmentation", {}).get("kinds")
    labels = study.labels(image.name)
    batches = list(
        batch.without_pixels()
        for batch in iter_classify_labels(
            open_image(file.path).rgb(),
            labels,
            model,
            settings,
            pixel_size_um=image.pixel_size_um,
            kinds=None if kinds is None else np.array(kinds, np.uint8),
            progress=progress,
        )
    )
    frame = cells_frame(batches)
    study.put_predictions(image.name, frame, model, settings, joined(batches))
    return Added(image, CLASSIFIED, cells, cautions(frame, model, settings))


def outside(found: FoundImages, study: Path) -> FoundImages:
    """Leave out the label images of a study, where its folder is among those looked through."""
    own = (study / LABELS).resolve()
    kept = [
        (path, name)
        for path, name in zip(found.paths, found.names, strict=True)
        if path.resolve().parent != own
    ]
    return replace(found, paths=tuple(p for p, _ in kept), names=tuple(n for _, n in kept))


# --- many images ---------------------------------------------------------------------------------


def add_fields(
    study: Study,
    paths: Sequence[Path],
    names: Sequence[str],
    model: Classifier,
    settings: ClassifySettings,
    options: SegmentOptions,
    progress: Progress = silent,
) -> Iterator[Added | Failed]:
    """Add images one after the other; those of one folder get one scale where no file states it."""
    slides: Mapping[Path, SlideScale | None] = {}
    if options.one_scale and options.pixel_size_um is None:
        slides = _scales(study, paths, model, settings, options, part_of(progress, 0.0, 0.05))
    for number, (path, name) in enumerate(zip(paths, names, strict=True)):
        start = 0.05 + 0.95 * number / len(paths)
        part = part_of(progress, start, start + 0.95 / len(paths))

        def named(share: float, message: str, part: Progress = part, path: Path = path) -> None:
            part(share, f"{path.name}: {message}")

        try:
            yield add_field(
                study,
                path,
                model,
                settings,
                options,
                name=name,
                slide=slides.get(path),
                progress=named,
            )
        except Cancelled:
            raise
        except CytoDiffusionError as error:
            yield Failed(path, str(error))


def _scales(
    study: Study,
    paths: Sequence[Path],
    model: Classifier,
    settings: ClassifySettings,
    options: SegmentOptions,
    progress: Progress,
) -> Mapping[Path, SlideScale | None]:
    """Return the scale that the slide of each new image gives it.

    Images of the study that lie beside the new ones count, and are not measured again.
    """
    tasks = {path.resolve(): Task(path, path.name, study.folder) for path in paths}
    folders = {path.parent for path in tasks}
    records: dict[Path, Mapping[str, Any] | None] = {}
    for image in study.images():
        path = Path(image.path)
        if image.single_cell or not image.record or path.parent not in folders:
            continue
        task = tasks.setdefault(path, Task(path, image.name, study.folder))
        records[task.path] = image.record
    request = request_of(model, settings, options)
    return slides_of(list(tasks.values()), records, request, progress)


# --- images of one cell each ---------------------------------------------------------------------


@dataclass(frozen=True)
class AddedCells:
    """What became of images of one cell each."""

    added: tuple[Added, ...]
    failed: tuple[Failed, ...]
    notes: tuple[str, ...] = ()


def add_single_cells(
    study: Study,
    paths: Sequence[Path],
    model: Classifier,
    settings: ClassifySettings | None = None,
    *,
    names: Sequence[str] | None = None,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> AddedCells:
    """Classify images of one cell each and keep them, each with one cell of label 1.

    All new ones are taken to be of one laboratory, as in `cytodiffusion.single_cells`.
    """
    settings = settings or ClassifySettings()
    run = find_run(study.database, model, settings)
    files: dict[Path, ImageFile] = {}
    added: list[Added] = []
    failed: list[Failed] = []
    for path in paths:
        try:
            file = ImageFile.of(path)
            check_not_changed(study.database, file)
        except CytoDiffusionError as error:
            failed.append(Failed(path, str(error)))
            continue
        known = image_of_file(study.database, file)
        if known is None:
            files[path] = file
            continue
        if not is_file_of(Path(known.path), known):
            move_image(study.database, study.folder, known, file.path)
        said = run is not None and study.database.one(
            "SELECT 1 FROM predictions p JOIN cells c ON c.id = p.cell WHERE c.image = ? "
            "AND p.run = ?",
            (known.id, run.id),
        )
        if said or not known.single_cell:
            added.append(Added(known, THERE, 1))
        else:
            files[path] = file
    if not files:
        return AddedCells(tuple(added), tuple(failed))
    found = classified_images(
        list(files), model, settings, pixel_size_um=pixel_size_um, progress=progress
    )
    called = dict(zip(paths, names or [path.name for path in paths], strict=True))
    result = at_level(found.result, settings.level, settings.coverage)
    number = open_run(study.database, model, classes_at(model, settings.level), settings)
    for part in in_batches(len(found.cells), _AT_ONCE, _AT_ONCE):
        cells = found.cells[part]
        with study.database.transaction():
            added += _keep_cells(study, cells, result[part], files, called, number)
    read = {cell.path for cell in found.cells}
    unread = [path for path in files if path not in read]
    failed += [Failed(path, why) for path, why in zip(unread, found.skipped, strict=True)]
    return AddedCells(tuple(added), tuple(failed), tuple(found.notes))


def _keep_cells(
    study: Study,
    cells: Sequence[ReadCell],
    result: Classification,
    files: Mapping[Path, ImageFile],
    names: Mapping[Path, str],
    run: int,
) -> Iterator[Added]:
    frame: pd.DataFrame = result.to_frame().assign(label=1)
    for row, cell in enumerate(cells):
        table = CellTable(
            ids=np.array([1]),
            centroids=np.array([cell.centre]),
            areas_um2=np.array([cell.area_um2]),
            touches_border=np.array([cell.touches_border]),
            bboxes=np.array([[0, 0, *cell.shape]]),
        )
        file = files[cell.path]
        known = image_of_file(study.database, file)
        image = known or insert_image(
            study.database,
            study.folder,
            file,
            names[cell.path],
            cell.shape,
            (cell.scale.pixel_size_um, cell.scale.source),
            table,
            {},
        )
        part = slice(row, row + 1)
        insert_predictions(study.database, run, image.id, frame.iloc[part], result[part])
        yield Added(image, ADDED if known is None else CLASSIFIED, 1)
