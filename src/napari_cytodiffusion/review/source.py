"""Where the cells of *Review cells* come from, and where what is said of them goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.review.cells import NOBODY, PeopleSaid, ReviewCells, cells_of_batches, no_cells
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.layers.views import CellViews, look_at
from napari_cytodiffusion.review.thumbnails import Cut
from napari_cytodiffusion.session import Session

Ints = np.ndarray[Any, np.dtype[np.int64]]


class CellSource(QObject):
    """Cells that are reviewed; a widget shows them and gives them classes through this object.

    Signals
    -------
    reloaded ()
        There are other cells, or the model says something else of them.
    said ()
        People say something else of them.
    picked (int)
        A cell was clicked in the slide; its row.
    troubled (str)
        Something did not work; a sentence.

    Attributes
    ----------
    cells : ReviewCells
    people : PeopleSaid
    """

    reloaded = Signal()
    said = Signal()
    picked = Signal(int)
    troubled = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.cells: ReviewCells = no_cells()
        self.people = PeopleSaid(0)

    @property
    def empty_text(self) -> str:
        """What to do where there are no cells."""
        raise NotImplementedError

    def mine(self) -> Ints:
        """Return the class ``(N,)`` that the person at work gave each cell."""
        raise NotImplementedError

    def give(self, rows: Ints, name: str, seconds: float | None = None) -> bool:
        """Give cells a class, as one action; say whether it is kept."""
        raise NotImplementedError

    def confirm(self, rows: Ints, seconds: float | None = None) -> bool:
        """Give cells the class that the model gives them, as one action; as `give`."""
        raise NotImplementedError

    def turn_back(self, again: bool) -> Ints:
        """Undo the last action, or redo it ``again``; return the rows of its cells."""
        raise NotImplementedError

    def show(self, row: int, open_image: bool) -> None:
        """Show a cell in the slide; ``open_image`` also where its image has to be opened first."""
        raise NotImplementedError

    def cut(self) -> Cut | None:
        """Return what cuts out pictures of rows; it is called in a thread."""
        raise NotImplementedError

    def tell_model(self, row: int) -> str:
        """Say what the model makes of a cell."""
        predicted = int(self.cells.predicted[row])
        if predicted < 0:
            return "no model has looked at it"
        share = 100 * float(self.cells.posterior[row, predicted])
        return f"{self.cells.class_names[predicted]} by the model ({share:.0f} %)"

    def visible(self, blind: bool) -> PeopleSaid:
        """Return what may be shown of what people say: only one's own words where it is blind."""
        return PeopleSaid(len(self.cells), {"": self.mine()}) if blind else self.people

    def tell_people(self, row: int, people: PeopleSaid) -> str:
        """Say what people make of a cell; empty where nobody said anything."""
        names = self.cells.class_names
        words = ((who, int(people.by(who)[row])) for who in people.observers)
        return ", ".join(f"{names[k]} by {who or 'you'}" for who, k in words if k != NOBODY)


