"""Synthetic cells and smears for the window: what is asked for, made and shown, without Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytodiffusion.drawing.gallery import Gallery
from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.workers import duration

#: More cells than these are for the command line, which writes them to disk as they are made.
MOST = 20_000

#: Columns of the table of a gallery's tiles; they stay when the tiles are classified.
COLUMNS = ("class", "accepted", "seed", "number", "synthetic")


@dataclass(frozen=True)
class GenerationFinished:
    """Cells that are done, as they are shown; `table` describes the tiles."""

    cells: Any
    gallery: Gallery
    table: pd.DataFrame


class Basket:
    """What a run has made so far; filled in the thread, emptied in the window.

    Only the latest picture of a cell is kept, so that a window that is slow slows nothing.

    Attributes
    ----------
    finished : GenerationFinished or None
        What is done, once the run is `closed`; None where no cell is.
    closed : Event
        Set when nothing more will come, however the run has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._parts: list[Any] = []
        self.finished: GenerationFinished | None = None
        self.closed = threading.Event()

    def see(self, places: np.ndarray, cells: np.ndarray) -> None:
        """Take what cells look like so far; the engine's preview callback."""
        with self._lock:
            self._seen[int(places[0])] = (places, cells)

    def take(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return what has changed since the last call: places, and how the cells look."""
        with self._lock:
            seen, self._seen = self._seen, {}
        return list(seen.values())

    def add(self, part: Any) -> None:
        """Take finished cells."""
        if len(part):
            self._parts.append(part)

    def close(self) -> None:
        """Put together what is done."""
        try:
            if self._parts:
                from cytodiffusion.generation.cells import joined

                cells = joined(self._parts)
                gallery = finished_gallery(cells)
                self.finished = GenerationFinished(cells, gallery, tile_table(cells, gallery))
        finally:
            self.closed.set()


@dataclass(frozen=True)
class GenerateRequest:
    """What *Generate cells* asks for; ``settings`` are those of `GenerationSettings`.

    ``stain_of`` is the image in whose stain the cells are to be, as `as_rgb8` takes it.
    """

    source: str
    device: str
    counts: Mapping[str, int]
    settings: Mapping[str, Any]
    engine: Engine = field(compare=False)
    towards: str | None = None
    share: float = 0.5
    stain_of: Any = field(default=None, compare=False)
    insist: bool = False
    allow_download: bool = False


@dataclass(frozen=True)
class GenerationStarted:
    """The order is accepted: a gallery of empty tiles can be shown."""

    gallery: Gallery
    colors: Mapping[str, str]
    pixel_size_um: float
    model: str


@dataclass(frozen=True)
class EffortEstimate:
    """What one cell takes with one step, and what it weighs."""

    seconds: float
    megabytes: float
    device: str

    def text(self, cells: int, steps: int) -> str:
        """Say what so many cells take."""
        size = cells * self.megabytes
        weight = f"{size / 1000:.1f} GB" if size > 999 else f"{max(size, 1):.0f} MB"
        where = "CPU" if self.device == "cpu" else f"GPU ({self.device})"
        took = duration(cells * steps * self.seconds)
        return f"{cells:,} {plural(cells)}: about {took} on the {where}, {weight}."


def plural(count: int, word: str = "cell") -> str:
    """Return a word as it is used for so many."""
    return word if count == 1 else f"{word}s"


def model_body(request: GenerateRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields the model, then the `EffortEstimate` of a cell."""

    def body(report: Progress) -> Iterator[Any]:
        model = _drawing_model(request)
        yield model
        from cytodiffusion.generation import GenerationSettings

        settings = GenerationSettings()
        found = request.engine.drawing_effort(model, settings)
        yield EffortEstimate(found.seconds / settings.steps, found.megabytes, found.device)

    return body


def generate_body(request: GenerateRequest, basket: Basket) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields `GenerationStarted`; cells go into the basket."""

    def body(report: Progress) -> Iterator[Any]:
        try:
            report(0.0, "Loading the model ...")
            yield from _generated(request, basket, report)
        finally:
            basket.close()

    return body


def _generated(request: GenerateRequest, basket: Basket, report: Progress) -> Iterator[Any]:
    engine, model = request.engine, _drawing_model(request)
    from cytodiffusion.generation import GenerationSettings, Mix
    from cytodiffusion.generation.sampler import drawn_size
    from cytodiffusion.settings import make_settings

    settings = make_settings(GenerationSettings, request.settings)
    mix = None if request.towards is None else Mix(name=request.towards, share=request.share)
    order = engine.take_order(model, request.counts, mix)
    if len(order) > MOST:
        raise InputError(
            f"The window holds {MOST:,} cells at most, not {len(order):,}; `cytodiffusion "
            "generate` makes any number, and writes them as they are done."
        )
    engine.check_order(order, model, settings, request.insist)
    names = [model.class_names[k] for k in order.index]
    size = drawn_size(model)
    colors = {c.name: c.color for c in model.classes}
    title = headline(model.name, model.version, settings.seed)
    gallery = Gallery(names, colors, size, title)
    yield GenerationStarted(gallery, colors, model.window_um / size, model.name)
    parts = engine.generate_parts(
        model,
        request.counts,
        settings,
        towards=mix,
        preview=basket.see,
        progress=report,
        insist=True,
        stain_of=request.stain_of,
    )
    with closing(parts):
        for part in parts:
            basket.add(part)


def _drawing_model(request: GenerateRequest) -> Any:
    """Return the model, which must be one that draws cells."""
    return request.engine.drawing_model(request.source, request.device, request.allow_download)


def headline(name: str, version: str, seed: int) -> str:
    """Say what stands above a gallery."""
    return f"SYNTHETIC CELLS. Drawn by the model {name} {version}, seed {seed}"


def finished_gallery(cells: Any) -> Gallery:
    """Return the gallery of cells that are done; those the classifier denies have a red frame."""
    title = headline(cells.model.get("name", ""), cells.model.get("version", ""), cells.seed)
    denied = np.flatnonzero(~np.asarray(cells.accepted))
    if len(denied):
        title = title.replace(". ", ". Red frame: the classifier does not agree. ", 1)
    gallery = Gallery(cells.classes, cells.colors, cells.pixels.shape[1], title)
    gallery.put(gallery.shown, cells.pixels[gallery.shown])
    gallery.mark(denied.tolist())
    return gallery


def tile_table(cells: Any, gallery: Gallery) -> pd.DataFrame:
    """Table of the tiles as a label layer wants it: row i describes tile i, row 0 nothing."""
    shown = gallery.shown.tolist()
    return pd.DataFrame(
        {
            "label": range(len(shown) + 1),
            "class": ["", *(cells.classes[i] for i in shown)],
            "confidence": [np.nan, *(float(cells.confidence[i]) for i in shown)],
            "predicted": ["", *(cells.predicted[i] for i in shown)],
            "accepted": [False, *(bool(cells.accepted[i]) for i in shown)],
            "seed": cells.seed,
            "number": [0, *(int(cells.numbers[i]) for i in shown)],
            "synthetic": True,
        }
    )


def save_body(cells: Any, folder: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that writes cells and yields where they are."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.generation import save_generated

        report(0.0, "Saving ...")
        yield save_generated(cells, folder)

    return body


def is_large_order(error: Exception) -> bool:
    """Whether an error only asks if so many cells are really wanted."""
    from cytodiffusion.generation import LargeOrder

    return isinstance(error, LargeOrder)


def effort_of(error: Exception) -> str:
    """Say what a large order would take, without the advice for the command line."""
    return str(error).partition(":")[0]
