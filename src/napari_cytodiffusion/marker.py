"""A frame in the canvas around the cell that is looked at; one for all widgets."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Shapes

from napari_cytodiffusion.layers import NOTE, note_of, placement
from napari_cytodiffusion.results import Record
from napari_cytodiffusion.views import CellViews

_ROLE = "inspected"


def mark_cell(viewer: Any, views: CellViews, record: Record) -> None:
    """Frame the window of a cell, without taking the selection from another layer."""
    half = views.window_um / views.pixel_size_um / 2
    corners = [(-half, -half), (-half, half), (half, half), (half, -half)]
    frame = np.array(corners) + np.array([record.y, record.x])
    for layer in viewer.layers:
        note = note_of(layer)
        if note.get("role") == _ROLE and note.get("labels") == views.labels.name:
            layer.data = [frame]
            return
    active = viewer.layers.selection.active
    marker = Shapes(
        [frame],
        name="inspected cell",
        edge_color="#111111",
        face_color="transparent",
        edge_width=max(1.0, half / 60),
        metadata={NOTE: {"role": _ROLE, "labels": views.labels.name}},
        **placement(views.labels),
    )
    viewer.add_layer(marker)
    viewer.layers.selection.active = active
