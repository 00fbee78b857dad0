"""Which image the cells of a label layer are of.

Images of one size lie on one another in the viewer, so that labels fit all of them. Where cells
were found is therefore noted on the labels; labels of others are compared with the images there
are, and where that leaves a doubt the user is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_cytodiffusion.layers.placement import NOTE, full_size, is_cells, is_image, note_of

#: What labels are to an image: known to be of it or the only ones that can be, of another one,
#: of any of several, of none.
OWN, OTHER, UNCLEAR, UNFIT = "own", "other", "unclear", "unfit"

_IMAGES = "images"


def image_note(image: Layer) -> dict[str, Any]:
    """Return what to note on labels of an image, so that they know it again."""
    return {"id": _names_of(image)[0], "name": image.name, "path": image.source.path}


def bind(cells: Layer, image: Layer) -> None:
    """Note on labels that their cells are those of an image, beside the images noted before."""
    known = _noted(cells)
    if not any(_is_noted(note, image) for note in known):
        cells.metadata[NOTE] = {**note_of(cells), _IMAGES: [*known, image_note(image)]}


def bind_if_certain(cells: Layer, images: Iterable[Layer]) -> None:
    """Note the image of labels that say nothing, where only one can be it."""
    images = list(images)
    if not _noted(cells):
        own = [image for image in images if relation(cells, image, images) == OWN]
        if own:
            bind(cells, own[0])


def relation(cells: Layer, image: Layer, images: Iterable[Layer]) -> str:
    """Say what labels are to an image among the images there are."""
    known = _noted(cells)
    if known:
        return OWN if any(_is_noted(note, image) for note in known) else OTHER
    if not _fits(cells, image):
        return UNFIT
    fitting = [other for other in images if _fits(cells, other)]
    placed = [other for other in fitting if _lies_on(cells, other)]
    likely = placed or fitting
    if not any(image is other for other in likely):
        return OTHER
    # copies of one image are one
    return OWN if len({_names_of(other)[-1] for other in likely}) == 1 else UNCLEAR


def image_of(cells: Layer, images: Iterable[Layer]) -> Layer | None:
    """Return the image that labels are known to be of, if it is there."""
    for note in _noted(cells):
        for image in images:
            if _is_noted(note, image):
                return image
    return None


def scales_beside(image: Layer, layers: Iterable[Layer]) -> tuple[float, ...]:
    """Return what the red cells of the other images of the same size measured, one an image.

    Upright and lying images are of one size: the microscope is the same.
    """
    layers = list(layers)
    images = [other for other in layers if is_image(other)]
    found: dict[int, float] = {}
    for cells in layers:
        if not is_cells(cells) or note_of(cells).get("pixel_size_source") != "estimated":
            continue
        other = image_of(cells, images)
        if other is None or _is_noted(image_note(other), image):
            continue
        if sorted(_shape(other)) == sorted(_shape(image)):
            found[id(other)] = float(note_of(cells)["pixel_size_um"])
    return tuple(found.values())


def name_of_image(cells: Layer) -> str | None:
    """Name of the image that labels are noted to be of."""
    known = _noted(cells)
    return str(known[0]["name"]) if known else None


def best_cells(
    image: Layer, offered: Sequence[Layer], images: Sequence[Layer], current: Layer | None
) -> Layer | None:
    """Choose labels for an image: its own, else some that may be; the current ones first."""
    for wanted in (OWN, UNCLEAR):
        found = [cells for cells in offered if relation(cells, image, images) == wanted]
        if any(cells is current for cells in found):
            return current
        if found:
            return found[-1]
    return None


def _noted(cells: Layer) -> list[dict[str, Any]]:
    known = note_of(cells).get(_IMAGES, [])
    return list(known) if isinstance(known, list) else []


def _is_noted(note: dict[str, Any], image: Layer) -> bool:
    if note["id"] in _names_of(image):
        return True
    # closed and opened again; a file may hold several images
    same_file = note["path"] is not None and note["path"] == image.source.path
    return same_file and note["name"] == image.name


def _names_of(image: Layer) -> list[str]:
    """Return what an image is known by: a name of its own, then those it is a copy of."""
    names = []
    given = note_of(image).get("image_id")
    layer: Layer | None = image
    while layer is not None:
        names.append(str(layer.unique_id))
        parent = layer.source.parent
        layer = None if parent is None else parent()
    return [str(given), *names, str(given)] if given else names


def _shape(layer: Layer) -> tuple[int, ...]:
    return tuple(full_size(layer).shape[:2])


def _fits(cells: Layer, image: Layer) -> bool:
    return _shape(cells) == _shape(image)


def _lies_on(cells: Layer, image: Layer) -> bool:
    """Whether labels of the shape of an image lie where it lies."""
    height, width = _shape(image)
    corners = [(0, 0), (height, 0), (0, width)]
    here, there = ([layer.data_to_world(c) for c in corners] for layer in (cells, image))
    size = np.ptp(np.asarray(there), axis=0).max()
    same_units = [str(u) for u in cells.units] == [str(u) for u in image.units]
    return same_units and bool(np.allclose(here, there, atol=1e-3 * size))
