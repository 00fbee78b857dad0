"""The three views of classified cells: class, uncertainty, outlines of what to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer, Shapes

from cytodiffusion.drawing.maps import CellMaps, class_colors, uncertainty_colors
from cytodiffusion.image.label_changes import CellChanges
from napari_cytodiffusion.layers.people import People
from napari_cytodiffusion.layers.placement import (
    NOTE,
    OUTLINE_COLORS,
    colormap_of,
    full_size,
    note_of,
    part_placement,
    placement,
    tell_cells,
)
from napari_cytodiffusion.layers.results import CellRecord, Results

if TYPE_CHECKING:
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.pipeline import CellBatch

#: What the cells can be coloured by.
KINDS = ("class", "uncertainty")

#: How they can be coloured, and what that is called.
FILL, OUTLINE = "fill", "outline"
STYLES = ((FILL, "Filled cells"), (OUTLINE, "Outlines"))

#: Columns of the table of cells that only number them.
_NEUTRAL = ("index", "label")
#: Width of outlines on the screen in pixels, most pixels of the image that they take, opacity.
_WIDTH, _WIDEST, _OUTLINE_OPACITY = 3.0, 12, 0.9


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
    inherited : dict
        Layers of an earlier classification of these labels by role; they show this one from now
        on, which is quicker than removing them and adding others.
    """

    def __init__(
        self,
        viewer: Any,
        image: Layer,
        labels: Labels,
        maps: CellMaps,
        results: Results,
        inherited: dict[str, Labels] | None = None,
    ) -> None:
        self.image, self.labels = image, labels
        self.maps, self.results = maps, results
        self.pixel_size_um = 0.0
        self.window_um = 0.0
        self.error_rate: float | None = None  # that cells were accepted by
        self.no_promise: str | None = None  # why there is none although one was asked for
        self.settings: ClassifySettings | None = None  # that the cells were classified with
        self.prior: Mapping[str, Any] | None = None  # what was expected of the cells
        self.one_level: str | None = None  # that there are no finer classes, though asked for
        self.model = ("default", "auto")  # where it was loaded from, and the device
        self.background: np.ndarray | None = None  # of the image, once somebody measured it
        self.shown = [True] * len(results.class_names)
        self.layers: dict[str, Labels] = {}
        self.request: Any = None  # what was asked for, to ask it again for some of the cells
        self.classified: tuple[Any, Results] | None = None  # labels and results, while these change
        self.changes = CellChanges()
        self.people = People()  # what people said of the cells
        self.running = False  # whether more cells are to come
        self.kinds: Any = None  # what the segmentation took them for
        self.kind = "class"
        self.outlines = (True, True)  # of anomalies, of cells for review
        self.hidden = False  # the colours, to see the image
        self.blind = False  # whether nothing may tell what the model says
        self._told: Any = None  # the table of the cells, while blind mode hides it
        self.corrected = True  # whether classes are shown with what was learned from people
        self.style, self._zoom = FILL, 1.0
        self._looks = {
            "class": (maps.class_map, class_colors(results.colors), 0.5),
            "uncertainty": (maps.uncertainty_map, uncertainty_colors(), 0.6),
            "anomalies": (maps.outline_map, np.array(OUTLINE_COLORS), 1.0),
        }
        for role, layer in (inherited or {}).items():
            data, colors, _ = self._looks[role]
            layer.data = data
            layer.colormap = colormap_of(colors)
            layer.visible = self._is_shown(role)
            tell_cells(layer, self.describe)
            self.layers[role] = layer
        if "class" not in self.layers:
            self.add_next(viewer)
        labels.visible = False
        viewer.layers.selection.active = self.layers["class"]

    @property
    def coarse(self) -> Results:
        """The cells with the classes of the model itself, whatever the level shown.

        Where people named a class that it does not know, as they were before.
        """
        now, before = self.results.coarse, self.results.uncorrected.coarse
        return before if len(now.class_names) > len(before.class_names) else now

    @property
    def shown_results(self) -> Results:
        """The cells as they are shown: with what people corrected, or as they were before."""
        return self.results if self.corrected else self.results.uncorrected

    @property
    def shown_counts(self) -> np.ndarray:
        """Cells of each class ``(K,)`` as they are shown; of none that only people know, before."""
        counts = self.shown_results.counts
        return np.pad(counts, (0, max(0, len(self.results.counts) - len(counts))))

    def add_next(self, viewer: Any) -> bool:
        """Add one of the layers; False when all are there.

        Each takes napari a tenth of a second, so they are added with pauses for the window.
        """
        waiting = [role for role in self._looks if role not in self.layers]
        if not waiting:
            return False
        role = waiting[0]
        data, colors, opacity = self._looks[role]
        if role == "class":
            colors = class_colors(self.results.colors, self.shown)
        layer = Labels(
            data,
            name=f"{self.labels.name} {role}",
            colormap=colormap_of(colors),
            opacity=opacity,
            visible=self._is_shown(role),
            metadata={NOTE: {"role": role, "labels": self.labels.name}},
            **placement(self.labels),
        )
        layer.editable = False
        self._apply_style(role, layer)
        if role == "class" and "predicted" in self.table:  # it comes back
            layer.features = self.labels.features
        tell_cells(layer, self.describe)
        active = viewer.layers.selection.active
        self.layers[role] = layer
        viewer.add_layer(layer)
        if active is not None:
            viewer.layers.selection.active = active
        return len(waiting) > 1

    def set_style(self, style: str, zoom: float) -> None:
        """Fill the cells with their colours, or draw their outlines, equally wide at any zoom.

        ``zoom`` is that of the camera: pixels of the screen for a unit of the world.
        """
        before, self.style, self._zoom = self.style, style, zoom
        if style != before:
            self._separate(self.maps)
            self.refresh()
        for role in KINDS:
            layer = self.layers.get(role)
            if layer is not None and (style != before or layer.visible):
                self._apply_style(role, layer, style != before)

    def _separate(self, maps: CellMaps) -> None:
        """Keep cells that touch apart where they are outlined."""
        maps.separate(self.style == OUTLINE)
        maps.paint()

    def _apply_style(self, role: str, layer: Labels, anew: bool = True) -> None:
        if role not in KINDS:
            return
        filled = self.style == FILL
        shown = max(abs(float(self.labels.scale[-1])) * self._zoom, 1e-6)
        width = 0 if filled else min(_WIDEST, max(1, round(_WIDTH / shown)))
        if layer.contour != width:
            layer.contour = width
        if anew and not filled:
            layer.opacity = _OUTLINE_OPACITY
        elif anew and layer.opacity == _OUTLINE_OPACITY:
            layer.opacity = self._looks[role][2]

    def toggle_colors(self) -> None:
        """Hide what lies on the image, or show it again."""
        if self.blind:
            return
        self.hidden = any(layer.visible for layer in self.layers.values())
        for role, layer in self.layers.items():
            layer.visible = not self.hidden and self._is_shown(role)

    def set_blind(self, blind: bool) -> None:
        """Hide all that the model says of the cells, or show it again."""
        table, self.blind = self.table, blind
        for role, layer in self.layers.items():
            layer.visible = not self.hidden and self._is_shown(role)
        if "predicted" in table:
            self._show_table(table)

    def paint_cells(self) -> None:
        """Enter the cells into the maps, in any thread; `refresh` shows them."""
        put_batches(self.maps, self.shown_results.batches)
        self.maps.paint()

    def _is_shown(self, role: str) -> bool:
        if self.blind:
            return False
        if role == "anomalies":
            return any(self.outlines) or bool(self.people.said)
        return role == self.kind

    def forget(self, layer: Layer) -> None:
        """Take note that a layer was removed; it comes back when it is asked for."""
        self.layers = {role: own for role, own in self.layers.items() if own is not layer}

    def cell_at(self, row: int, column: int) -> int:
        """Label id at a pixel, 0 outside cells."""
        ids = full_size(self.labels)
        height, width = ids.shape[:2]
        if not (0 <= row < height and 0 <= column < width):
            return 0
        return int(np.asarray(ids[row, column]))

    def cell_at_world(self, position: Any) -> int:
        """Label id at a position of the canvas in world coordinates, 0 outside cells."""
        point = self.labels.world_to_data(position)[-2:]
        return self.cell_at(*(int(np.floor(p + 0.5)) for p in point))

    def describe(self, row: int, column: int) -> str | None:
        """Text for the status bar at a pixel."""
        label = self.cell_at(row, column)
        if not label:
            return None
        if self.blind:
            said = self.people.said.get(label, ("",))[0]
            return f"{said} by a person (cell {label})" if said else f"cell {label}"
        text = self.shown_results.describe(label)
        if label in self.changes.added:
            return f"not classified yet (cell {label})"
        return f"{text}, changed since classification" if label in self.changes.changed else text

    def show_changes(self, changes: CellChanges, maps: CellMaps) -> None:
        """Show the cells as they are now, with what is still known of them."""
        if self.classified is None:
            self.classified = (self.maps.labels, self.results)
        self.changes = changes
        self.results = self.classified[1].without({*changes.removed, *changes.added})
        self.maps = maps
        maps.show(self.shown)
        maps.outline(*self.outlines)
        self._separate(maps)
        arrays = (maps.class_map, maps.uncertainty_map, maps.outline_map)
        for role, data in zip(("class", "uncertainty", "anomalies"), arrays, strict=True):
            self._looks[role] = (data, *self._looks[role][1:])
            if role in self.layers:
                self.layers[role].data = data

    def paint_learned(self, batches: Sequence[CellBatch]) -> CellMaps | None:
        """Enter what was learned into the maps, in any thread; return those it was entered into.

        None where the window is to do so: where outlines changed since, or cells are shown as they
        were before.
        """
        maps = self.maps
        if self.classified is not None or not self.corrected or not batches:
            return None
        maps.widen(max(len(batches[0].result.class_names), maps.n_classes))
        put_batches(maps, batches)
        maps.paint()
        return maps

    def show_learned(self, learned: Results, painted: bool = False) -> None:
        """Show what corrected cells made of the others, with new classes if there are any.

        ``painted`` says whether `paint_learned` has done its part.
        """
        if self.classified is not None:
            self.classified = (self.classified[0], learned)
            learned = learned.without({*self.changes.removed, *self.changes.added})
        fewer = len(self.results.class_names) > len(learned.class_names)
        self.results = learned
        if not fewer:  # colours of a class that is no more harm nobody
            self.maps.widen(max(len(learned.class_names), self.maps.n_classes))
        shown = self.shown[: len(learned.class_names)]
        self.shown = shown + [True] * (len(learned.class_names) - len(shown))
        colors = class_colors(learned.colors, self.shown)
        changed = not np.array_equal(colors, self._looks["class"][1])
        self._looks["class"] = (self.maps.class_map, colors, self._looks["class"][2])
        if changed and "class" in self.layers:
            self.layers["class"].colormap = colormap_of(colors)
        if not painted:
            self.paint_cells()
        if "anomalies" in self.layers:
            self.layers["anomalies"].visible = not self.hidden and self._is_shown("anomalies")
        self.refresh()

    def show(self, kind: str, viewer: Any) -> None:
        """Colour the cells by ``"class"`` or by ``"uncertainty"``."""
        self.kind, self.hidden = kind, False
        if self.blind:
            return
        while kind not in self.layers and self.add_next(viewer):
            pass
        for role in KINDS:
            if role in self.layers:
                self.layers[role].visible = role == kind
                self._apply_style(role, self.layers[role], False)
        # the status bar speaks of the active layer: keep it one that is visible
        selection = viewer.layers.selection
        if any(selection.active is self.layers.get(role) for role in KINDS):
            selection.active = self.layers[kind]

    def show_outlines(self, anomalies: bool, review: bool) -> None:
        """Show or hide the outlines of anomalies and of cells for review."""
        self.outlines = (anomalies, review)
        self.maps.outline(anomalies, review)
        self.maps.paint()
        if "anomalies" in self.layers:
            self.layers["anomalies"].visible = self._is_shown("anomalies")
            self.layers["anomalies"].refresh(extent=False)

    def show_classes(self, shown: Sequence[bool]) -> None:
        """Choose the classes that are visible, in all views."""
        self.shown = list(shown)
        if "class" in self.layers:
            colors = class_colors(self.results.colors, self.shown)
            self.layers["class"].colormap = colormap_of(colors)
        self.maps.show(self.shown)
        self.maps.paint()
        for role in ("uncertainty", "anomalies"):
            if role in self.layers:
                self.layers[role].refresh(extent=False)

    def refresh(self) -> None:
        """Redraw what is visible; hidden layers are redrawn when they are shown."""
        for layer in self.layers.values():
            layer.refresh(extent=False)

    def set_features(self, table: Any) -> None:
        """Give the labels the table of their cells; assigned as a whole, so that others notice.

        What was known of the cells before, such as their true class, stays beside it.
        """
        before = self.table
        stays = [name for name in self._known if name in before and name not in table]
        if stays and len(before) == len(table):
            table = table.assign(**{name: before[name].to_numpy() for name in stays})
        self._show_table(table)

    @property
    def table(self) -> Any:
        """The table of the cells, also where blind mode hides most of it."""
        return self.labels.features if self._told is None else self._told

    @property
    def _known(self) -> Sequence[str]:
        """Columns that were there before the cells were classified."""
        return note_of(self.labels).get("columns", ())

    def _show_table(self, table: Any) -> None:
        """Show the table in the layers; in blind mode only what no model said."""
        self._told = table if self.blind else None
        if self.blind:
            table = table[[name for name in table if name in (*_NEUTRAL, *self._known)]]
        self.labels.features = table
        if "class" in self.layers:
            self.layers["class"].features = table


