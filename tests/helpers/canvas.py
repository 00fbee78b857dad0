"""Where things are on the canvas of a viewer."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QApplication, QWidget


def canvas_of(viewer) -> QWidget:
    """Widget in which the image is drawn."""
    canvases = [
        w
        for w in QApplication.allWidgets()
        if w.metaObject().className().startswith("CanvasBackend") and w.isVisible()
    ]
    assert len(canvases) == 1
    return canvases[0]


def position_of(viewer, layer, point) -> QPoint:
    """Where a data point of a layer is on the canvas."""
    canvas = canvas_of(viewer)
    camera = viewer.scene.camera
    world = np.asarray(layer.data_to_world(point))
    middle = np.array([canvas.height(), canvas.width()]) / 2
    y, x = middle + (world - np.asarray(camera.center[-2:])) * camera.zoom
    return QPoint(round(x), round(y))


def pixels_of(viewer) -> np.ndarray:
    return viewer.screenshot(canvas_only=True, flash=False)
