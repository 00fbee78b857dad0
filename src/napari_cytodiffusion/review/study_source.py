"""The cells of all images of the open study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QObject

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.progress import Progress
from cytodiffusion.review.cells import NOBODY, PeopleSaid, no_cells
from cytodiffusion.review.study_cells import cells_of_study, said_in_study, said_of_rows
from cytodiffusion.settings import WINDOW_UM
from napari_cytodiffusion.review.source import CellSource, Ints, cut_from, show_in_slide
from napari_cytodiffusion.review.thumbnails import Cut
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.workers import Job

#: Cells that are annotated in the window's thread at most; of more, it would be felt.
_AT_ONCE = 300


def read_body(folder: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields the cells of a study and what people say of them."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.study import Study

        report(0.0, "Reading the cells of the study ...")
        with Study(folder, writable=False) as study:
            cells = cells_of_study(study)
            yield cells, said_in_study(study, cells)

    return body


def annotate_body(
    folder: Path, cells: dict[int, str], observer: str, seconds: float | None
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that gives cells classes in one action, and yields their numbers."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.study import Study

        report(0.0, f"Writing {len(cells):,} labels ...")
        with Study(folder) as study:
            study.annotate_many(cells, observer, seconds=seconds)
        yield tuple(cells)

    return body


class StudySource(CellSource):
    """The cells of all images of the study that is open; each observer's word is kept by itself."""

    def __init__(self, session: Session, current: CurrentStudy, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._current = session, current
        self._job: Job | None = None
        self._writing: Job | None = None
        self._again = False
        self._shown: tuple[int, str, int, int] | None = (
            None  # of the open image, and of which cells
        )
        self._wanted: int | None = None
        for event in (
            *(current.opened, current.predictions_changed),
            *(current.classes_changed, current.images_changed),
        ):
            event.connect(self.load)
        current.closed.connect(self._on_closed)
        current.annotated.connect(self._on_annotated)
        current.image_opened.connect(self._on_opened)
        session.inspected.connect(self._on_inspected)
        session.cells_changed.connect(self._on_cells)
        session.view_changed.connect(self._on_cells)  # before or after corrections
        self.load()

    @property
    def empty_text(self) -> str:
        """What to do where there are no cells."""
        if self._job is not None:
            return "Reading the cells of the study ..."
        return "The study has no cells yet: add images to it in Study."

    def load(self) -> None:
        """Read the cells anew, in a thread."""
        folder = self._current.folder
        if folder is None:
            return
        if self._job is not None:
            self._again = True
            return
        self._job = Job(read_body(folder), self)
        self._job.yielded.connect(self._on_read)
        self._job.failed.connect(self._on_failed)
        self._job.ended.connect(self._on_ended)
        self._job.start()

    def _on_read(self, found: Any) -> None:
        if self._again or self._current.study is None:
            return
        self.cells, self.people = found
        self._take_corrections()
        self.reloaded.emit()

    def _on_failed(self, error: CytoDiffusionError) -> None:
        self.troubled.emit(str(error))

    def _on_ended(self, _: str) -> None:
        self._job = None
        if self._again:
            self._again = False
            self.load()
        elif not len(self.cells):
            self.reloaded.emit()  # for what stands in the place of cells

    def _on_closed(self) -> None:
        self.cells, self.people = no_cells(), PeopleSaid(0)
        self.reloaded.emit()

    # -- what is said -------------------------------------------------------------------------

    def mine(self) -> Ints:
        """Return what this observer says of each cell; a study calls Ada and ada one."""
        me = self._current.observer
        alike = (name for name in self.people.observers if name.casefold() == me.casefold())
        return self.people.by(next(alike, me))

    def give(self, rows: Ints, name: str, seconds: float | None = None) -> bool:
        """Give cells a class; it is on the disk when this returns True."""
        return self._annotate(dict.fromkeys(self.cells.numbers[rows].tolist(), name), seconds)

    def confirm(self, rows: Ints, seconds: float | None = None) -> bool:
        """Give cells the class that the model gives them, as one action; as `give`."""
        known = rows[self.cells.predicted[rows] != NOBODY]
        names = self.cells.class_names
        classes = [names[k] for k in self.cells.predicted[known].tolist()]
        cells = dict(zip(self.cells.numbers[known].tolist(), classes, strict=True))
        return self._annotate(cells, seconds)

    def _annotate(self, cells: dict[int, str], seconds: float | None) -> bool:
        folder = self._current.folder
        if len(cells) <= _AT_ONCE or folder is None:
            return self._current.annotate_many(cells, seconds=seconds)
        if self._writing is None:
            body = annotate_body(folder, cells, self._current.observer, seconds)
            self._writing = Job(body, self)
            self._writing.yielded.connect(self._on_written)
            self._writing.failed.connect(self._on_failed)
            self._writing.ended.connect(self._on_writing_ended)
            self._writing.start()
        return False

    def _on_written(self, numbers: Any) -> None:
        self._current.refresh_said()
        self._current.annotated.emit(numbers)

    def _on_writing_ended(self, _: str) -> None:
        self._writing = None

    def turn_back(self, again: bool) -> Ints:
        """Undo the observer's last action, or redo it; return the rows of its cells."""
        done = self._current.redo() if again else self._current.undo()
        return self.cells.rows_of(() if done is None else done.cells)

    def _on_annotated(self, numbers: Any) -> None:
        study, rows = self._current.study, self.cells.rows_of(numbers)
        if study is None or not len(rows):
            return
        if len(rows) > _AT_ONCE:
            self.load()
            return
        if len(study.classes()) != len(self.cells.class_names):
            return  # a class is new: all is read anew
        words = said_of_rows(study, self.cells, rows)
        observers = {*self.people.observers, *(who for said in words.values() for who in said)}
        for who in observers:
            given = [words.get(int(row), {}).get(who, NOBODY) for row in rows]
            self.people.say(rows, np.array(given, np.int64), who)
        self.said.emit()

    # -- the slide ----------------------------------------------------------------------------

    def show(self, row: int, open_image: bool) -> None:
        """Show a cell in its image, which is opened where that is wanted."""
        name = self.cells.images[int(self.cells.image[row])]
        views = self._current.views_of(name)
        if views is not None:
            self._session.make_current(views)
            show_in_slide(self._session, views, int(self.cells.labels[row]))
        elif open_image:
            self._wanted = row
            self._current.open_image(name)

    def _on_opened(self, name: str) -> None:
        row, self._wanted = self._wanted, None
        if row is None or row >= len(self.cells):
            return
        if self.cells.images[int(self.cells.image[row])] == name:
            self.show(row, open_image=False)

    def _on_inspected(self, label: int) -> None:
        name = self._current.image_of(self._session.current)
        if name in self.cells.images:
            image = self.cells.images.index(name)
            here = (self.cells.image == image) & (self.cells.labels == label)
            for row in np.flatnonzero(here).tolist():
                self.picked.emit(row)

    def _on_cells(self) -> None:
        """Show what corrections made of the cells of the open image."""
        if self._take_corrections():
            self.reloaded.emit()

    def _take_corrections(self) -> bool:
        views = self._session.current
        name = self._current.image_of(views)
        if views is None or name is None or name not in self.cells.images:
            return False
        shown = (id(self.cells.numbers), name, id(views.shown_results), len(views.shown_results))
        if shown == self._shown:
            return False
        self._shown = shown
        for batch in views.shown_results.batches:
            self.cells = self.cells.updated(name, batch.crops.ids, batch.result)
        return True

    def cut(self) -> Cut | None:
        """Return what cuts pictures out of the files of the images."""
        study = self._current.study
        if study is None or not len(self.cells):
            return None
        return cut_from(_opener(study.folder, self.cells.images), self.cells, WINDOW_UM)


def _opener(folder: Path, names: tuple[str, ...]) -> Callable[[int], Path]:
    """Return what finds the files of images in a thread, also where they were moved."""

    def find(index: int) -> Path:
        from cytodiffusion.study import Study

        with Study(folder, writable=False) as study:
            return study.image_path(names[index])

    return find
