"""A person gives cells their classes: keys, undo, and what the other cells learn from it."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Protocol

from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.progress import Progress
from napari_cytodiffusion.classify.jobs import table_body
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.layers.people import People
from napari_cytodiffusion.layers.placement import full_size, note_of
from napari_cytodiffusion.layers.results import Results
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.remembered import remember, remembered
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import tell
from napari_cytodiffusion.workers import Job

if TYPE_CHECKING:
    from cytodiffusion.model.bundle import CellClass

#: Keys of the classes, in their order: digits, and the letters that are free everywhere. Digits
#: choose tools on layers that are painted on, so there they keep doing that.
CLASS_KEYS = (*"123456789", "G", "N", "Q", "W")

#: Key that says the class is right, and goes on; keys that take back what was said last, and that
#: say it again.
CONFIRM_KEY, UNDO_KEY, REDO_KEY = "Enter", "Control-Z", "Control-Shift-Z"

#: Milliseconds of quiet after which the table of cells is written.
_TABLE_MS = 500

#: What is remembered of who looks at cells.
_OBSERVER = "review/observer"


class Keeper(Protocol):
    """Keeps what people say somewhere else than beside the layers: a study on the disk."""

    def keeps(self, views: CellViews) -> bool:
        """Whether cells are in its keeping."""

    def keep(self, views: CellViews, names: Mapping[int, str], seconds: float | None) -> None:
        """Keep the classes of cells, by label, as one action, and let the others learn."""

    def turn_back(self, views: CellViews, again: bool) -> tuple[int, ...]:
        """Undo the last word, or redo it ``again``; return the cells of these views it was of."""

    def look_of(self, views: CellViews, name: str) -> tuple[str, str] | None:
        """Return colour and group of a class, None where it knows none."""


class Guide(Protocol):
    """A widget that shows many cells; while it is seen, keys are about those it has selected."""

    def isVisible(self) -> bool:
        """Whether it is seen."""

    def give(self, index: int) -> None:
        """Give the selected cells the class of a key, and go on."""

    def confirm(self) -> None:
        """Say that the classes of the selected cells are right, and go on."""

    def undo(self) -> None:
        """Take back what was said last."""

    def redo(self) -> None:
        """Say again what was taken back last."""


def learn_body(
    engine: Engine, views: CellViews, said: dict[int, tuple[str, str]]
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields all cells as they are after some were corrected.

    It paints them, too, as that takes long for a large image.
    """
    results = (views.results if views.classified is None else views.classified[1]).uncorrected
    batches = list(results.batches)

    def body(report: Progress) -> Iterator[Any]:
        model = engine.load_model(*views.model)
        settings = views.settings or ClassifySettings()
        learned, classes = engine.learn(batches, said, model, settings, views.kinds)
        yield learned, classes, views.paint_learned(learned)

    return body


