"""The three views of classified cells: class, uncertainty, outlines of anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Labels, Layer

from cytodiffusion.maps import CellMaps, class_colors, uncertainty_colors
from napari_cytodiffusion.layers import ANOMALY_COLOR, NOTE, colormap_of, placement, tell_cells
from napari_cytodiffusion.results import Results

#: What the cells can be coloured by.
KINDS = ("class", "uncertainty")


class CellViews:
    """Layers that show `Results`; they lie exactly on the labels they were made from.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are added.
    image, labels : Layer
        What was classified.
    maps : CellMaps
        The arrays shown; painted by the run, redrawn by `refresh`.
    results : Results
        The cells, for the status bar.
    """

    def __init__(
        self, viewer: Any, image: Layer, labels: Labels, maps: CellMaps, results: Results
    ) -> None:
        self.image, self.labels = image, labels
        self.maps, self.results = maps, results
        self.pixel_size_um = 0.0
        self.window_um = 0.0
        self.shown = [True] * len(results.class_names)
        self._ids = labels.data[0] if labels.multiscale else labels.data
        anomaly_colors = np.zeros((2, 4))
        anomaly_colors[1] = ANOMALY_COLOR
        self.layers: dict[str, Labels] = {}
        self._add(viewer, "class", maps.class_map, class_colors(results.colors), 0.5)
        self._add(viewer, "uncertainty", maps.uncertainty_map, uncertainty_colors(), 0.6)
        self._add(viewer, "anomalies", maps.outline_map, anomaly_colors, 1.0)
        self.kind = "class"
        labels.visible = False
        self.show("class")
        viewer.layers.selection.active = self.layers["class"]

    def _add(
        self, viewer: Any, role: str, data: np.ndarray, colors: np.ndarray, opacity: float
    ) -> None:
        name = f"{self.labels.name} {role}"
        layer = Labels(
            data,
            name=name,
            colormap=colormap_of(colors),
            opacity=opacity,
            visible=role != "uncertainty",
            metadata={NOTE: {"role": role, "labels": self.labels.name}},
            **placement(self.labels),
        )
        layer.editable = False
        tell_cells(layer, self.describe)
        viewer.add_layer(layer)
        self.layers[role] = layer

    def __contains__(self, layer: object) -> bool:
        return any(layer is own for own in (self.image, self.labels, *self.layers.values()))

    def cell_at(self, row: int, column: int) -> int:
        """Label id at a pixel, 0 outside cells."""
        height, width = self._ids.shape[:2]
        if not (0 <= row < height and 0 <= column < width):
            return 0
        return int(np.asarray(self._ids[row, column]))

    def cell_at_world(self, position: Any) -> int:
        """Label id at a position of the canvas in world coordinates, 0 outside cells."""
        point = self.labels.world_to_data(position)[-2:]
        return self.cell_at(*(int(np.floor(p + 0.5)) for p in point))

    def describe(self, row: int, column: int) -> str | None:
        """Text for the status bar at a pixel."""
        label = self.cell_at(row, column)
        return self.results.describe(label) if label else None

    def show(self, kind: str) -> None:
        """Colour the cells by ``"class"`` or by ``"uncertainty"``."""
        self.kind = kind
        for role in KINDS:
            self.layers[role].visible = role == kind

    def show_anomalies(self, shown: bool) -> None:
        """Show or hide the outlines of anomalies."""
        self.layers["anomalies"].visible = shown

    def show_classes(self, shown: Sequence[bool]) -> None:
        """Choose the classes that are visible, in all views."""
        self.shown = list(shown)
        self.layers["class"].colormap = colormap_of(class_colors(self.results.colors, self.shown))
        self.maps.show(self.shown)
        self.maps.paint()
        for role in ("uncertainty", "anomalies"):
            self.layers[role].refresh(extent=False)

    def refresh(self) -> None:
        """Redraw what is visible; hidden layers are redrawn when they are shown."""
        for layer in self.layers.values():
            layer.refresh(extent=False)

    def set_features(self, table: Any) -> None:
        """Give the labels the table of their cells; assigned as a whole, so that others notice."""
        self.labels.features = table

    def remove(self, viewer: Any) -> None:
        """Take the layers away."""
        for layer in self.layers.values():
            if layer in viewer.layers:
                viewer.layers.remove(layer)
