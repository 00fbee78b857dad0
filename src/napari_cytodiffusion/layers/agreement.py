"""Whether an image and the labels of its cells agree: size, scale and place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from napari.utils import notifications

from cytodiffusion.errors import InputError
from napari_cytodiffusion.layers.belonging import bind
from napari_cytodiffusion.layers.placement import (
    NOTE,
    found_at,
    full_size,
    is_physical,
    note_of,
    pixel_size_of,
    placement,
)

#: Two scales that differ by no more than this factor are the same.
SAME_SCALE = 1.02


def is_foreign(cells: Layer) -> bool:
    """Whether labels come from another tool, and nobody has looked at what their numbers mean."""
    return not note_of(cells).keys() & {"pixel_size_um", "method", "understood", "synthetic"}


def disagreements(image: Layer, cells: Layer, pixel_size_um: float | None = None) -> list[str]:
    """Say in a sentence each what does not agree; ``pixel_size_um`` is what was typed."""
    here, there = _shape(image), _shape(cells)
    if here != there:
        return [
            f"'{cells.name}' has {there[1]:,} x {there[0]:,} pixels and '{image.name}' "
            f"{here[1]:,} x {here[0]:,}: these are not its cells."
        ]
    said = [*_scales(image, cells)]
    if not said and not _same_place(image, cells):
        said.append(
            f"'{cells.name}' is moved or turned against '{image.name}' in the viewer. Cells are "
            "taken pixel by pixel, as if both lay on each other."
        )
    noted, typed = found_at(cells), pixel_size_um
    if not said and noted is not None and typed is not None and not _alike(noted, typed):
        said.append(
            f"The cells were found at {noted:.3g} \u00b5m a pixel, but the pixel size is "
            f"{typed:.3g} \u00b5m."
        )
    return said


def add_understood(
    viewer: Any, image: Layer, foreign: Layer, labels: np.ndarray, notes: Sequence[str]
) -> Labels:
    """Add the cells that labels of another tool mean, and hide these."""
    cells = Labels(
        labels,
        name=f"{foreign.name} as cells",
        opacity=0.5,
        metadata={NOTE: {**note_of(foreign), "understood": True, "notes": list(notes)}},
        **placement(foreign),
    )
    bind(cells, image)
    foreign.visible = False
    viewer.add_layer(cells)
    for sentence in notes:
        notifications.show_info(sentence)
    return cells


def _scales(image: Layer, cells: Layer) -> list[str]:
    said = []
    for layer in (image, cells):
        try:
            pixel_size_of(layer)
        except InputError as error:
            said.append(str(error))
    if said:
        return said
    same_units = [str(u) for u in image.units] == [str(u) for u in cells.units]
    scales = [np.abs(np.asarray(layer.scale, float)) for layer in (image, cells)]
    if is_physical(image) and is_physical(cells):
        one, other = (float(pixel_size_of(layer) or 0) for layer in (image, cells))
        why = "one of them is wrong, or was set by hand."
        if _alike(one, other):
            return []
    elif same_units and np.allclose(scales[0], scales[1], rtol=SAME_SCALE - 1):
        return []
    else:
        why = "one of them was set by hand, or is missing in its file."
    return [
        f"The scale of '{image.name}' is {_scale_text(image)} and that of '{cells.name}' "
        f"{_scale_text(cells)}: {why}"
    ]


def _scale_text(layer: Layer) -> str:
    if is_physical(layer):
        return f"{pixel_size_of(layer):.3g} \u00b5m a pixel"
    return f"{abs(float(layer.scale[-1])):.3g} without a unit of length"


def _same_place(image: Layer, cells: Layer) -> bool:
    if [str(u) for u in image.units] != [str(u) for u in cells.units]:
        return True  # not to be compared, and of one scale
    height, width = _shape(image)
    corners = [(0, 0), (height, 0), (0, width)]
    here, there = (
        np.asarray([layer.data_to_world(c) for c in corners]) for layer in (image, cells)
    )
    size = float(np.ptp(here, axis=0).max())
    return bool(np.allclose(here, there, atol=2e-3 * size))


def _alike(one: float, other: float) -> bool:
    low, high = sorted((one, other))
    return high <= SAME_SCALE * low


def _shape(layer: Layer) -> tuple[Any, ...]:
    return tuple(full_size(layer).shape[:2])
