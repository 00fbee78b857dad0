"""Synthetic smears for the window: what is asked for, made and shown, without Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from cytodiffusion.drawing.maps import class_colors
from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.layers.placement import NOTE, colormap_of
from napari_cytodiffusion.shared.table import Table


@dataclass(frozen=True)
class SmearRequest:
    """What *Synthetic smear* asks for; ``settings`` are those of `SmearSettings`.

    Without a ``source`` the cells are plain drawings.
    """

    source: str | None
    device: str
    settings: Mapping[str, Any]
    engine: Engine = field(compare=False)
    allow_download: bool = False


@dataclass(frozen=True)
class SmearResult:
    """A smear, and the record of the model that rendered its cells."""

    smear: Any
    model: Mapping[str, Any] | None


def usual_classes() -> tuple[list[str], list[str]]:
    """Names and colours of the white cells of the bundled model."""
    from cytodiffusion.smear import DIFFERENTIAL

    return list(DIFFERENTIAL), colors_of(list(DIFFERENTIAL))


def colors_of(names: list[str]) -> list[str]:
    """Colours of classes, as the taxonomy of peripheral blood has them."""
    from cytodiffusion.taxonomy import READY, load_taxonomy

    taxonomy = load_taxonomy(READY[0])
    found = [taxonomy.find(name) for name in names]
    return [category.color if category else "#888888" for category in found]


def classes_body(request: SmearRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields names and colours of the white cells of a model."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.smear import ARTEFACT, PLATELET, RED_CELL

        model = _model(request)
        white = [c for c in model.classes if c.name not in (ARTEFACT, PLATELET, RED_CELL)]
        yield [c.name for c in white], [c.color for c in white]

    return body


def smear_body(request: SmearRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields one `SmearResult`."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.settings import make_settings
        from cytodiffusion.smear import SmearSettings

        settings = make_settings(SmearSettings, request.settings)
        report(0.0, "Loading the model ...")
        model = None if request.source is None else _model(request)
        smear = request.engine.synthetic_smear(model, settings, progress=report)
        yield SmearResult(smear, None if model is None else model.record())

    return body


def save_body(
    made: SmearResult, folder: Path, exercise: bool = False
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that writes a smear, perhaps with its truth hidden; yields the folder."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.smear.files import save_smear

        save_smear(made.smear, folder, model=made.model, png=True, exercise=exercise)
        yield folder

    return body


def exercise_layers(smear: Any) -> list[tuple[Any, dict[str, Any], str]]:
    """Layer data of a smear to count: nothing in them says what the cells are."""
    image, truth = smear_layers(smear)
    told: dict[str, Any] = {"synthetic": True, "pixel_size_um": smear.pixel_size_um}
    own = {k: image[1]["metadata"][NOTE][k] for k in ("pixel_size_source", "image_id")}
    of_image = {"images": truth[1]["metadata"][NOTE]["images"]}
    place = {key: image[1][key] for key in ("scale", "units")}
    cells = {"name": "cells to name", "visible": False, "metadata": {NOTE: {**told, **of_image}}}
    return [
        (image[0], {**image[1], "metadata": {NOTE: {**told, **own}}}, "image"),
        (truth[0], {**cells, **place}, "labels"),
    ]


def score_body(
    smear: Any, engine: Engine, counts: Mapping[str, int], cells: Mapping[int, str] | None = None
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields truth against answer: by ``cells`` where there are some."""

    def body(report: Progress) -> Iterator[Any]:
        yield engine.score_exercise(smear.cells, counts, cells)

    return body


def score_table(found: Any) -> Table:
    """One row a class: truth, answer, difference and range."""
    rows = tuple(
        (
            (row.name, row.name),
            (f"{row.truth} ({row.true_share:.0%})", row.truth),
            (f"{row.answer} ({row.share:.0%})", row.answer),
            (f"{100 * row.difference:+.0f}", row.difference),
            (f"{row.interval[0]:.0%}\u2013{row.interval[1]:.0%}", row.interval[0]),
        )
        for row in found.rows
    )
    off = tuple(n for n, row in enumerate(found.rows) if not row.within)
    return Table(("class", "truth", "answer", "points", "95 % range"), rows, off)


def smear_layers(smear: Any, seen: bool = False) -> list[tuple[Any, dict[str, Any], str]]:
    """Layer data of a smear, both in micrometres."""
    size, classes = smear.pixel_size_um, smear.cells["class"].astype(str)
    place: dict[str, Any] = {"scale": (size, size), "units": ("um", "um")}
    note = {
        "synthetic": True,
        "pixel_size_um": size,
        "pixel_size_source": "given",
        "seed": smear.seed,
        "settings": dict(smear.settings),
    }
    # row i describes label i, as the labels are 1..N
    features = {"label": np.arange(len(classes) + 1), "true_class": ["", *classes]}
    color = dict(zip(names := sorted(set(classes)), colors_of(names), strict=True))
    colors = class_colors([color[name] for name in classes])
    truth = {
        "name": "true cells",
        "features": {**features, "synthetic": True},
        "colormap": colormap_of(colors),
        "visible": seen,
        "metadata": {NOTE: {**note, "columns": ("true_class", "synthetic")}},
    }
    name, own_id = "synthetic smear", uuid4().hex
    of_image = {"images": [{"id": own_id, "name": name, "path": None}]}
    truth["metadata"][NOTE].update(of_image)
    image = {"name": name, "rgb": True, "metadata": {NOTE: {**note, "image_id": own_id}}}
    return [(smear.rgb, {**image, **place}, "image"), (smear.labels, {**truth, **place}, "labels")]


def _model(request: SmearRequest) -> Any:
    """Return the model, which must be one that draws cells."""
    source = request.source or "default"
    return request.engine.drawing_model(source, request.device, request.allow_download)