class SlideSource(CellSource):
    """The classified cells of the current image of the viewer."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._reviewing = Reviewing.of(session)
        self._views: CellViews | None = None
        self._known: tuple[Any, ...] = ()
        session.cells_changed.connect(self._on_cells)
        session.view_changed.connect(self._on_cells)
        session.inspected.connect(self._on_inspected)
        self._reviewing.changed.connect(self._on_said)
        self._on_cells()

    @property
    def empty_text(self) -> str:
        """What to do where there are no cells."""
        return "Nothing is classified yet: Classify cells comes first, or open a study."

    def _on_cells(self) -> None:
        views = self._session.current
        results = None if views is None else views.shown_results
        known: tuple[Any, ...] = ()
        if results is not None:  # which grow while they are classified, and may be renamed
            known = (id(results), len(results), results.class_names, results.colors)
        if views is self._views and known == self._known:
            return
        self._views, self._known = views, known
        if views is None or results is None or not len(results):
            self.cells, self.people = no_cells(), PeopleSaid(0)
        else:
            self.cells = cells_of_batches(
                results.batches,
                results.uncorrected.batches,
                image=views.image.name,
                colors=results.colors,
                white=results.white,
            )
            self.people = self._read()
        self.reloaded.emit()

    def _read(self) -> PeopleSaid:
        """Read what people said of the cells of these views."""
        assert self._views is not None
        said, names = PeopleSaid(len(self.cells)), self.cells.class_names
        number = {name: index for index, name in enumerate(names)}
        by: dict[str, tuple[list[int], list[int]]] = {}
        for label, (name, observer) in self._views.people.said.items():
            row = self.cells.row_of(label)
            if row is not None and name in number:
                rows, classes = by.setdefault(observer, ([], []))
                rows.append(row)
                classes.append(number[name])
        for observer, (rows, classes) in by.items():
            given = np.full(len(self.cells), NOBODY, np.int64)
            given[rows] = classes
            said.take(observer, given)
        return said

    def _on_said(self) -> None:
        if self._views is not None and self._views is self._session.current:
            self.people = self._read()
            self.said.emit()

    def _on_inspected(self, label: int) -> None:
        row = self.cells.row_of(label) if self._views is self._session.current else None
        if row is not None:
            self.picked.emit(row)

    def mine(self) -> Ints:
        """Return what anybody said: the slide keeps one word a cell."""
        return self.people.human

    def give(self, rows: Ints, name: str, seconds: float | None = None) -> bool:
        """Give cells a class, as one action; say whether it is kept."""
        labels = self.cells.labels[rows].tolist()
        self._reviewing.say_many(labels, name)
        return self._is_kept(labels)

    def confirm(self, rows: Ints, seconds: float | None = None) -> bool:
        """Give cells the class that the model gives them, as one action; as `give`."""
        labels = self.cells.labels[rows].tolist()
        self._reviewing.confirm_many(labels)
        return self._is_kept(labels)

    def _is_kept(self, labels: list[int]) -> bool:
        """Whether something is known of cells; a study that cannot be written knows nothing."""
        return self._views is not None and labels[0] in self._views.people.said

    def turn_back(self, again: bool) -> Ints:
        """Undo the last action, or redo it; return the rows of its cells."""
        labels = self._reviewing.redo() if again else self._reviewing.undo()
        return self.cells.rows_of(labels)

    def show(self, row: int, open_image: bool) -> None:
        """Show a cell in the slide."""
        views = self._views
        if views is not None and views is self._session.current:
            show_in_slide(self._session, views, int(self.cells.labels[row]))

    def cut(self) -> Cut | None:
        """Return what cuts pictures out of the image of the layer."""
        views = self._views
        if views is None or not len(self.cells):
            return None
        pixels = full_size(views.image)
        return cut_from(lambda _: pixels, self.cells, views.window_um)


def show_in_slide(session: Session, views: CellViews, label: int) -> None:
    """Make a cell the inspected one, and bring it into sight."""
    session.inspect(label)
    record = views.results.record(label)
    if record is not None and session.viewer is not None:
        look_at(session.viewer, views, record)


def cut_from(open_image: Callable[[int], Any], cells: ReviewCells, window_um: float) -> Cut:
    """Return what cuts pictures of cells out of images, which are opened by their index."""
    from cytodiffusion.review.pictures import CellPictures

    pictures = CellPictures(open_image)
    centres, image, sizes = cells.centres, cells.image, cells.pixel_sizes_um

    broken: dict[int, CytoDiffusionError] = {}  # looking for a file again takes time

    def cut(
        rows: Sequence[int], side: int
    ) -> Iterator[tuple[list[int], np.ndarray | CytoDiffusionError]]:
        chosen = np.asarray(rows)
        for index in np.unique(image[chosen]).tolist():
            here = chosen[image[chosen] == index]
            made: np.ndarray | CytoDiffusionError
            try:
                if index in broken:
                    made = broken[index]
                else:
                    made = pictures.cut(index, centres[here], sizes[index], side, window_um)
            except CytoDiffusionError as error:
                made = broken[index] = error
            yield here.tolist(), made

    return cut
