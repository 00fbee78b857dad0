"""The study that is open in a viewer: whatever people say of its cells is on the disk at once."""

from __future__ import annotations

import getpass
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.study import Study
from cytodiffusion.study.annotations import Done
from cytodiffusion.study.database import may_write
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import tell
from napari_cytodiffusion.study.jobs import PreparedImage, open_image_body
from napari_cytodiffusion.study.showing import (
    add_image,
    is_changed,
    layers_of,
    mark,
    marked_as,
    rename,
    views_of_cells,
    word_of,
)
from napari_cytodiffusion.workers import Job

#: Seconds that the window waits for another program that is writing.
_BUSY_SECONDS = 3.0

Cell = int | tuple[str, int]


class CurrentStudy(QObject):
    """The open study of a session; widgets read and annotate it through this object.

    All methods are called in the window's thread. Work in other threads opens the folder for
    itself, and says here what it changed by emitting the signal of that.

    Signals
    -------
    opened ()
        A study was opened.
    closed ()
        It was closed; also before another one opens.
    annotated (object)
        What people say of cells is another thing than before: a tuple of their numbers.
    predictions_changed ()
        A model said something new of cells.
    classes_changed ()
        A class was added, renamed, recoloured, merged, grouped or deleted. Whoever changes classes
        by ``study`` emits it; the layers follow.
    images_changed ()
        Images were added, or found again.
    leaving ()
        Layers of the study are about to go: the last moment to note what is looked at.
    image_opened (str)
        The layers of an image are there, or there anew, by its name.
    troubled (str)
        Something did not work; the sentence is shown as a notification, too.

    Attributes
    ----------
    study : Study or None
        Of this thread; None where none is open.
    """

    opened = Signal()
    closed = Signal()
    annotated = Signal(object)
    predictions_changed = Signal()
    classes_changed = Signal()
    images_changed = Signal()
    leaving = Signal()
    image_opened = Signal(str)
    troubled = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._reviewing = Reviewing.of(session)
        self._reviewing.keeper = self
        #: what is shown as the study has it, and was not classified since
        self.restored: weakref.WeakSet[CellViews] = weakref.WeakSet()
        self.study: Study | None = None
        self._id = ""
        self._job: Job | None = None
        self._taken: dict[str, NDArray[np.integer]] = {}  # changed outlines that the study has
        self._shown = False  # whether layers show already what is told
        self._wanted: list[str] = []  # images that are to be shown, one after the other
        self.classes_changed.connect(self._on_classes)
        self.predictions_changed.connect(self._on_predictions)
        session.closing.connect(self.close)

    @classmethod
    def of(cls, session: Session) -> CurrentStudy:
        """Return the one of a session, made at the first call."""
        found = session.findChild(cls)
        return found if isinstance(found, cls) else cls(session)

    # -- the folder ---------------------------------------------------------------------------

    @property
    def folder(self) -> Path | None:
        """Folder of the study, None where none is open."""
        return None if self.study is None else self.study.folder

    @property
    def writable(self) -> bool:
        """Whether something can be said in the open study."""
        return self.study is not None and self.study.database.writable

    @property
    def observer(self) -> str:
        """Who looks at the cells: the name given in the window, else that of the login."""
        return self._reviewing.observer or _user()

    def call_observer(self, name: str) -> None:
        """Take down who gives classes from now on; their own words come first in what is shown."""
        self._reviewing.call_observer(name)
        self._reviewing.changed.emit()
        self.refresh_said()

    def open(self, folder: str | Path) -> bool:
        """Open a study, in the place of the one that is open; return whether it is open.

        One that may not be written is opened to look at it.
        """
        writable = may_write(Path(folder))
        return self._take(lambda: Study(folder, writable=writable, busy_seconds=_BUSY_SECONDS))

    def create(self, folder: str | Path) -> bool:
        """Make a new study and open it; return whether it is open."""

        def make() -> Study:
            Study.create(folder).close()
            return Study(folder, busy_seconds=_BUSY_SECONDS)

        return self._take(make)

    def _take(self, get: Callable[[], Study]) -> bool:
        """Get a study; only where that works, the one before is closed."""
        try:
            study = get()
            known = study.id
        except CytoDiffusionError as error:
            self._trouble(error)
            return False
        self.close()
        self.study, self._id = study, known
        self.opened.emit()
        return True

    def close(self) -> None:
        """Close the study; its layers go, except those whose outlines were changed by hand."""
        if self.study is None:
            return
        self.leaving.emit()
        self._wanted = []
        if self._job is not None:
            self._job.abandon()
            self._job = None
        for name in self.open_names():
            if not self.changed_by_hand(name):
                self._remove(self._layers(name))
        self.study.close()
        self.study = None
        self.closed.emit()

    # -- images -------------------------------------------------------------------------------

    def name_of(self, layer: Layer) -> str | None:
        """Return the name of the image of the study that a layer shows, None for any other."""
        return None if self.study is None else marked_as(layer, self._id)

    def image_of(self, views: CellViews | None) -> str | None:
        """Return the name of the image of the study that classified cells belong to."""
        return None if views is None else self.name_of(views.labels)

    def views_of(self, name: str) -> CellViews | None:
        """Return the classified cells of an image that is open in the viewer."""
        found = [v for v in self._session.classified() if self.image_of(v) == name]
        return found[-1] if found else None

    def open_names(self) -> list[str]:
        """Return the images of the study that are open in the viewer."""
        viewer = self._session.viewer
        names = [self.name_of(layer) for layer in (() if viewer is None else viewer.layers)]
        return list(dict.fromkeys(name for name in names if name is not None))

    def changed_by_hand(self, name: str) -> bool:
        """Whether outlines of an open image were changed and not yet taken over."""
        views = self.views_of(name)
        return views is not None and is_changed(views)

    def open_image(self, name: str) -> None:
        """Show an image with its cells as layers, in a moment; `image_opened` tells when.

        Layers of other images of the study go, unless their outlines were changed by hand. Where
        the image is open already, it becomes the current one.
        """
        if self.study is None:
            return
        if name in self.open_names():
            self._wanted = []
            views = self.views_of(name)
            if views is not None:
                self._session.make_current(views)
            self.image_opened.emit(name)
            return
        self._wanted = [name]
        if self._job is None:
            self._begin()

    def reload(self, name: str | None = None, taken: NDArray[np.integer] | None = None) -> None:
        """Show images that are open as the study has them now.

        All of them, or one of a name. Those whose outlines were changed by hand stay as they are,
        unless these are the outlines that the study has ``taken`` over.
        """
        if self.study is None:
            return
        if name is not None and taken is not None:
            self._taken[name] = taken
        names = [n for n in self.open_names() if name in (None, n) and not self._stays(n)]
        self._wanted += [n for n in names if n not in self._wanted]
        if self._job is None and self._wanted:
            self._begin()

    def _stays(self, name: str) -> bool:
        """Whether an open image has outlines that the study does not have."""
        views, taken = self.views_of(name), self._taken.get(name)
        if views is None or not is_changed(views):
            return False
        return taken is None or not np.array_equal(taken, np.asarray(full_size(views.labels)))

    def tell_predictions(self) -> None:
        """Say that a model said something new, which the layers show already."""
        self._shown = True
        try:
            self.predictions_changed.emit()
        finally:
            self._shown = False
        self._on_classes()  # the model's names may be others than the study's

    def _on_predictions(self) -> None:
        if not self._shown:
            self.reload()

    def _begin(self) -> None:
        folder = self.folder
        if folder is None:
            return
        body = open_image_body(self._session.engine, folder, self._wanted.pop(0), self.writable)
        job = self._job = Job(body, self)
        # bound methods and no closures, which would keep this alive
        job.yielded.connect(self._on_read)
        job.failed.connect(self._trouble)
        job.ended.connect(self._on_ended)
        job.start()

    def _on_read(self, prepared: PreparedImage) -> None:
        viewer, name = self._session.viewer, prepared.opened.image.name
        if self.study is None or viewer is None:
            return
        there = self.open_names()
        if (self._wanted and name not in there) or (name in there and self._stays(name)):
            return  # another one is wanted by now, or it was painted on meanwhile
        self.leaving.emit()
        goes = [n for n in there if (n == name or name not in there) and not self._stays(n)]
        gone = [layer for n in goes for layer in self._layers(n)]
        self._taken.pop(name, None)
        picture, cells = add_image(self._session, prepared, self._id)
        views = views_of_cells(self._session, prepared, picture, cells, self.observer)
        if views is not None:
            self.restored.add(views)
            self._session.add_views(views)
        self._remove(gone)  # only now: a viewer without layers forgets where it looks
        if views is not None and views.people.said:
            self._reviewing.learn(views)
        self.image_opened.emit(name)

    def _on_ended(self, _: str) -> None:
        self._job = None
        if self._wanted:
            self._begin()

    def _layers(self, name: str) -> list[Layer]:
        """Return all layers of an open image."""
        views = self.views_of(name)
        own = [] if views is None else list(views.layers.values())
        return [*own, *layers_of(self._session.viewer.layers, self._id, name)]

    def _remove(self, layers: Iterable[Layer]) -> None:
        viewer = self._session.viewer
        for layer in layers:
            if layer in viewer.layers:
                viewer.layers.remove(layer)

    def keep_as(self, image: Layer, cells: Layer, name: str) -> None:
        """Note that layers of the viewer are an image of the study and its cells."""
        for layer in (image, cells):
            mark(layer, self._id, name)

    # -- what people say ----------------------------------------------------------------------

    def annotate(
        self,
        cells: Cell | Sequence[Cell],
        class_name: str | None,
        *,
        seconds: float | None = None,
        comment: str = "",
    ) -> bool:
        """Give cells a class, as one action of the observer.

        Parameters
        ----------
        cells : int, (str, int), or a sequence of such
            Numbers of cells, or names of images with labels.
        class_name : str or None
            A name that the study does not have becomes a class; None takes back what was said.
        seconds : float, optional
            That it took.

        Returns
        -------
        bool
            Whether it is on the disk; where it is not, the reason was shown.
        """
        several = [cells] if isinstance(cells, Integral) or _is_pair(cells) else list(cells)  # type: ignore[arg-type]
        try:
            numbers = [self._number(cell) for cell in several]  # type: ignore[arg-type]
        except CytoDiffusionError as error:
            self._trouble(error)
            return False
        return self.annotate_many(
            dict.fromkeys(numbers, class_name), seconds=seconds, comment=comment
        )

    def annotate_many(
        self,
        classes_of_cells: Mapping[int, str | None],
        *,
        seconds: float | None = None,
        comment: str = "",
    ) -> bool:
        """Give cells classes of their own, by their numbers, as one action; see `annotate`."""
        study = self.study
        if study is None or not classes_of_cells:
            return False
        known = len(study.classes())
        try:
            for name in {n for n in classes_of_cells.values() if n is not None}:
                study.add_class(name)
            study.annotate_many(classes_of_cells, self.observer, seconds=seconds, comment=comment)
        except CytoDiffusionError as error:
            self._trouble(error)
            return False
        self._tell_said(tuple(classes_of_cells))
        if len(study.classes()) != known:
            self.classes_changed.emit()
        return True

    def undo(self) -> Done | None:
        """Undo what the observer did last; None where there was nothing."""
        return self._turn(Study.undo)

    def redo(self) -> Done | None:
        """Do again what the observer undid last; None where there was nothing."""
        return self._turn(Study.redo)

    def _turn(self, how: Callable[[Study, str], Done | None]) -> Done | None:
        if self.study is None:
            return None
        try:
            done = how(self.study, self.observer)
        except CytoDiffusionError as error:
            self._trouble(error)
            return None
        if done is not None:
            self._tell_said(done.cells)
        return done

    def _number(self, cell: Cell) -> int:
        assert self.study is not None
        return self.study.cell(*cell) if isinstance(cell, tuple) else int(cell)

    def refresh_said(self) -> None:
        """Show what the study has now of all open images, after others wrote to it."""
        if self.study is None:
            return
        for name in self.open_names():
            views = self.views_of(name)
            if views is not None:
                said = self.study.said(image=name)
                labels = self._labels(said)
                words = {labels[n][1]: word_of(pairs, self.observer) for n, pairs in said.items()}
                views.people.said = {label: word for label, word in words.items() if word}
                self._reviewing.learn(views)

    def _tell_said(self, cells: tuple[int, ...]) -> None:
        """Let the open images know what is said of cells now."""
        assert self.study is not None
        said = self.study.said(cells=cells)
        touched: dict[str, CellViews] = {}
        for number, (name, label) in self._labels(cells).items():
            views = touched.get(name) or self.views_of(name)
            if views is None:
                continue
            touched[name] = views
            word = word_of(said.get(number, ()), self.observer)
            if word is None:
                views.people.said.pop(label, None)
            else:
                views.people.said[label] = word
        self.annotated.emit(cells)
        for views in touched.values():
            self._reviewing.learn(views)

    def _labels(self, cells: Iterable[int]) -> dict[int, tuple[str, int]]:
        assert self.study is not None
        return self.study.places(cells)

    # -- what `Reviewing` asks of who keeps its words -----------------------------------------

    def keeps(self, views: CellViews) -> bool:
        """Whether cells are those of an image of the open study."""
        return self.image_of(views) is not None

    def keep(self, views: CellViews, names: Mapping[int, str], seconds: float | None) -> None:
        """Keep the classes of cells, by label."""
        image = self.image_of(views)
        if image is None:
            return
        try:
            cells = {self._number((image, label)): name for label, name in names.items()}
        except CytoDiffusionError as error:
            self._trouble(error)
            return
        self.annotate_many(cells, seconds=seconds)

    def turn_back(self, views: CellViews, again: bool) -> tuple[int, ...]:
        """Undo or redo; return the cells of these views whose labels changed."""
        done = self.redo() if again else self.undo()
        if done is None:
            return ()
        image = self.image_of(views)
        return tuple(label for name, label in self._labels(done.cells).values() if name == image)

    def look_of(self, views: CellViews, name: str) -> tuple[str, str] | None:
        """Return colour and group of a class."""
        if self.study is None or not self.keeps(views):
            return None
        return next(((c.color, c.group) for c in self.study.classes() if c.name == name), None)

    # -- what changes -------------------------------------------------------------------------

    def _on_classes(self) -> None:
        """Show names and colours as the study has them now."""
        study = self.study
        if study is None:
            return
        for name in self.open_names():
            views = self.views_of(name)
            if views is not None and len(views.results):
                rename(views, study)
        self._session.cells_changed.emit()
        self.refresh_said()

    def _trouble(self, error: CytoDiffusionError) -> None:
        tell(error)
        self.troubled.emit(str(error))


def _is_pair(cells: object) -> bool:
    return isinstance(cells, tuple) and len(cells) == 2 and isinstance(cells[0], str)


def _user() -> str:
    """Return the name by which the computer knows its user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # nobody is logged in
        return "unnamed"
