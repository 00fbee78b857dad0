"""One `Session` per viewer: it stands between the viewer, the widgets and the engine.

Widgets talk to the session only. It runs one piece of work at a time, holds what was classified,
knows which cell is inspected, and lets go of everything when the viewer closes.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from napari.layers import Labels, Layer
from napari.utils import notifications
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.docks import find_docked, names_of, raise_dock, share_place
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.layers.belonging import bind_if_certain
from napari_cytodiffusion.layers.placement import is_cells, is_image
from napari_cytodiffusion.layers.saved import restore
from napari_cytodiffusion.layers.views import FILL, OUTLINE, STYLES, CellViews
from napari_cytodiffusion.remembered import remember, remembered
from napari_cytodiffusion.workers import Body, Job

#: The sessions, weakly by viewer; the only state outside of objects.
_SESSIONS: weakref.WeakKeyDictionary[Any, Session]

#: Called at the end of a run with the outcome and the error if any.
OnEnd = Callable[[str, CytoDiffusionError | None], None]

#: Milliseconds between two layers that are added, for the window to answer in between.
_LAYER_PAUSE_MS = 60

#: Milliseconds between two looks whether a cancelled run has left its last step.
_LOOK_MS = 50

#: Milliseconds without a turn of the wheel after which outlines get their width for the zoom.
_ZOOM_MS = 150

#: Keys bound in the viewer: switch the colours, hide or show them, step through the inspected
#: cells. Of the letters napari 0.9 leaves G, H, J, K, N, Q, U and W free on every layer;
#: the others give classes (`napari_cytodiffusion.classify.reviewing`).
SWITCH_KEY, HIDE_KEY, PREVIOUS_KEY, NEXT_KEY = "U", "H", "J", "K"

#: What is remembered of how cells are shown.
_STYLE = "view/style"


class Session(QObject):
    """What the widgets of one viewer share.

    Signals
    -------
    busy_changed (bool)
        A run started or ended.
    ready_changed (bool)
        A cancelled run began or ended to finish its last step, in which no other can start.
    closed (object)
        A widget was closed; what it is known by, its ``id``.
    cells_changed ()
        More cells are classified, or other ones are current.
    view_changed ()
        Other colours or classes are shown, or a layer that shows cells is gone.
    blind_changed (bool)
        What the model says of cells is hidden everywhere, or is shown again.
    inspected (int)
        A cell was chosen, by its label id.
    stepped (int)
        The next (1) or previous (-1) cell was asked for by key.
    closing ()
        The session ends.
    """

    busy_changed = Signal(bool)
    ready_changed = Signal(bool)
    closed = Signal(object)
    cells_changed = Signal()
    view_changed = Signal()
    blind_changed = Signal(bool)
    inspected = Signal(int)
    stepped = Signal(int)
    closing = Signal()

    def __init__(self, viewer: Any, engine: Engine | None = None) -> None:
        super().__init__()
        self.engine = engine or Engine()
        self._viewer = weakref.ref(viewer)
        self._job: Job | None = None
        self._job_layers: tuple[Layer, ...] = ()
        self._job_owner = 0
        self._on_end: OnEnd | None = None
        self._lingering: list[Job] = []
        self._look = QTimer(self)
        self._look.setInterval(_LOOK_MS)
        self._look.timeout.connect(self._look_after)
        self._views: list[CellViews] = []
        self.current: CellViews | None = None
        self._chosen: tuple[weakref.ref[CellViews], int] | None = None
        self._watchers: set[int] = set()
        kept = remembered(_STYLE, FILL)
        self.style = kept if kept in dict(STYLES) else FILL
        self.blind = False
        self._zooming = QTimer(self)
        self._zooming.setSingleShot(True)
        self._zooming.setInterval(_ZOOM_MS)
        self._zooming.timeout.connect(self._apply_style)
        self._docked: weakref.WeakSet[QWidget] = weakref.WeakSet()
        for layer in viewer.layers:
            self._bind(layer)
        viewer.layers.events.inserted.connect(self._on_layer_inserted)
        viewer.layers.events.removed.connect(self._on_layer_removed)
        viewer.layers.selection.events.active.connect(self._on_active_layer)
        viewer.scene.camera.events.zoom.connect(self._on_zoom)
        viewer.mouse_drag_callbacks.append(self._on_mouse)
        viewer.bind_key(SWITCH_KEY, self._on_switch_key, overwrite=True)
        viewer.bind_key(HIDE_KEY, self._on_hide_key, overwrite=True)
        viewer.bind_key(PREVIOUS_KEY, self._on_previous_key, overwrite=True)
        viewer.bind_key(NEXT_KEY, self._on_next_key, overwrite=True)

    @classmethod
    def of(cls, viewer: Any, engine: Engine | None = None) -> Session:
        """Return the session of a viewer, made at the first call, with an engine if one is given.

        Only who makes the session may give the engine: what runs already runs on another.
        """
        # napari hands plugins a proxy; the viewer itself is what lives and dies
        viewer = getattr(viewer, "__wrapped__", viewer)
        session = _SESSIONS.get(viewer)
        if session is None:
            session = _SESSIONS[viewer] = cls(viewer, engine)
        elif engine is not None and engine is not session.engine:
            raise ValueError("This viewer has a session with another engine.")
        return session

    @property
    def viewer(self) -> Any:
        """The viewer, or None when it is gone."""
        return self._viewer()

    def attach(self, widget: QObject) -> None:
        """Stop the run of a widget that is destroyed, as when its dock or its window closes."""
        gone = partial(_owner_gone, weakref.ref(self), id(widget))
        widget.destroyed.connect(gone)
        if isinstance(widget, QWidget):
            share_place(widget, self._docked, gone)

    def watch(self, widget: QObject) -> None:
        """Tell of clicked cells, by ``inspected``, while a widget that shows them lives."""
        self._watchers.add(id(widget))
        widget.destroyed.connect(partial(_watcher_gone, weakref.ref(self), id(widget)))

    # -- work ---------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self._job is not None

    @property
    def ready(self) -> bool:
        """Whether `start` would start: nothing runs, and no cancelled run is in its last step."""
        return self._job is None and not self.finishing

    def owns_run(self, widget: QObject) -> bool:
        """Whether the run that is going on is that of a widget."""
        return self._job is not None and self._job_owner == id(widget)

    def start(
        self,
        body: Body,
        *,
        owner: QObject,
        layers: Sequence[Layer] = (),
        on_progress: Callable[[float, str], None],
        on_item: Callable[[Any], None],
        on_end: OnEnd,
    ) -> Job | None:
        """Start a run; refused with a message while another one runs."""
        if self._job is not None:
            notifications.show_warning("A run is going on: wait until it ends, or cancel it first.")
            return None
        if self.finishing:
            notifications.show_warning(
                "The cancelled run is still finishing its last step: try again in a moment."
            )
            return None
        job = self._job = Job(body)
        self._job_layers, self._job_owner = tuple(layers), id(owner)
        job.progressed.connect(on_progress)
        job.yielded.connect(on_item)
        # a bound method and no closure: Qt's connections are cycles the collector cannot see
        job.ended.connect(self._on_ended)
        self._on_end = on_end
        job.start()
        self.busy_changed.emit(True)
        return job

    def cancel(self) -> None:
        """Ask the run to stop."""
        if self._job is not None:
            self._job.cancel()

    def abandon(self, owner: int | None = None) -> None:
        """Stop the run, that of one widget only if given, without a word: nobody waits for it."""
        if owner is not None and owner != self._job_owner:
            return
        job, self._job, self._on_end = self._job, None, None
        if job is not None:
            job.abandon()
            self._linger(job)
            self.busy_changed.emit(False)

    def _on_ended(self, outcome: str) -> None:
        # only the current job speaks: abandoned ones are silenced, others have ended before
        job, on_end = self._job, self._on_end
        self._job, self._on_end, self._job_layers = None, None, ()
        if job is None or on_end is None:
            return
        if job.is_lingering:
            self._linger(job)
        try:
            on_end(outcome, job.error)
        finally:
            self.busy_changed.emit(self.busy)

    @property
    def finishing(self) -> bool:
        """Whether a cancelled run is still in its last step."""
        return any(job.is_lingering for job in self._lingering)

    def _linger(self, job: Job) -> None:
        """Keep an eye on a run that was let go until its thread is free."""
        self._lingering.append(job)
        self._look.start()
        self.ready_changed.emit(False)

    def _look_after(self) -> None:
        if not self.finishing:
            self._look.stop()
            self._lingering = []
            self.ready_changed.emit(True)

    # -- classified cells ---------------------------------------------------------------------

    def take_layers(self, image: Layer, labels: Layer) -> dict[str, Labels]:
        """Layers of an earlier classification of these labels in this image, to be used again."""
        taken: dict[str, Labels] = {}
        for old in [v for v in self._views if v.labels is labels and v.image is image]:
            self._views.remove(old)
            taken.update(old.layers)
        return taken

    def classified(self) -> list[CellViews]:
        """Return what is known of each image that is classified, the latest of each, in order."""
        latest = {id(views.image): views for views in self._views}
        return [views for views in self._views if latest[id(views.image)] is views]

    def add_views(self, views: CellViews) -> None:
        """Make newly classified cells the current ones."""
        self._views.append(views)
        self.current = views
        if self.blind:
            views.set_blind(True)
        self._apply_style()
        self.cells_changed.emit()
        self.view_changed.emit()
        if self._job is not None:
            # a run that shows itself in layers that are gone has lost its purpose
            self._job_layers += tuple(views.layers.values())
        self._add_layers_soon(views)

    def make_current(self, views: CellViews) -> None:
        """Let cells that are in the viewer be the current ones."""
        if views is not self.current and any(views is own for own in self._views):
            self.current = views
            self.cells_changed.emit()
            self.view_changed.emit()

    def _add_layers_soon(self, views: CellViews) -> None:
        QTimer.singleShot(_LAYER_PAUSE_MS, lambda: self._add_layers(views))

    def _add_layers(self, views: CellViews) -> None:
        """Add what is missing of the layers, a little later each."""
        if self.viewer is None or not any(views is v for v in self._views):
            return
        if "class" not in views.layers:  # removed by the user, who asks for it if need be
            return
        if views.add_next(self.viewer):
            self._add_layers_soon(views)

    def show(self, kind: str) -> None:
        """Colour the current cells by class or by uncertainty."""
        if self.current is not None and self.viewer is not None:
            self.current.show(kind, self.viewer)
            self.view_changed.emit()

    def switch(self) -> None:
        """Switch between the colours of class and of uncertainty."""
        if self.current is not None:
            self.show("uncertainty" if self.current.kind == "class" else "class")

    def toggle_colors(self) -> None:
        """Hide the colours of the cells, to see the image, or show them again."""
        if self.current is not None:
            self.current.toggle_colors()
            self.view_changed.emit()

    def set_blind(self, blind: bool) -> None:
        """Hide all that the model says of the cells, so that it does not lead the eye, or show it.

        Colours, counts, the status bar and what is told of a cell follow, in all widgets.
        """
        if blind == self.blind:
            return
        self.blind = blind
        for views in self._views:
            views.set_blind(blind)
        self.blind_changed.emit(blind)
        self.view_changed.emit()

    def show_corrected(self, corrected: bool) -> None:
        """Show the classes with what people corrected, or as they were before, in a moment."""
        views = self.current
        if views is None or views.corrected == corrected:
            return
        views.corrected = corrected

        def painting(_: Any) -> Iterator[Any]:
            views.paint_cells()
            yield None

        job = Job(painting, self)
        job.ended.connect(self._on_painted)
        job.start()

    def _on_painted(self, _: str) -> None:
        if self.current is not None:
            self.current.refresh()
            self.view_changed.emit()

    def set_style(self, style: str) -> None:
        """Show cells filled or as outlines, from now on."""
        if style != self.style:
            self.style = style
            remember(_STYLE, style)
            self._apply_style()
            self.view_changed.emit()

    def _apply_style(self) -> None:
        if self.viewer is not None:
            for views in self._views:
                views.set_style(self.style, float(self.viewer.scene.camera.zoom))

    def _on_zoom(self, _: Any = None) -> None:
        if self.style == OUTLINE and self._views:
            self._zooming.start()

    def docked(self, name: str) -> QWidget | None:
        """Return the widget of this plugin that is docked under a name, None where none is."""
        return find_docked(name, self._docked)

    def open_dock(self, name: str) -> QWidget | None:
        """Bring a widget of this plugin to the front, opened if need be; None without a window."""
        found = self.docked(name)
        if found is not None:
            raise_dock(found)
            return found
        window = getattr(self.viewer, "window", None)
        if window is None:
            return None
        widget: QWidget = window.add_plugin_dock_widget("napari-cytodiffusion", name)[1]
        return widget

    def docked_names(self) -> list[str]:
        """Return which widgets of this plugin are open, as the Plugins menu calls them."""
        return names_of(self._docked)

    def show_outlines(self, anomalies: bool, review: bool) -> None:
        """Choose what is outlined: anomalies, cells for review."""
        if self.current is not None:
            self.current.show_outlines(anomalies, review)

    def show_classes(self, shown: Sequence[bool]) -> None:
        """Choose the visible classes."""
        if self.current is not None:
            self.current.show_classes(shown)

    def inspect(self, label: int) -> None:
        """Choose the cell to look at."""
        if self.current is not None and label in self.current.results:
            self._chosen = weakref.ref(self.current), int(label)
            self.inspected.emit(int(label))

    @property
    def chosen(self) -> int:
        """Label of the cell that is looked at, 0 when none of the current ones is."""
        return self._chosen[1] if self._chosen and self._chosen[0]() is self.current else 0

    # -- what happens in the viewer -----------------------------------------------------------

    def _on_layer_inserted(self, event: Any) -> None:
        self._bind(event.value)

    def _bind(self, layer: Layer) -> None:
        """Let labels that come from elsewhere know their image while there is no doubt."""
        restore(layer)
        viewer = self.viewer
        if viewer is not None and is_cells(layer):
            bind_if_certain(layer, [other for other in viewer.layers if is_image(other)])

    def _on_layer_removed(self, event: Any) -> None:
        layer = event.value
        if self._job is not None and any(layer is used for used in self._job_layers):
            self._job_layers = ()
            notifications.show_info(f"'{layer.name}' was removed: the run stops.")
            self._job.cancel()
        shown = self.current
        was_shown = shown is not None and any(layer is own for own in shown.layers.values())
        for views in self._views:
            views.forget(layer)
        gone = [v for v in self._views if layer in (v.image, v.labels) or not v.layers]
        for views in gone:
            self._views.remove(views)
            if views is self.current:
                self.current = self._views[-1] if self._views else None
                self.cells_changed.emit()
        if gone or was_shown:
            self.view_changed.emit()

    def _on_active_layer(self, event: Any) -> None:
        layer = event.value
        for views in self._views:
            if layer in views.layers.values() and views is not self.current:
                self.current = views
                self.cells_changed.emit()
                self.view_changed.emit()

    def _on_mouse(self, viewer: Any, event: Any) -> Any:
        """Inspect the cell that is clicked: pressed and released without dragging."""
        views = self.current
        active = viewer.layers.selection.active
        painting = getattr(active, "mode", "pan_zoom") != "pan_zoom"
        if not self._watchers or views is None or painting or getattr(event, "button", 1) != 1:
            return
        pressed_at = tuple(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        moved = max(abs(a - b) for a, b in zip(event.pos, pressed_at, strict=True))
        if moved <= 3 and len(event.position) >= 2:
            self.inspect(views.cell_at_world(event.position))

    def _on_switch_key(self, viewer: Any) -> None:
        self.switch()

    def _on_hide_key(self, viewer: Any) -> None:
        self.toggle_colors()

    def _on_previous_key(self, viewer: Any) -> None:
        self.stepped.emit(-1)

    def _on_next_key(self, viewer: Any) -> None:
        self.stepped.emit(1)

    def close(self) -> None:
        """Stop work, disconnect from the viewer, forget everything."""
        self.closing.emit()
        self.abandon()
        self._look.stop()
        self._zooming.stop()
        self._views, self.current = [], None
        self.engine.forget_models()
        viewer = self.viewer
        if viewer is None:
            return
        _SESSIONS.pop(viewer, None)
        viewer.layers.events.inserted.disconnect(self._on_layer_inserted)
        viewer.layers.events.removed.disconnect(self._on_layer_removed)
        viewer.layers.selection.events.active.disconnect(self._on_active_layer)
        if self._on_mouse in viewer.mouse_drag_callbacks:
            viewer.mouse_drag_callbacks.remove(self._on_mouse)
        viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        for key in (SWITCH_KEY, HIDE_KEY, PREVIOUS_KEY, NEXT_KEY):
            viewer.bind_key(key, None)


def _owner_gone(session: weakref.ref[Session], owner: int, *_: Any) -> None:
    """End the run of a widget that is being destroyed; holds nothing alive meanwhile."""
    alive = session()
    if alive is not None:
        # when Python ends, the session may be gone in Qt before its widgets
        with contextlib.suppress(RuntimeError):
            alive.abandon(owner)
            alive.closed.emit(owner)


def _watcher_gone(session: weakref.ref[Session], watcher: int, *_: Any) -> None:
    """Forget a widget that is being destroyed."""
    alive = session()
    if alive is not None:
        alive._watchers.discard(watcher)


_SESSIONS = weakref.WeakKeyDictionary()
