"""The layers of a gallery of synthetic cells: an image of tiles, and labels that name them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Labels

from cytodiffusion.drawing.maps import class_colors
from napari_cytodiffusion.generate.jobs import COLUMNS, GenerationFinished, GenerationStarted
from napari_cytodiffusion.layers.placement import NOTE, colormap_of, right_of, tell_cells
from napari_cytodiffusion.layers.results import percent

#: Names of the layers; napari adds a number where there is one of that name already.
IMAGE, TILES = "synthetic cells", "synthetic tiles"

#: Pixels between a gallery and what is left of it.
_APART = 40

#: Width in pixels of the frames of the tiles.
_FRAME = 2


class GalleryLayers:
    """The two layers of a gallery, beside whatever is in the viewer.

    Parameters
    ----------
    begun : GenerationStarted
        Its tiles are empty still.
    """

    def __init__(self, viewer: Any, begun: GenerationStarted) -> None:
        self.gallery = begun.gallery
        self._table: pd.DataFrame | None = None
        size = begun.pixel_size_um
        place: dict[str, Any] = {
            "scale": (size, size),
            "units": ("um", "um"),
            "translate": (0.0, right_of(viewer, _APART * size)),
        }
        note = {"synthetic": True, "pixel_size_um": size, "pixel_size_source": "given"}
        note["model"] = begun.model
        self.image = Image(
            self.gallery.image,
            name=IMAGE,
            rgb=True,
            interpolation2d="linear",
            metadata={NOTE: dict(note)},
            **place,
        )
        self.tiles = Labels(
            self.gallery.labels,
            name=TILES,
            colormap=self._colors(begun.colors),
            metadata={NOTE: {**note, "columns": COLUMNS}},
            **place,
        )
        self.tiles.contour = _FRAME
        self.tiles.editable = False
        tell_cells(self.tiles, self._describe)
        viewer.add_layer(self.image)
        viewer.add_layer(self.tiles)
        viewer.fit_to_view(layers=[self.image])

    def in_viewer(self, viewer: Any) -> bool:
        """Whether both layers are still there."""
        return viewer is not None and self.image in viewer.layers and self.tiles in viewer.layers

    def put(self, seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Show how cells look by now."""
        for places, cells in seen:
            self.gallery.put(places, cells)
        if seen:
            self.image.refresh(extent=False)

    def finish(self, finished: GenerationFinished) -> None:
        """Show what is done and nothing else."""
        self.gallery, self._table = finished.gallery, finished.table
        self.image.data = self.gallery.image
        self.tiles.data = self.gallery.labels
        self.tiles.colormap = self._colors(finished.cells.colors)
        self.tiles.features = finished.table
        for layer in (self.image, self.tiles):
            layer.metadata[NOTE] = {**layer.metadata[NOTE], "record": finished.cells.record()}

    def remove(self, viewer: Any) -> None:
        """Take the layers out of the viewer."""
        for layer in (self.tiles, self.image):
            if layer in viewer.layers:
                viewer.layers.remove(layer)

    def _colors(self, colors: Any) -> Any:
        table = class_colors([colors.get(name, "#888888") for name in self.gallery.names])
        return colormap_of(table)

    def _describe(self, row: int, column: int) -> str | None:
        labels = self.gallery.labels
        if not (0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]):
            return None
        tile = int(labels[row, column])
        if not tile:
            return None
        name = self.gallery.names[tile - 1]
        if self._table is None:
            return f"synthetic {name}, being drawn"
        cell = self._table.iloc[tile]
        taken = f"accepted, {percent(cell['confidence'])}"
        if not cell["accepted"]:
            taken = f"the classifier takes it for {cell['predicted']}"
        return f"synthetic {name}: {taken} (tile {tile})"
