"""What *Classify cells* runs in a thread: the order of a run, and what it hands the window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cytodiffusion.classification.levels import classes_at, level_note
from cytodiffusion.classification.prior import prior_record, settled
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.drawing.maps import CellMaps, features_table
from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.layers.views import put_batches

if TYPE_CHECKING:
    from cytodiffusion.model.bundle import CellClass, ModelBundle
    from cytodiffusion.pipeline import CellBatch

#: Seconds between two repaints of the maps while a run proceeds.
_REPAINT_EVERY = 0.4

#: Cells in flight on a CPU.
_CPU_BATCH = 64

#: Two pixel sizes that differ by no more than this factor are the same.
_SAME_SCALE = 1.02

#: Width in micrometres of the outline around an anomaly.
_OUTLINE_UM = 0.4

#: Its least width in pixels: a field shown at half its size still has to show it.
_OUTLINE_LEAST = 4


@dataclass(frozen=True)
class ClassifyRequest:
    """What *Classify cells* asks for.

    ``found_at_um`` is the pixel size that the cells were found at, where the run is not to go on
    at another one; ``kinds`` is what the segmentation took each label for, where it said so.
    """

    image: Any
    labels: Any
    source: str
    device: str
    settings: ClassifySettings
    pixel_size_um: float | None
    allow_download: bool = False
    found_at_um: float | None = None
    kinds: Sequence[int] | None = None
    foreign: str | None = None  #: name of labels that come from another tool
    known: tuple[CellBatch, ...] = ()  #: cells that are not to be classified again


def outline_width(pixel_size_um: float) -> int:
    """Return the width in pixels of the outline around an anomaly."""
    return max(_OUTLINE_LEAST, round(_OUTLINE_UM / pixel_size_um))


class ScalesDiffer(CytoDiffusionError):
    """Cells were found at one pixel size and would be classified at another."""

    def __init__(self, found_at_um: float, pixel_size_um: float) -> None:
        super().__init__(
            f"The cells were found at {found_at_um:.3g} \u00b5m a pixel and would be classified at "
            f"{pixel_size_um:.3g} \u00b5m a pixel, on which their classes depend."
        )
        self.pixel_size_um = pixel_size_um


def check_scales(found_at_um: float | None, pixel_size_um: float) -> None:
    """Raise `ScalesDiffer` where two pixel sizes are not the same."""
    if found_at_um is None:
        return
    low, high = sorted((found_at_um, pixel_size_um))
    if high > _SAME_SCALE * low:
        raise ScalesDiffer(found_at_um, pixel_size_um)


@dataclass(frozen=True, eq=False)
class UnderstoodLabels:
    """Labels of another tool were something else than a number for each cell."""

    labels: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PreparedRun:
    """The model is loaded and the maps are empty: layers can be made.

    ``classes`` are those of the level that was asked for; ``one_level`` says that there is no such.
    """

    model: ModelBundle
    classes: tuple[CellClass, ...]
    maps: CellMaps
    pixel_size_um: float
    pixel_size_source: str
    error_rate: float | None = None  #: that the accepted cells are held to
    settings: ClassifySettings | None = None  #: with the prior that was taken
    prior: Mapping[str, Any] | None = None  #: what was expected
    one_level: str | None = None


@dataclass(frozen=True)
class ClassifiedCells:
    """Some more cells are classified."""

    batch: CellBatch
    painted: bool


@dataclass(frozen=True)
class CorrectedCells:
    """All cells are classified, and corrected for what they have in common."""

    batches: tuple[CellBatch, ...]


def classify_body(engine: Engine, request: ClassifyRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields `PreparedRun`, then `ClassifiedCells` batch by batch."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        model = engine.load_model(request.source, request.device, request.allow_download)
        settings = settled(request.settings, field=True)
        if getattr(model.device, "type", "cpu") == "cpu":
            # the result does not depend on it; small batches bring colours every second or two
            settings = settings.model_copy(update={"batch_size": _CPU_BATCH})
        error_rate = engine.check_promises(model, settings)
        report(0.0, "Reading the image ...")
        rgb, labels = engine.as_rgb8(request.image), np.asarray(request.labels)
        pixel_size, origin = engine.pixel_size(rgb, request.pixel_size_um)
        check_scales(request.found_at_um, pixel_size)
        if request.foreign is not None:
            found = engine.understand_labels(labels, f"'{request.foreign}'")
            if found.notes or labels.dtype.kind not in "iu":
                yield UnderstoodLabels(found.labels, found.notes)
                labels = found.labels
        batches = engine.iter_classify(
            rgb,
            labels,
            model,
            settings,
            pixel_size_um=pixel_size,
            kinds=request.kinds,
            known=request.known,
            progress=report,
        )
        with closing(batches):
            classes = classes_at(model, settings.level)
            maps = CellMaps(labels, len(classes), outline_width(pixel_size))
            note, prior = level_note(model, settings.level), prior_record(model, settings)
            yield PreparedRun(
                model, classes, maps, pixel_size, origin, error_rate, settings, prior, note
            )
            report(0.0, "Classifying ...")
            yield from _classified(batches, maps)

    return body


def _classified(
    batches: Iterator[CellBatch], maps: CellMaps
) -> Iterator[ClassifiedCells | CorrectedCells]:
    painted = 0.0
    revised = []
    for batch in batches:
        if batch.revises is not None:
            revised.append(batch)
            continue
        put_batches(maps, [batch])
        started = time.monotonic()
        # painting a slide takes longer than painting a field: let it not outweigh the work
        due = started - painted >= _REPAINT_EVERY or batch.done >= batch.total
        if due:
            maps.paint()
            now = time.monotonic()
            painted = now + 2 * (now - started)
        yield ClassifiedCells(batch, due)
    if revised:  # all of them or none: a run that is cancelled keeps what it has shown
        put_batches(maps, revised)
        maps.paint()
        yield CorrectedCells(tuple(revised))


def table_body(
    frame_of: Callable[[], pd.DataFrame], labels: Any
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields the table for ``labels.features`` of a label image."""

    def body(report: Progress) -> Iterator[Any]:
        yield features_table(frame_of(), int(np.max(np.asarray(labels))))

    return body
