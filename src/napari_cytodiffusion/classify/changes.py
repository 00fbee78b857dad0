"""Cells that were painted, deleted or added after they were classified."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from cytodiffusion.drawing.maps import CellMaps
from cytodiffusion.image.label_changes import CellChanges
from cytodiffusion.progress import Progress
from napari_cytodiffusion.classify.jobs import ClassifyRequest
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.layers.results import Results
from napari_cytodiffusion.layers.views import CellViews, put_batches
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import note, tell
from napari_cytodiffusion.workers import Job

#: Milliseconds without a stroke after which the cells are looked at.
_CALM_MS = 300

#: Column of the table of cells that says so.
COLUMN = "changed"


def changes_body(
    engine: Engine, before: Any, labels: Any, results: Results, outline_px: int
) -> Callable[[Progress], Iterator[tuple[CellChanges, CellMaps]]]:
    """Body of a `Job` that yields what changed, and maps of the cells as they are now."""

    def body(report: Progress) -> Iterator[tuple[CellChanges, CellMaps]]:
        after = np.array(labels)
        found = engine.changed_cells(before, after)
        maps = CellMaps(after, len(results.class_names), outline_px)
        put_batches(maps, results.without({*found.removed, *found.added}).batches)
        yield found, maps

    return body


class _Strokes:
    """Listens to what is painted in a layer, for an object that may be gone any time."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = weakref.WeakMethod(heard)
        self._layer: Layer | None = None

    def follow(self, layer: Layer | None) -> None:
        """Listen to a layer, and no more to the one before."""
        for event in self._events():
            event.disconnect(self._on_stroke)
        self._layer = layer
        for event in self._events():
            event.connect(self._on_stroke)

    def _events(self) -> tuple[Any, ...]:
        if self._layer is None:
            return ()
        events = self._layer.events
        # undoing a stroke sets the data, unless the layer is hidden
        return events.paint, events.labels_update, events.data, events.set_data, events.visible

    def _on_stroke(self, _: Any = None) -> None:
        heard = self._heard()
        if heard is None or self._layer is None or not self._layer.visible:
            return
        try:
            heard()
        except RuntimeError:  # it is destroyed, and only its Python part is left
            self.follow(None)


class ChangeWatch(QObject):
    """Looks after the current cells: counts, texts and colours follow what is painted.

    Signals
    -------
    changed ()
        Other cells differ from those that were classified than before, or others are current.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._views: CellViews | None = None
        self._compared: CellViews | None = None
        self._strokes = _Strokes(self._on_paint)
        self._job: Job | None = None
        self._dirty = False  # whether there was a stroke that nobody has looked at
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_CALM_MS)
        self._timer.timeout.connect(self.look)
        session.cells_changed.connect(self._on_cells)
        session.busy_changed.connect(self._on_busy)
        self._on_cells()

    @classmethod
    def of(cls, session: Session) -> ChangeWatch:
        """Return the one of a session, made at the first call."""
        found = session.findChild(cls)
        return found if isinstance(found, cls) else cls(session)

    @property
    def changes(self) -> CellChanges:
        """What differs of the current cells."""
        return CellChanges() if self._views is None else self._views.changes

    def _on_cells(self) -> None:
        views = self._session.current
        if views is not self._views:
            self._views = views
            self._strokes.follow(None if views is None else views.labels)
        self.changed.emit()

    def _on_paint(self) -> None:
        self._dirty = True
        self._timer.start()

    def _on_busy(self, busy: bool) -> None:
        if self._dirty and not busy:
            self._timer.start()

    def look(self) -> None:
        """Compare the labels with those that were classified, in a thread."""
        views = self._views
        if views is None or self._session.busy or not len(views.results):
            return  # the end of the run comes back here
        if self._job is not None and self._job.is_running:
            self._timer.start()
            return
        self._dirty = False
        before, results = views.classified or (views.maps.labels, views.results)
        labels = full_size(views.labels)
        body = changes_body(self._session.engine, before, labels, results, views.maps.outline_px)
        job = self._job = Job(body, self)
        self._compared = views
        # a bound method and no closure, which would keep this alive
        job.yielded.connect(self._on_found)
        job.failed.connect(tell)
        job.start()

    def _on_found(self, found: tuple[CellChanges, CellMaps]) -> None:
        views, (changes, maps) = self._compared, found
        if views is None or views is not self._session.current or self._session.busy:
            return
        if changes != views.changes or (changes and self._differs(views, maps)):
            views.show_changes(changes, maps)
            self._mark_rows(views)
            self._session.cells_changed.emit()
        self.changed.emit()

    def _differs(self, views: CellViews, maps: CellMaps) -> bool:
        """Whether cells that had changed before were changed again."""
        shown = views.maps.class_map
        return shown.shape != maps.class_map.shape or bool((shown != maps.class_map).any())

    def _mark_rows(self, views: CellViews) -> None:
        """Say in the table which rows are out of date."""
        table = views.table
        if "label" not in table or (not views.changes and COLUMN not in table):
            return
        changes = views.changes
        old = {*changes.changed, *changes.added, *changes.removed}
        views.set_features(table.assign(**{COLUMN: table["label"].isin(old)}))


class ChangedCells(QWidget):
    """Says how many cells changed since they were classified, and offers to classify these alone.

    Signals
    -------
    asked (object, object)
        What to classify (`ClassifyRequest`), and the layers of image and labels.

    Attributes
    ----------
    request : ClassifyRequest or None
        What the run that goes on, or the latest one, was asked for.
    """

    asked = Signal(object, object)

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session, self._watch = session, ChangeWatch.of(session)
        self.request: ClassifyRequest | None = None
        self.text = note("", self)
        self.button = QPushButton("", self)
        self.button.setToolTip("The other cells keep their results.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addWidget(self.button)
        self.button.clicked.connect(self._on_button)
        self._watch.changed.connect(self._show)
        for signal in (session.busy_changed, session.ready_changed):
            signal.connect(self._show)
        self._show()

    def _show(self, _: Any = None) -> None:
        views, changes = self._session.current, self._watch.changes
        if views is not None and views.request is None:
            views.request = self.request
        self.setVisible(bool(changes))
        self.text.setText(words(changes))
        number = len(changes.to_classify)
        self.button.setText(f"Classify the changed cells ({number:,})")
        self.button.setVisible(number > 0)
        self.button.setEnabled(self._session.ready and views is not None and bool(views.request))

    def _on_button(self) -> None:
        views = self._session.current
        if views is None or not isinstance(views.request, ClassifyRequest):
            return
        known = views.results.uncorrected.without(views.changes.to_classify)
        request = dataclasses.replace(
            views.request,
            image=full_size(views.image),
            labels=full_size(views.labels),
            pixel_size_um=views.pixel_size_um,
            foreign=None,
            found_at_um=None,  # whoever asked for it was asked about it
            known=tuple(known.batches),
        )
        self.asked.emit(request, (views.image, views.labels))


def words(changes: CellChanges) -> str:
    """Say how many cells changed, and in which way."""
    said = [
        f"{len(ids):,} {what}"
        for ids, what in (
            (changes.changed, "changed"),
            (changes.added, "new"),
            (changes.removed, "deleted"),
        )
        if ids
    ]
    return f"Cells since the classification: {', '.join(said)}." if said else ""
