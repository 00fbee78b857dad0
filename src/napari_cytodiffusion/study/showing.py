"""Layers of an image of a study: which they are, and whether somebody changed them by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from cytodiffusion.study import Study
from cytodiffusion.study.classes import StudyClass
from cytodiffusion.study.naming import looks, renamed
from napari_cytodiffusion.classify.jobs import ClassifyRequest
from napari_cytodiffusion.layers.belonging import bind
from napari_cytodiffusion.layers.people import People
from napari_cytodiffusion.layers.placement import (
    CLASSIFIED_AT,
    NOTE,
    full_size,
    is_cells,
    is_image,
    note_of,
)
from napari_cytodiffusion.layers.results import Results
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.jobs import PreparedImage

if TYPE_CHECKING:
    from cytodiffusion.pipeline import CellBatch

#: Keys in the note of layers: the study that they belong to, and the name of the image there.
_STUDY, _IMAGE = "study", "study_image"


def mark(layer: Layer, study_id: str, name: str) -> None:
    """Note on a layer which image of which study it shows."""
    layer.metadata[NOTE] = {**note_of(layer), _STUDY: study_id, _IMAGE: name}


def marked_as(layer: Layer, study_id: str) -> str | None:
    """Return the name of the image of a study that a layer shows, None for other layers."""
    note = note_of(layer)
    return str(note[_IMAGE]) if note.get(_STUDY) == study_id and _IMAGE in note else None


def layers_of(layers: Iterable[Layer], study_id: str, name: str) -> list[Layer]:
    """Return image and labels of an image of a study among layers, and the frame of a cell."""
    layers = list(layers)
    own = [
        layer
        for layer in layers
        if (is_image(layer) or is_cells(layer)) and marked_as(layer, study_id) == name
    ]
    known = {str(layer.unique_id) for layer in own}
    return [*own, *(layer for layer in layers if note_of(layer).get("labels_id") in known)]


def add_image(session: Session, prepared: PreparedImage, study_id: str) -> tuple[Image, Labels]:
    """Add an image and its cells to the viewer."""
    viewer, opened = session.viewer, prepared.opened
    stored = opened.image
    levels = list(opened.levels)
    picture = Image(
        levels if len(levels) > 1 else levels[0],
        name=stored.name,
        rgb=True,
        multiscale=len(levels) > 1,
        metadata={NOTE: {"image_id": f"study {stored.sha256}", "path": str(opened.path)}},
    )
    mark(picture, study_id, stored.name)
    segmentation = stored.record.get("segmentation", {})
    known: dict[str, Any] = {
        "pixel_size_um": stored.pixel_size_um,
        "pixel_size_source": stored.pixel_size_source,
    }
    known |= {k: segmentation[k] for k in ("method", "settings", "kinds") if segmentation.get(k)}
    cells = Labels(opened.labels, name=f"{stored.name} cells", opacity=0.5, metadata={NOTE: known})
    mark(cells, study_id, stored.name)
    viewer.add_layer(picture)
    viewer.add_layer(cells)
    bind(cells, picture)
    return picture, cells


def views_of_cells(
    session: Session, prepared: PreparedImage, picture: Image, cells: Labels, observer: str
) -> CellViews | None:
    """Return what shows the words of a model and of people; None where no model said anything."""
    opened, maps = prepared.opened, prepared.maps
    if maps is None or opened.batch is None or opened.run is None:
        return None
    classes = {one.name: one for one in (*opened.coarse_classes, *opened.classes)}
    results = results_of([opened.batch], lambda names: [classes[name] for name in names])
    views = CellViews(session.viewer, picture, cells, maps, results)
    run = opened.run
    views.pixel_size_um, views.window_um = opened.image.pixel_size_um, run.window_um
    views.settings = opened.settings
    accepted = opened.batch.result.accept_above is not None
    views.error_rate = opened.settings.error_rate if accepted else None
    views.kinds = opened.kinds
    views.model = (run.source or "default", "auto")
    views.request = ClassifyRequest(
        image=full_size(picture),
        labels=full_size(cells),
        source=views.model[0],
        device=views.model[1],
        settings=opened.settings,
        pixel_size_um=views.pixel_size_um,
        kinds=views.kinds,
    )
    cells.metadata[NOTE] = {
        **note_of(cells),
        CLASSIFIED_AT: opened.image.pixel_size_um,
        "classified_at_source": opened.image.pixel_size_source,
        "model": run.model,
        "model_version": run.version,
    }
    views.people = People(
        {label: word for label, pairs in opened.said.items() if (word := word_of(pairs, observer))}
    )
    views.show_outlines(True, views.error_rate is not None or bool(results.contradictions.any()))
    views.set_features(prepared.table)
    return views


def results_of(
    batches: Sequence[CellBatch], looks: Callable[[Sequence[str]], Sequence[StudyClass]]
) -> Results:
    """Return results of cells, with colours and groups of the classes as a study has them."""
    first = batches[0].result
    coarse = None
    if first.coarse is not None:
        coarse = Results(first.coarse.class_names, *_split(looks(first.coarse.class_names)))
    results = Results(first.class_names, *_split(looks(first.class_names)), coarse)
    for batch in batches:
        results.add(batch)
    return results


def _split(classes: Sequence[StudyClass]) -> tuple[list[str], list[str]]:
    """Return colours and groups of classes."""
    return [one.color for one in classes], [one.group for one in classes]


def rename(views: CellViews, study: Study) -> None:
    """Show the cells of a study with names and colours that the classes have there now."""
    whole = views.results if views.classified is None else views.classified[1]
    now = looks(study.database, whole.class_names)
    if _split(now) == (list(whole.colors), list(whole.groups)) and all(
        one.name == name for one, name in zip(now, whole.class_names, strict=True)
    ):
        return
    batches = [
        dataclasses.replace(batch, result=renamed(batch.result, study.database))
        for batch in whole.uncorrected.batches
    ]
    views.show_learned(results_of(batches, lambda names: looks(study.database, names)))


def word_of(pairs: Iterable[tuple[str, str]], observer: str) -> tuple[str, str] | None:
    """Return the class and observer that count for who looks at the cell.

    One's own word comes first, then one that nobody contradicts; None where others disagree.
    """
    said = list(pairs)
    for name, who in said:
        if who.casefold() == observer.casefold():
            return name, who
    return said[0] if len({name for name, _ in said}) == 1 else None


def is_changed(views: CellViews) -> bool:
    """Whether cells were painted, added or deleted since they were opened or classified."""
    before = views.maps.labels if views.classified is None else views.classified[0]
    now = np.asarray(full_size(views.labels))
    return before.shape != now.shape or not bool(np.array_equal(before, now))