def put_batches(maps: CellMaps, batches: Iterable[CellBatch]) -> None:
    """Enter classified cells into maps; what people said counts more than what was predicted."""
    for batch in batches:
        result = batch.result
        human = result.by_human >= 0
        strange = (result.anomaly, result.review, human)
        maps.put(batch.crops.ids, result.final, result.entropy, *strange)


def look_at(viewer: Any, views: CellViews, record: CellRecord) -> None:
    """Bring a cell into the middle of the canvas, large enough to be judged."""
    centre = views.labels.data_to_world((record.y, record.x))
    window = views.window_um / views.pixel_size_um * abs(float(views.labels.scale[-1]))
    camera = viewer.scene.camera
    # a cell smaller than this on the screen cannot be judged
    camera.zoom = max(camera.zoom, 140 / window)
    camera.center = tuple(centre)


_ROLE = "inspected"


def mark_cell(viewer: Any, views: CellViews, record: CellRecord) -> None:
    """Frame the window of a cell, without taking the selection from another layer.

    The frame is moved by its translation: napari cannot exchange flat shapes in its 3D view.
    """
    half = views.window_um / views.pixel_size_um / 2
    place = part_placement(views.labels, (record.y, record.x))
    for layer in list(viewer.layers):
        note = note_of(layer)
        if note.get("role") != _ROLE or note.get("labels_id") != str(views.labels.unique_id):
            continue
        if note.get("half") == half:
            for name in ("scale", "rotate", "shear", "affine", "translate"):
                # napari draws all anew for each of them, whether it is another one or not
                now, wanted = getattr(layer, name), place[name]
                if not np.array_equal(*(getattr(v, "affine_matrix", v) for v in (now, wanted))):
                    setattr(layer, name, wanted)
            return
        viewer.layers.remove(layer)
    active = viewer.layers.selection.active
    marker = Shapes(
        [np.array([(-half, -half), (-half, half), (half, half), (half, -half)])],
        name="inspected cell",
        edge_color="#111111",
        face_color="transparent",
        edge_width=max(1.0, half / 60),
        metadata={NOTE: {"role": _ROLE, "labels_id": str(views.labels.unique_id), "half": half}},
        **place,
    )
    viewer.add_layer(marker)
    viewer.layers.selection.active = active
