"""napari_cytodiffusion.classify.jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.progress import Progress
from napari_cytodiffusion import models
from napari_cytodiffusion.models import ModelCache, import_engine

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
    """What *Classify cells* asks for; no ``trials`` is the engine's default budget.

    With no ``error_rate`` no cell is for review; ``alone`` looks at each cell by itself.
    ``found_at_um`` is the pixel size that the cells were found at, where the run is not to go on
    at another one.
    """

    image: Any
    labels: Any
    source: str
    device: str
    trials: int | None
    seed: int
    pixel_size_um: float | None
    allow_download: bool = False
    error_rate: float | None = None
    alone: bool = False
    found_at_um: float | None = None
    cache: ModelCache = field(default_factory=dict, compare=False)


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


@dataclass(frozen=True)
class PreparedRun:
    """The model is loaded and the maps are empty: layers can be made."""

    model: Any
    maps: Any
    pixel_size_um: float
    pixel_size_source: str


@dataclass(frozen=True)
class ClassifiedCells:
    """Some more cells are classified."""

    batch: Any
    painted: bool


@dataclass(frozen=True)
class CorrectedCells:
    """All cells are classified, and corrected for what they have in common."""

    batches: tuple[Any, ...]


def classify_body(request: ClassifyRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields `PreparedRun`, then `ClassifiedCells` batch by batch."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        import_engine()
        from cytodiffusion.classification.settings import ClassifySettings
        from cytodiffusion.drawing.maps import CellMaps
        from cytodiffusion.image.image import as_rgb8
        from cytodiffusion.pipeline import iter_classify_labels

        model = models.load_model(
            request.source, request.device, request.allow_download, request.cache
        )
        settings = _settings(ClassifySettings, request, model)
        _check_promises(model, settings)
        report(0.0, "Reading the image ...")
        rgb, labels = as_rgb8(request.image), np.asarray(request.labels)
        pixel_size, origin = _pixel_size(rgb, request.pixel_size_um)
        check_scales(request.found_at_um, pixel_size)
        batches = iter_classify_labels(
            rgb, labels, model, settings, pixel_size_um=pixel_size, progress=report
        )
        with closing(batches):
            outline = max(_OUTLINE_LEAST, round(_OUTLINE_UM / pixel_size))
            maps = CellMaps(labels, len(model.classes), outline)
            yield PreparedRun(model, maps, pixel_size, origin)
            report(0.0, "Classifying ...")
            yield from _classified(batches, maps)

    return body


def _classified(batches: Iterator[Any], maps: Any) -> Iterator[ClassifiedCells | CorrectedCells]:
    painted = 0.0
    revised = []
    for batch in batches:
        if batch.revises is not None:
            revised.append(batch)
            continue
        result = batch.result
        maps.put(batch.crops.ids, result.predicted, result.entropy, result.anomaly, result.review)
        started = time.monotonic()
        # painting a slide takes longer than painting a field: let it not outweigh the work
        due = started - painted >= _REPAINT_EVERY or batch.done >= batch.total
        if due:
            maps.paint()
            now = time.monotonic()
            painted = now + 2 * (now - started)
        yield ClassifiedCells(batch, due)
    if revised:  # all of them or none: a run that is cancelled keeps what it has shown
        for batch in revised:
            result = batch.result
            ids = batch.crops.ids
            maps.put(ids, result.predicted, result.entropy, result.anomaly, result.review)
        maps.paint()
        yield CorrectedCells(tuple(revised))


def table_body(frame_of: Callable[[], Any], max_id: int) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields the table for ``labels.features``."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.drawing.maps import features_table

        yield features_table(frame_of(), max_id)

    return body


def _check_promises(model: Any, settings: Any) -> None:
    """Say what the model cannot promise before there are layers."""
    from cytodiffusion.classification.decision import check_model

    check_model(model, settings)


def _settings(kind: Any, request: ClassifyRequest, model: Any) -> Any:
    chosen: dict[str, Any] = {
        "seed": request.seed,
        "error_rate": request.error_rate,
        "alone": request.alone,
    }
    if request.trials is not None:
        chosen["trials"] = request.trials
    if getattr(model.device, "type", "cpu") == "cpu":
        # the result does not depend on it; small batches bring colours every second or two
        chosen["batch_size"] = _CPU_BATCH
    return kind(**chosen)


def _pixel_size(rgb: np.ndarray, given: float | None) -> tuple[float, str]:
    if given is not None:
        from cytodiffusion.image.pixels import check_pixel_size

        return check_pixel_size(given), "given"
    from cytodiffusion.segmentation.scale import estimate_pixel_size

    estimate = estimate_pixel_size(rgb)
    return estimate.pixel_size_um, estimate.source


def crop_of(image: Any, labels: Any, view: Any, size: int) -> np.ndarray:
    """Window around a cell as the classifier sees it, resampled to ``size`` pixels.

    Only the surroundings of the cell are read, so it is quick on a slide too.

    Parameters
    ----------
    image, labels : array
        At full size; numpy or lazy.
    view : tuple of (int, float, float, float, float)
        Label id, y, x in pixels, pixel size and window in micrometres.
    size : int
        Side of the result in pixels.
    """
    from cytodiffusion.cells.crops import extract_crops

    label, y, x, pixel_size_um, window_um = view
    reach = int(np.ceil(window_um / pixel_size_um)) + 2
    rows = slice(max(0, int(y) - reach), int(y) + reach)
    columns = slice(max(0, int(x) - reach), int(x) + reach)
    part = (np.asarray(labels[rows, columns]) == label).astype(np.uint8)
    return extract_crops(
        np.asarray(image[rows, columns]), part, pixel_size_um, size, window_um
    ).pixels[0]
