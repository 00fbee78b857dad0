"""From image and labels to a table of cells: the one path of window and command line."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.cells.cell_table import cell_table
from cytodiffusion.cells.crops import Crops, iter_crops
from cytodiffusion.classification.cautions import (
    ACCEPTED,
    CORRECTED,
    CORRECTIONS,
    DISTANCE,
    RECORDED,
    SURE,
    SURE_BEFORE,
    cautions,
    corrections_record,
)
from cytodiffusion.classification.classifier import Classification, ClassifySettings
from cytodiffusion.classification.contradiction import (
    mark_contradictions,
)
from cytodiffusion.classification.correction_table import CorrectionTable, lost_sentence
from cytodiffusion.classification.corrections import correct
from cytodiffusion.classification.levels import Level, at_level, classes_at, level_note
from cytodiffusion.classification.prior import prior_record, settled
from cytodiffusion.classification.result import join
from cytodiffusion.classification.slide_correction import adjust, correctable
from cytodiffusion.errors import InputError
from cytodiffusion.files.record import provenance
from cytodiffusion.files.writers import file_record
from cytodiffusion.image.image import Image, as_rgb8, open_image
from cytodiffusion.image.pixels import check_pixel_size
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.metrics.differential import FieldCells, differential, table_cells
from cytodiffusion.model.bundle import CellClass, with_new_classes
from cytodiffusion.predict import Classifier, predict
from cytodiffusion.progress import Progress, silent
from cytodiffusion.results import class_counts, export_results
from cytodiffusion.segmentation import Segmentation, segment
from cytodiffusion.settings import SegmentOptions as SegmentOptions
from cytodiffusion.taxonomy import white_classes

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.model.segmenter import Segmenter
    from cytodiffusion.slide_scale import SlideScale

#: Cells in the first batch of a field: few, so that colours show soon.
FIRST_BATCH = 32


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

    @property
    def table(self) -> pd.DataFrame:
        """The cells, one row each."""
        return self.frame


def iter_classify_labels(
    image: Any,
    labels: NDArray[np.integer],
    model: Classifier,
    settings: ClassifySettings | None = None,
    *,
    pixel_size_um: float,
    ids: Sequence[int] | None = None,
    kinds: NDArray[np.uint8] | None = None,
    known: Sequence[CellBatch] = (),
    corrections: CorrectionTable | None = None,
    progress: Progress = silent,
) -> Generator[CellBatch, None, None]:
    """Classify the cells of a label image, batch by batch, in the order of their ids.

    Where the model can correct them for what they have in common
    (`cytodiffusion.classification.slide_correction`), or people corrected some of them
    (`cytodiffusion.classification.corrections`), all batches come once more at the end, corrected,
    in the places of the first.

    Parameters
    ----------
    image : array-like or Image or path
        Anything `cytodiffusion.image.image.as_rgb8` takes.
    labels : (Y, X) integer array
        0 is background.
    pixel_size_um : float
        Micrometres a pixel.
    ids : sequence of int, optional
        Only these labels.
    kinds : (M,) uint8, optional
        What the segmentation took each label for (`Segmentation.kinds`); a class that contradicts
        it is marked.
    known : sequence of CellBatch
        Cells of this image that the same model and settings have classified before. They come
        first, as they are, and are not looked at again.
    corrections : CorrectionTable, optional
        What people said of cells, by label; see `read_corrections`.
    progress : callable
        May raise ``Cancelled``; closing the iterator stops it as well.
    """
    settings = settled(settings or ClassifySettings(), field=True)
    batches = _on_coarse_level(
        image,
        labels,
        model,
        settings,
        pixel_size_um,
        None if ids is None else np.atleast_1d(ids),
        kinds,
        [_at_level(batch, ClassifySettings()) for batch in known],
        corrections,
        progress,
    )
    with closing(batches):
        for batch in batches:
            yield _at_level(batch, settings)


def _at_level(batch: CellBatch, settings: ClassifySettings) -> CellBatch:
    """Return a batch whose classes are of the level asked for: the last step of all."""
    result = at_level(batch.result, settings.level, settings.coverage)
    return batch if result is batch.result else replace(batch, result=result)


def _on_coarse_level(
    image: Any,
    labels: NDArray[np.integer],
    model: Classifier,
    settings: ClassifySettings,
    pixel_size_um: float,
    ids: NDArray[np.integer] | None,
    kinds: NDArray[np.uint8] | None,
    known: Sequence[CellBatch],
    corrections: CorrectionTable | None,
    progress: Progress,
) -> Generator[CellBatch, None, None]:
    """Classify the cells of a label image with the classes of the model itself."""
    check_pixel_size(pixel_size_um)
    rgb = as_rgb8(image)
    background = estimate_background(rgb)
    wanted = ids if ids is not None else cell_table(labels, pixel_size_um).ids
    known = [batch for batch in known if len(batch.crops)]
    for batch in known:
        wanted = wanted[~np.isin(wanted, batch.crops.ids)]
    done = 0
    total = len(wanted) + sum(len(batch.crops) for batch in known)
    kept: list[CellBatch] = []
    for old in known:
        done += len(old.crops)
        kept.append(replace(old, done=done, total=total, revises=None).without_pixels())
        yield kept[-1]
    revise = correctable(model, settings) or corrections is not None
    if not revise:
        kept = []
    # Every cutter measures the whole label image once, so there are two of them and no more
    for chosen, size in (
        (wanted[:FIRST_BATCH], FIRST_BATCH),
        (wanted[FIRST_BATCH:], settings.batch_size),
    ):
        if not len(chosen):
            continue
        for crops in iter_crops(
            rgb, labels, pixel_size_um, model.input_size, model.window_um, batch=size, ids=chosen
        ):

            def report(share: float, message: str, first: int = done, n: int = len(crops)) -> None:
                now = first + share * n
                progress(now / total, f"classified {int(now)} of {total} cells")

            result = predict(model, crops, settings, background=background, progress=report)
            result = mark_contradictions(result, crops.ids, kinds)
            done += len(crops)
            batch_done = CellBatch(crops, result, done, total)
            if revise:
                kept.append(batch_done.without_pixels())
            yield batch_done
    yield from _revised(kept, model, settings, kinds, corrections)


def _revised(
    batches: Sequence[CellBatch],
    model: Classifier,
    settings: ClassifySettings,
    kinds: NDArray[np.uint8] | None,
    corrections: CorrectionTable | None,
) -> Iterator[CellBatch]:
    """Yield the batches corrected by what their cells have in common and what people said."""
    if not batches:
        return
    result = adjust(join([batch.result for batch in batches]), model, settings)
    if corrections is not None:
        result = _learned(result, batches, model, settings, corrections)
    changed = result.adjusted or result.slide_distance is not None or result.human is not None
    if changed:
        yield from _shared_out(result, batches, kinds)


def _learned(
    result: Classification,
    batches: Sequence[CellBatch],
    model: Classifier,
    settings: ClassifySettings,
    corrections: CorrectionTable,
) -> Classification:
    ids = np.concatenate([batch.crops.ids for batch in batches])
    placed, _ = corrections.place_labels(ids.tolist(), result.class_names)
    return correct(result, placed, model, settings)


def _shared_out(
    result: Classification, batches: Sequence[CellBatch], kinds: NDArray[np.uint8] | None
) -> Iterator[CellBatch]:
    """Yield the batches with their parts of one result, in the places of the first."""
    done = 0
    for number, batch in enumerate(batches):
        part = slice(done, done + len(batch.crops))
        done = part.stop
        corrected = mark_contradictions(result[part], batch.crops.ids, kinds)
        yield replace(batch, result=corrected, done=done, revises=number)


def learn_from_corrections(
    batches: Sequence[CellBatch],
    model: Classifier,
    settings: ClassifySettings,
    corrections: CorrectionTable,
    kinds: NDArray[np.uint8] | None = None,
) -> list[CellBatch]:
    """Return the classified cells of a field as corrected ones change them.

    Parameters
    ----------
    batches : sequence of CellBatch
        All cells, corrected for the slide but not by people.
    corrections : CorrectionTable
        All that people said, by label.
    kinds : (M,) uint8, optional
        As for `iter_classify_labels`.
    """
    if not batches:
        return []
    settings = settled(settings, field=True)
    together = join([at_level(batch.result, "coarse") for batch in batches])
    result = _learned(together, batches, model, settings, corrections)
    shared = _shared_out(result, batches, kinds)
    return [_at_level(replace(batch, revises=None), settings) for batch in shared]


def cells_frame(batches: Iterable[CellBatch]) -> pd.DataFrame:
    """Join batches to the table of ``cells.csv``, one row a cell, sorted by label.

    Its ``attrs`` say whether the cells were corrected for what they have in common, how far their
    slide is from the training, and what certainty accepted ones are above.
    """
    latest: dict[int, pd.DataFrame] = {}
    corrected: dict[int, bool] = {}
    above: dict[int, float | None] = {}
    told: dict[int, tuple[float | None, float | None]] = {}
    sure: dict[int, NDArray[np.float64]] = {}
    for batch in batches:
        number = len(latest) if batch.revises is None else batch.revises
        corrected[number], above[number] = batch.result.adjusted, batch.result.accept_above
        told[number] = batch.result.slide_distance, batch.result.sure_before
        sure[number] = at_level(batch.result, "coarse").confidence
        latest[number] = batch_frame(batch)
    parts = list(latest.values())
    if not parts:
        raise InputError("There are no classified cells to make a table of.")
    import pandas as pd

    frame = pd.concat(parts, ignore_index=True).sort_values("label", ignore_index=True)
    frame.attrs[CORRECTED] = all(corrected.values())
    one = next(iter(told.values())) if len({*told.values()}) == 1 else (None, None)
    frame.attrs[DISTANCE], frame.attrs[SURE_BEFORE] = one
    frame.attrs[SURE] = float(np.concatenate(list(sure.values())).mean())
    frame.attrs[ACCEPTED] = next(iter(above.values())) if len({*above.values()}) == 1 else None
    return frame


def field_cells(batches: Sequence[CellBatch], white: NDArray[np.bool_]) -> FieldCells:
    """Gather what a differential count needs of the cells of an image.

    Parameters
    ----------
    batches : sequence of CellBatch
        At least one; none that another revises.
    white : (K,) bool array
        Which classes are white cells.
    """
    return FieldCells(
        class_names=batches[0].result.class_names,
        white=white,
        predicted=np.concatenate([b.result.final for b in batches]),
        centroids=np.concatenate([b.crops.centroids for b in batches]),
        touches_border=np.concatenate([b.crops.touches_border for b in batches]),
        review=np.concatenate([b.result.review for b in batches]),
    )


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
    kinds: NDArray[np.uint8] | None = None,
    corrections: CorrectionTable | None = None,
    progress: Progress = silent,
) -> CellResults:
    """Classify every cell of a label image; see `iter_classify_labels`."""
    settings = settled(settings or ClassifySettings(), field=True)
    batches = iter_classify_labels(
        image,
        labels,
        model,
        settings,
        pixel_size_um=pixel_size_um,
        kinds=kinds,
        corrections=corrections,
        progress=progress,
    )
    frame = cells_frame(batches)
    if corrections is not None:
        _, lost = corrections.place_labels(frame["label"].tolist(), model.class_names)
        frame.attrs[CORRECTIONS] = corrections_record(frame, lost_sentence(lost))
    found: dict[str, Any] = {"pixel_size_um": pixel_size_um, "prior": prior_record(model, settings)}
    found |= {k: frame.attrs[k] for k in (*RECORDED, CORRECTIONS) if k in frame.attrs}
    if note := level_note(model, settings.level):
        found["notes"] = [note]
    return CellResults(frame, provenance(model, settings, **found))


def classes_of(
    model: Classifier, frame: pd.DataFrame, level: Level = "coarse"
) -> tuple[CellClass, ...]:
    """Return the classes of a table: those of the model, and new ones that people named."""
    known = classes_at(model, level)
    names = [name[2:] for name in map(str, frame.columns) if name.startswith("p_")]
    return with_new_classes(known, names)


def _no_cells() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()


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
    cells, anomalies, review, contradictions
        How many. Cells are for review where they are too unsure for the error rate that was asked
        for, or where their class contradicts what the segmentation saw.
    counts
        Cells of each class.
    pixel_size_um, pixel_size_source
        Scale that was used, and where it comes from: ``"given"``, ``"file"``, ``"estimated"``,
        ``"assumed"``, or ``"slide"`` for the median over the images of a folder.
    own_pixel_size_um
        What its red cells measure by themselves, where the scale is that of its folder.
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
    contradictions: int = 0
    own_pixel_size_um: float | None = None
    frame: pd.DataFrame = field(default_factory=_no_cells, repr=False, compare=False)

    @property
    def table(self) -> pd.DataFrame:
        """The cells, one row each."""
        return self.frame

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
    slide: SlideScale | None = None,
    corrections: CorrectionTable | None = None,
    request: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Analysis:
    """Segment and classify one image and write all results into `folder`.

    ``slide`` is the scale that the images of its folder have in common, for an image whose file
    states none; ``corrections`` are what people said of its cells; ``request`` goes into the
    record as it is.
    """
    from cytodiffusion.field import check_field  # it brings what segments

    started = time.perf_counter()
    options = options or SegmentOptions()
    progress(0.0, "Opening")
    opened = source if isinstance(source, Image) else open_image(source)
    image = check_field(opened, pixel_size_um=options.pixel_size_um)
    if options.pixel_size_um is not None or image.pixel_size_um is not None:
        slide = None
    rgb = image.rgb()
    own: Segmenter | None = getattr(model, "segmenter", None)  # a baseline has none
    found = find_cells(image, options, _part(progress, 0.02, 0.35), slide=slide, segmenter=own)
    pixel_size = found.pixel_size_um
    origin = found.pixel_size_source
    results = classify_labels(
        rgb,
        found.labels,
        model,
        settings,
        pixel_size_um=pixel_size,
        kinds=found.kinds,
        corrections=corrections,
        progress=_part(progress, 0.35, 0.93),
    )
    anomalies = int(results.frame["anomaly"].sum())
    warnings = (*image.notes, *found.warnings, *cautions(results.frame, model, settings))
    progress(0.93, "Writing results")
    classes = classes_of(model, results.frame, settings.level)
    names = [c.name for c in classes]
    white = white_classes(names, [c.group for c in classes])
    counted = differential([table_cells(results.frame, names, white)])
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
            **({} if slide is None else {"slide": slide.record()}),
        },
        "differential": counted.record(),
        "warnings": warnings,
        **({} if request is None else {"request": request}),
        "seconds": round(time.perf_counter() - started, 3),
    }
    files = export_results(
        folder,
        rgb,
        found.labels,
        results.frame,
        classes,
        pixel_size_um=pixel_size,
        record=record,
    )
    progress(1.0, "Done")
    return Analysis(
        image=str(image.path or image.name),
        folder=folder,
        files=files,
        cells=len(results.frame),
        anomalies=anomalies,
        counts=class_counts(results.frame, classes),
        pixel_size_um=pixel_size,
        pixel_size_source=origin,
        warnings=warnings,
        seconds=round(time.perf_counter() - started, 3),
        review=int(results.frame["review"].sum()),
        contradictions=int(results.frame["contradiction"].sum()),
        own_pixel_size_um=None if slide is None else slide.own.pixel_size_um,
        frame=results.frame,
    )


def _part(progress: Progress, start: float, end: float) -> Progress:
    """Return a progress callback that covers `start` to `end` of a whole."""
    return lambda fraction, message: progress(start + (end - start) * fraction, message)


def find_cells(
    image: Image,
    options: SegmentOptions,
    progress: Progress = silent,
    *,
    slide: SlideScale | None = None,
    segmenter: Segmenter | None = None,
) -> Segmentation:
    """Segment `image` at the given scale, the one its file states, its slide's, or as estimated."""
    segmentation = segment(
        image if slide is None else replace(image, pixel_size_um=slide.pixel_size_um),
        options.method,
        options.pixel_size_um,
        model=options.model,
        device=options.device,
        allow_download=options.allow_download,
        segmenter=segmenter,
        progress=progress,
    )
    if not segmentation.labels.any():
        why = " ".join((f"No cells were found in {image.name}.", *image.notes))
        raise InputError(why)
    if slide is None:
        return segmentation
    warnings = (*slide.notes, *segmentation.warnings)
    return replace(segmentation, pixel_size_source=slide.source, warnings=warnings)
