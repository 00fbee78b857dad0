"""Layers of counterfactuals: heatmaps exactly on their cells, and morphs as stacks of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import Colormap

from napari_cytodiffusion.layers.placement import NOTE, note_of, part_placement

#: A layer of several heatmaps has at most this many pixels; far ones are left out of it.
_MOST_PIXELS = 16_000_000

#: What a map without any value is scaled by.
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Piece:
    """The heatmap of one cell at the pixels of the image.

    Attributes
    ----------
    values : (Y, X) float32
        Signed change.
    strength : (Y, X) float32
        The same in standard deviations of what chance makes of it.
    origin : (y, x)
        First pixel, in pixels of the image.
    """

    values: np.ndarray
    strength: np.ndarray
    origin: tuple[int, int]

    @property
    def box(self) -> np.ndarray:
        """First pixel and the one after the last, (2, 2)."""
        return np.array([self.origin, np.add(self.origin, self.values.shape)])

    @property
    def limit(self) -> float:
        """Largest change."""
        return max(float(np.abs(self.values).max(initial=0)), _LEAST)

    def thresholded(self, sigmas: float) -> np.ndarray:
        """Values where they stand out by so many standard deviations, 0 elsewhere."""
        return np.where(np.abs(self.strength) >= sigmas, self.values, np.float32(0))


class HeatmapLayer:
    """One image layer that shows the heatmaps of one or many cells of a label image.

    Parameters
    ----------
    colors : (N, 4) float
        Colours from the most negative value to the most positive one; nothing is transparent.
    """

    def __init__(self, colors: np.ndarray) -> None:
        self._colormap = Colormap(colors, name="counterfactual heatmap")
        self._drawn: list[Piece] = []
        self._low = np.zeros(2, int)
        self._sigmas = 0.0
        self.layer: Image | None = None
        self._shown = True  # before blind mode

    def show(
        self,
        viewer: Any,
        labels: Labels,
        pieces: Sequence[Piece],
        current: Piece,
        *,
        limit: float,
        sigmas: float,
        opacity: float,
    ) -> None:
        """Show heatmaps."""
        self._drawn, self._sigmas = together(pieces, current), sigmas
        boxes = np.array([piece.box for piece in self._drawn])
        self._low = boxes[:, 0].min(axis=0)
        canvas = np.zeros(boxes[:, 1].max(axis=0) - self._low, np.float32)
        self._paint(canvas)
        place = part_placement(labels, tuple(self._low))
        limits = (-limit, limit)
        layer = self._kept(viewer, labels)
        if layer is None:
            self._add(viewer, labels, canvas, limits, opacity, place)
            return
        layer.data = canvas
        for name in ("scale", "rotate", "shear", "translate", "affine"):
            setattr(layer, name, place[name])
        layer.contrast_limits_range = layer.contrast_limits = limits

    def _kept(self, viewer: Any, labels: Labels) -> Image | None:
        """Layer to show it in, if there is one already."""
        for layer in viewer.layers:
            note = note_of(layer)
            if note.get("role") == "heatmap" and note.get("labels_id") == str(labels.unique_id):
                self.layer = layer
                return layer
        return None

    def _add(
        self, viewer: Any, labels: Labels, canvas: Any, limits: Any, opacity: float, place: Any
    ) -> None:
        self.layer = Image(
            canvas,
            name=f"{labels.name} heatmap",
            colormap=self._colormap,
            contrast_limits=limits,
            opacity=opacity,
            metadata={NOTE: {"role": "heatmap", "labels_id": str(labels.unique_id)}},
            **place,
        )
        active = viewer.layers.selection.active
        viewer.add_layer(self.layer)
        viewer.layers.selection.active = active

    def set_threshold(self, sigmas: float) -> None:
        """Show only what stands out by so many standard deviations; at once."""
        self._sigmas = sigmas
        if self.layer is not None and self._drawn:
            self._paint(self.layer.data)
            self.layer.refresh(extent=False, thumbnail=False)

    def set_opacity(self, opacity: float) -> None:
        """Let more or less of the slide shine through."""
        if self.layer is not None:
            self.layer.opacity = opacity

    def set_blind(self, blind: bool) -> None:
        """Hide the heatmaps in blind mode; afterwards they are shown where they were before."""
        if self.layer is None:
            return
        if blind:
            self._shown = self.layer.visible
            self.layer.visible = False
        elif self._shown:
            self.layer.visible = True

    def _paint(self, canvas: np.ndarray) -> None:
        canvas[:] = 0
        # the current one comes last and lies on top
        for piece in reversed(self._drawn):
            (y, x), (height, width) = piece.origin - self._low, piece.values.shape
            part, values = canvas[y : y + height, x : x + width], piece.thresholded(self._sigmas)
            np.copyto(part, values, where=values != 0)


def together(pieces: Sequence[Piece], current: Piece) -> list[Piece]:
    """Choose the pieces that one layer can hold: the current one, then those nearest to it."""

    def distance(piece: Piece) -> float:
        return float(np.hypot(*(piece.box.mean(axis=0) - current.box.mean(axis=0))))

    chosen, box = [current], current.box
    for piece in sorted((p for p in pieces if p is not current), key=distance):
        low, high = np.minimum(box[0], piece.box[0]), np.maximum(box[1], piece.box[1])
        if np.prod(high - low) > _MOST_PIXELS:
            break
        chosen.append(piece)
        box = np.array([low, high])
    return chosen


def add_frames(
    viewer: Any, labels: Labels, frames: np.ndarray, origin: tuple[int, int], name: str
) -> Image:
    """Add a morph as a stack over its cell; the slider of the viewer goes through it.

    ``frames`` are at the pixels of the label image, the first of them at ``origin``.
    """
    layer = Image(
        frames,
        rgb=True,
        name=name,
        metadata={NOTE: {"role": "morph", "labels": labels.name, "synthetic": True}},
        **part_placement(labels, origin, stacked=True),
    )
    camera = viewer.scene.camera
    # napari shows everything again when an axis is added
    centre, zoom = camera.center, camera.zoom
    viewer.add_layer(layer)
    camera.center, camera.zoom = centre, zoom
    return layer
