"""What *Classify cells* says of an image of the open study is kept in the study."""

from __future__ import annotations

from qtpy.QtCore import QObject

from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import tell
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.jobs import keep_classified_body
from napari_cytodiffusion.workers import Job


class ClassifiedImages(QObject):
    """Keeps the result of a run once all cells of an image of the study are classified."""

    def __init__(self, session: Session, current: CurrentStudy) -> None:
        super().__init__(current)
        self._session, self._current = session, current
        self._job: Job | None = None
        session.cells_changed.connect(self._look)

    @classmethod
    def of(cls, session: Session) -> ClassifiedImages:
        """Return the one of a session, made at the first call."""
        current = CurrentStudy.of(session)
        found = current.findChild(cls)
        return found if isinstance(found, cls) else cls(session, current)

    def _look(self) -> None:
        """Keep the current cells, if a run of them has just ended."""
        views, folder = self._session.current, self._current.folder
        name = self._current.image_of(views)
        if views is None or folder is None or name is None or not self._current.writable:
            return
        found = views.results.uncorrected
        whole = len(found) > 0 and len(found) == found.total
        if views.running or not whole or views in self._current.restored or self._job is not None:
            return
        if self._current.changed_by_hand(name):
            return  # the outlines come first
        self._current.restored.add(views)
        job = self._job = Job(keep_classified_body(self._session.engine, folder, name, views), self)
        job.yielded.connect(self._on_done)
        job.failed.connect(tell)
        job.ended.connect(self._on_ended)
        job.start()

    def _on_done(self, _: str) -> None:
        """Let others know; the layers show it already."""
        self._current.tell_predictions()

    def _on_ended(self, _: str) -> None:
        self._job = None
        self._look()