class Reviewing(QObject):
    """Takes down what people say of the current cells, and lets the others learn from it.

    Signals
    -------
    changed ()
        Something was said, or taken back.
    next_wanted ()
        The next cell that nobody has looked at is to be shown.

    Attributes
    ----------
    observer : str
        Who looks at the cells.
    keeper : Keeper or None
        Who keeps what is said.
    changed_class : (int, int)
        Cells that nobody labelled and whose class changed by what was said last, and by all that
        was said.
    """

    changed = Signal()
    next_wanted = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._inspectors: set[int] = set()
        self._guides: list[weakref.ref[Any]] = []
        self.changed_class = (0, 0)
        self._job: Job | None = None
        self._waiting: CellViews | None = None
        self._learning: CellViews | None = None
        self._table_of: CellViews | None = None
        self.observer = str(remembered(_OBSERVER, ""))
        self.keeper: Keeper | None = None
        self._since = time.monotonic()  # when the cell was shown
        session.inspected.connect(self._on_inspected)
        self._table = QTimer(self)
        self._table.setSingleShot(True)
        self._table.setInterval(_TABLE_MS)
        self._table.timeout.connect(self._write_table)
        viewer = session.viewer
        self._bind(viewer)
        for layer in viewer.layers:
            self._bind_layer(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)

    @classmethod
    def of(cls, session: Session) -> Reviewing:
        """Return the one of a session, made at the first call."""
        found = session.findChild(cls)
        return found if isinstance(found, cls) else cls(session)

    # -- keys ---------------------------------------------------------------------------------

    def watch(self, widget: QObject) -> None:
        """Listen to keys while a widget that shows the cell lives."""
        self._inspectors.add(id(widget))
        widget.destroyed.connect(partial(_gone, weakref.ref(self), id(widget)))

    def _bind(self, to: Any) -> None:
        me = weakref.ref(self)
        for index, key in enumerate(CLASS_KEYS):
            to.bind_key(key, _doing(me, methodcaller("give", index)), overwrite=True)
        for key, name in ((CONFIRM_KEY, "confirm"), (UNDO_KEY, "undo"), (REDO_KEY, "redo")):
            to.bind_key(key, _doing(me, methodcaller(name)), overwrite=True)

    def _bind_layer(self, layer: Layer) -> None:
        """Bind the keys to a layer of our own, which napari's tools for painting are useless on."""
        if isinstance(layer, Labels) and "role" in note_of(layer):
            self._bind(layer)

    def _on_inserted(self, event: Any) -> None:
        self._bind_layer(event.value)

    @property
    def active(self) -> bool:
        """Whether somebody sees the cell that keys are about."""
        return bool(self._inspectors) or self.guided

    def lead(self, guide: Guide) -> None:
        """Let a widget take the keys that are pressed on the canvas, whenever it is seen.

        While it does, no other widget goes to the next cell by itself.
        """
        self._guides.append(weakref.ref(guide))

    @property
    def is_learning(self) -> bool:
        """Whether the other cells are still learning from what was said."""
        return self._job is not None

    @property
    def guide(self) -> Guide | None:
        """The widget that takes the keys now, None where none does."""
        for known in reversed(self._guides):
            guide: Guide | None = known()
            with contextlib.suppress(RuntimeError):  # gone in Qt, and not yet in Python
                if guide is not None and guide.isVisible():
                    return guide
        return None

    @property
    def guided(self) -> bool:
        """Whether a widget takes the keys now."""
        return self.guide is not None

    # -- what people say ----------------------------------------------------------------------

    def say(self, name: str) -> None:
        """Give the cell that is looked at a class."""
        if self._session.chosen:
            self.say_many((self._session.chosen,), name)

    def say_many(self, labels: Iterable[int], name: str) -> None:
        """Give cells of the current image a class, in one action."""
        if name.strip():
            self._take_down(dict.fromkeys(labels, name.strip()))

    def confirm_many(self, labels: Iterable[int]) -> None:
        """Say that the model is right about cells of the current image, in one action."""
        views = self._session.current
        if views is None:
            return
        names, records = views.results.class_names, map(views.results.record, labels)
        self._take_down({r.label: names[r.predicted] for r in records if r is not None})

    def _take_down(self, names: dict[int, str]) -> None:
        """Take down the classes that somebody gives cells, by label."""
        views = self._session.current
        if views is None or not names:
            return
        keeper = self.keeper_of(views)
        if keeper is not None:
            keeper.keep(views, names, (time.monotonic() - self._since) / len(names))
            return
        views.people.say_many(names, self.observer)
        self.learn(views)

    def keeper_of(self, views: CellViews) -> Keeper | None:
        """Return who keeps what is said of these cells, None where their layer does."""
        return self.keeper if self.keeper is not None and self.keeper.keeps(views) else None

    def _on_inspected(self, _: int) -> None:
        self._since = time.monotonic()

    def give(self, index: int) -> None:
        """Give the cell the class of a key."""
        views = self._session.current
        if views is not None and index < len(views.results.class_names):
            self.say(views.results.class_names[index])

    def confirm(self) -> None:
        """Say that the class of the cell is right, and ask for the next one."""
        views, label = self._session.current, self._session.chosen
        record = None if views is None else views.results.record(label)
        if views is None or record is None:
            return
        if label not in views.people.said:
            self.say(views.results.class_names[record.predicted])
        self.next_wanted.emit()

    def undo(self) -> tuple[int, ...]:
        """Take back what was said last, show that cell, and return which cells it was said of."""
        return self._turn_back(again=False)

    def redo(self) -> tuple[int, ...]:
        """Say again what was taken back last, as `undo` takes it back."""
        return self._turn_back(again=True)

    def _turn_back(self, again: bool) -> tuple[int, ...]:
        views = self._session.current
        if views is None:
            return ()
        keeper = self.keeper_of(views)
        if keeper is not None:
            labels = keeper.turn_back(views, again)
        else:
            labels = views.people.redo() if again else views.people.undo()
        if labels:
            self._session.inspect(labels[0])
            if keeper is None:
                self.learn(views)
        return labels

    def can_undo(self, views: CellViews) -> bool:
        """Whether something may be there to take back."""
        return self.keeper_of(views) is not None or views.people.can_undo

    def call_observer(self, name: str) -> None:
        """Take down who looks at the cells from now on; it is remembered."""
        self.observer = name.strip()
        remember(_OBSERVER, self.observer)

    def carry(self, old: CellViews | None, new: CellViews) -> None:
        """Let what was said of cells hold for those that took their places."""
        if old is None or not old.people.said:
            return
        engine = self._session.engine
        to = engine.same_cells(old.maps.labels, new.maps.labels, old.people.said)
        new.people = old.people.moved(to)

    # -- what is learned ----------------------------------------------------------------------

    def learn(self, views: CellViews) -> None:
        """Classify all cells anew by what was said, in a thread; the latest word counts."""
        self.changed.emit()
        if views.running or not len(views.results):
            return  # the end of the run comes back here
        if self._job is not None:
            self._waiting = views
            return
        said = {k: v for k, v in views.people.said.items() if k in views.results}
        job = self._job = Job(learn_body(self._session.engine, views, said), self)
        self._learning = views
        # bound methods and no closures, which would keep this alive
        job.yielded.connect(self._on_learned)
        job.failed.connect(tell)
        job.ended.connect(self._on_ended)
        job.start()

    def _on_learned(self, found: Any) -> None:
        views = self._learning
        if views is None or self._waiting is views:
            return  # more was said meanwhile
        batches, classes, maps = found
        whole = views.results if views.classified is None else views.classified[1]
        names, before = batches[0].result.class_names, views.results
        learned = whole.learned(batches, *self._looks(views, whole, names, classes))
        self.changed_class = learned.n_unlike(before), learned.n_unlike(learned.uncorrected)
        views.show_learned(learned, painted=maps is views.maps)
        self._session.cells_changed.emit()
        self._table_of = views
        self._table.start()
        self.changed.emit()

    def _looks(
        self, views: CellViews, whole: Results, names: Sequence[str], classes: Sequence[CellClass]
    ) -> tuple[list[str], list[str]]:
        """Return colours and groups of classes: as they are shown so far, new ones as they come."""
        looks = {one.name: (one.color, one.group) for one in classes}
        groups = whole.groups or ("",) * len(whole.colors)
        looks |= dict(zip(whole.class_names, zip(whole.colors, groups, strict=True), strict=True))
        keeper = self.keeper_of(views)
        if keeper is not None:
            kept = {name: keeper.look_of(views, name) for name in names}
            looks |= {name: look for name, look in kept.items() if look is not None}
        return [looks[name][0] for name in names], [looks[name][1] for name in names]

    def _on_ended(self, _: str) -> None:
        self._job, self._learning = None, None
        views, self._waiting = self._waiting, None
        if views is not None:
            self.learn(views)

    def _write_table(self) -> None:
        """Hand the table to the labels, once nothing more is said for a moment."""
        views, self._table_of = self._table_of, None
        if views is None or self._session.busy:
            return
        batches, frame_of = list(views.results.batches), self._session.engine.cells_frame
        job = Job(table_body(lambda: frame_of(batches), full_size(views.labels)), self)
        job.yielded.connect(views.set_features)
        job.failed.connect(tell)
        job.start()


def said_of(people: People, label: int) -> str:
    """Return the class that a person gave a cell, empty where nobody did."""
    return people.said.get(label, ("", ""))[0]


def _doing(me: weakref.ref[Reviewing], what: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return what napari calls for a key; it holds nothing alive."""

    def act(_: Any) -> None:
        found = me()
        if found is not None and found.active:
            what(found.guide or found)

    return act


def _gone(me: weakref.ref[Reviewing], widget: int, *_: Any) -> None:
    found = me()
    if found is not None:
        found._inspectors.discard(widget)
