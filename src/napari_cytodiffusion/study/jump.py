"""From a list of cells of a study to the cell in its slide."""

from __future__ import annotations

from qtpy.QtCore import QObject

from napari_cytodiffusion.layers.views import look_at, mark_cell
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy


class CellJump(QObject):
    """Shows a cell in its slide, which is opened first where it is not yet."""

    def __init__(self, session: Session, current: CurrentStudy, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._current = session, current
        self._wanted: tuple[str, int] | None = None
        current.image_opened.connect(self._on_opened)
        current.closed.connect(self._forget)

    def to(self, image: str, label: int) -> None:
        """Show the cell of this label; in a moment, where its image must be read."""
        self._wanted = image, label
        self._current.open_image(image)

    def _forget(self) -> None:
        self._wanted = None

    def _on_opened(self, name: str) -> None:
        wanted, views = self._wanted, self._current.views_of(name)
        if wanted is None or wanted[0] != name:
            return
        self._wanted = None
        if views is None:  # no model has said anything of its cells
            return
        self._session.make_current(views)
        self._session.inspect(wanted[1])
        record = views.results.record(wanted[1])
        if record is not None:
            mark_cell(self._session.viewer, views, record)
            look_at(self._session.viewer, views, record)
