"""Image to labels: :func:`segment` and the methods behind it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.image import Image, as_rgb8, as_source, open_image
from cytodiffusion.image.pixels import Scale, known_scale
from cytodiffusion.image.surround import inside
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.resampling import finish
from cytodiffusion.segmentation.result import Segmentation
from cytodiffusion.settings import make_settings

if TYPE_CHECKING:
    from cytodiffusion.model.segmenter import Segmenter
    from cytodiffusion.segmentation.scale import ScaleEstimate

__all__ = ["METHODS", "Segmentation", "choose_method", "estimate_scale", "segment"]

METHODS = ("auto", "network", "watershed", "cellpose")

#: Less of a cell than this in square micrometres, at the edge of what surrounds a field, is none.
LEAST_CUT_UM2 = 8.0

_Prepared = Callable[[NDArray[np.uint8], float | None, Progress], Segmentation]


def segment(
    image: Any,
    method: str = "auto",
    pixel_size_um: float | None = None,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    allow_download: bool = False,
    segmenter: Segmenter | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Segmentation:
    """Outline the cells of an image.

    Large images are segmented in overlapping tiles, read one by one where the image is lazy.
    ``model`` is one of Cellpose's; ``segmenter`` is the smear network to use, that of the default
    model where it is missing.
    """
    chosen = choose_method(method, model=model, device=device)
    source, known = _source(image, pixel_size_um)
    size = None if known is None else known.pixel_size_um
    if math.prod(source.shape[:2]) <= _tile_above():
        rgb = as_rgb8(source)
        run = _prepare(chosen, rgb, model, device, allow_download, progress, options, segmenter)
        found = _inside(run, rgb, size, progress)
    else:
        found = _segment_large(
            source, chosen, size, model, device, allow_download, progress, options, segmenter
        )
    from cytodiffusion.segmentation.trust import doubts

    if said := doubts(_thumbnail(source), found):
        found = replace(found, warnings=(*found.warnings, *said))
    return found if known is None else replace(found, pixel_size_source=known.source)


def choose_method(
    method: str = "auto", *, model: str | Path | None = None, device: str = "auto"
) -> str:
    """Return "network", "watershed" or "cellpose" for a `method` that may be "auto"."""
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}; the methods are {', '.join(METHODS)}.")
    if method != "auto":
        return method
    from cytodiffusion.segmentation import cellpose

    if model is not None:
        cellpose.weights_path(model)  # raises for one that does not exist
    if not cellpose.weights_present(model or cellpose.default_model()):
        return "network"
    from cytodiffusion.device import pick_device

    return "network" if pick_device(device).type == "cpu" else "cellpose"


def _source(image: Any, pixel_size_um: float | None) -> tuple[Any, Scale | None]:
    """Return (Y, X, 3) uint8, still lazy where it was, and the scale if it is known."""
    if isinstance(image, str | Path):
        image = open_image(image)
    in_file = image.pixel_size_um if isinstance(image, Image) else None
    return as_source(image), known_scale(pixel_size_um, in_file)


def _prepare(
    method: str,
    rgb: NDArray[np.uint8],
    model: str | Path | None,
    device: str,
    allow_download: bool,
    progress: Progress,
    options: dict[str, Any],
    segmenter: Segmenter | None,
) -> _Prepared:
    """Return the method with everything loaded; `rgb` is the image or a sample of it."""
    if method == "watershed":
        from cytodiffusion.segmentation.watershed import WatershedSettings, watershed

        rules = make_settings(WatershedSettings, options)
        return lambda part, size, report: watershed(part, size, rules, report)
    if method == "network":
        from cytodiffusion.segmentation.network import network, smear_network
        from cytodiffusion.segmentation.settings import NetworkSettings

        shape = make_settings(NetworkSettings, options)
        own = segmenter or smear_network()
        return lambda part, size, report: network(part, size, shape, report, segmenter=own)
    from cytodiffusion.segmentation.cellpose import (
        CellposeSegmenter,
        CellposeSettings,
        brightness_levels,
    )

    cellpose = CellposeSegmenter(
        model,
        device,
        allow_download=allow_download,
        settings=make_settings(CellposeSettings, options),
        progress=lambda fraction, message: progress(0.0, message),
    )
    levels = brightness_levels(rgb)
    return lambda part, size, report: cellpose(part, size, report, levels)


def _inside(
    run: _Prepared, rgb: NDArray[np.uint8], size: float | None, progress: Progress
) -> Segmentation:
    """Outline a field as if it went on where something dark, or a frame, surrounds it."""
    part = inside(rgb)
    found = run(part.rgb, size, progress)
    if part.rgb is rgb:
        return found
    labels = np.zeros(rgb.shape[:2], np.int32)
    own = found.labels
    if part.filled is not None:
        own = np.where(part.filled, 0, own)
        areas = np.bincount(own.ravel(), minlength=found.n_cells + 1) * found.pixel_size_um**2
        cut = np.zeros(found.n_cells + 1, bool)
        cut[found.labels[part.filled]] = True
        own = np.where((cut & (areas < LEAST_CUT_UM2))[own], 0, own)
    labels[part.window] = own
    kinds = np.zeros(found.n_cells, np.uint8) if found.kinds is None else found.kinds
    labels, kinds = finish(labels, np.concatenate([np.zeros(1, np.uint8), kinds]))
    return replace(found, labels=labels, kinds=None if found.kinds is None else kinds)


def _segment_large(
    source: Any,
    method: str,
    size: float | None,
    model: str | Path | None,
    device: str,
    allow_download: bool,
    progress: Progress,
    options: dict[str, Any],
    segmenter: Segmenter | None,
) -> Segmentation:
    from cytodiffusion.segmentation import tiling

    parts = _samples(source, min(tiling.TILE, 2048))
    origin = "given"
    notes: tuple[str, ...] = ()
    if size is None:
        progress(0.0, "Estimating the scale")
        # Parts of a slide are empty or crowded: believe the one with the most measurable cells
        estimate = max((estimate_scale(method, part) for part in parts), key=lambda e: e.n_cells)
        size, origin = estimate.pixel_size_um, estimate.source
    thin = np.concatenate([part[::4, ::4].reshape(1, -1, 3) for part in parts], axis=1)
    run = _prepare(method, thin, model, device, allow_download, progress, options, segmenter)
    if origin == "assumed":
        notes = (f"Too few red cells to measure the scale; {size:.3f} um a pixel was assumed.",)
    overlap = max(16, min(tiling.TILE // 2 - 1, math.ceil(tiling.OVERLAP_UM / size)))
    record: list[Segmentation] = []

    def one(rgb: NDArray[np.uint8], report: Progress) -> Segmentation:
        found = _inside(run, rgb, size, report)
        record[:] = [replace(found, labels=found.labels[:0, :0])]  # only what describes the run
        return found

    labels, kinds, warnings = tiling.segment_tiles(
        source, one, tile=tiling.TILE, overlap=overlap, progress=progress
    )
    return replace(
        record[0],
        labels=labels,
        kinds=kinds,
        pixel_size_source=origin,
        settings={**record[0].settings, "tile": tiling.TILE, "overlap": overlap},
        warnings=(*notes, *warnings),
    )


def estimate_scale(method: str, rgb: NDArray[np.uint8]) -> ScaleEstimate:
    """Measure the scale of a field as the method does."""
    if method == "network":
        from cytodiffusion.segmentation.network_scale import field_scale

        return field_scale(rgb)
    from cytodiffusion.segmentation.scale import estimate_pixel_size

    return estimate_pixel_size(inside(rgb).rgb)


def _thumbnail(source: Any) -> NDArray[np.uint8]:
    """Return a copy of an image of at most some two thousand pixels a side."""
    step = max(1, math.ceil(max(source.shape[:2]) / 2048))
    return as_rgb8(source[::step, ::step])


def _samples(source: Any, side: int) -> list[NDArray[np.uint8]]:
    """Return up to nine parts from all over an image, each at most `side` pixels square."""
    tops, lefts = (_spread(int(n), side) for n in source.shape[:2])
    return [as_rgb8(source[y : y + side, x : x + side]) for y in tops for x in lefts]


def _spread(length: int, side: int) -> list[int]:
    """Return where at most three parts of `side` pixels start that cover or sample `length`."""
    count = min(3, math.ceil(length / side))
    return (
        [(length - side) * number // (count - 1) for number in range(count)] if count > 1 else [0]
    )


def _tile_above() -> int:
    from cytodiffusion.segmentation import tiling

    return tiling.TILE_ABOVE_PIXELS
