"""Outlines that were changed by hand in the viewer, taken over into the study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QVBoxLayout, QWidget

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.classify.changes import ChangeWatch, words
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import RunBar, plain_note, tell
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.filling import outlines_body

if TYPE_CHECKING:
    from cytodiffusion.study.taking import TakenOver


class ChangedOutlines(QWidget):
    """Says which cells of an image of the study were changed by hand, and takes them over.

    What people said stays with cells that overlap; only cells that changed are classified.
    """

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session, self._study = session, CurrentStudy.of(session)
        self._owner = parent  # what is docked: the run ends with it
        self._watch = ChangeWatch.of(session)
        self._name: str | None = None  # of the image that is being taken over
        self._taken: TakenOver | None = None
        self._outlines: NDArray[np.integer] | None = None  # those that are being taken over
        self.text = plain_note("", self)
        self.run_bar = RunBar("Take over changed outlines", self)
        self.run_bar.set_text(
            "Take over changed outlines",
            "The study keeps the outlines as they are now. What people said stays with cells that "
            "overlap, and only the changed ones are classified.",
        )
        self.run_bar.follow(session)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addWidget(self.run_bar)
        self.run_bar.run.connect(self.take_over)
        self.run_bar.cancel.connect(session.cancel)
        self._watch.changed.connect(self._show)
        session.busy_changed.connect(self._show)
        for signal in (self._study.opened, self._study.closed, self._study.image_opened):
            signal.connect(self._show)
        self._show()

    def _show(self, _: Any = None) -> None:
        changes = self._watch.changes
        changed = bool(changes) and self._study.image_of(self._session.current) is not None
        if changed:
            self.text.setText(words(changes))
        self.text.setVisible(changed)
        self.run_bar.run_button.setVisible(changed)
        self.run_bar.cancel_button.setVisible(self._name is not None)
        self.run_bar.offer(changed and self._study.writable and not self._session.busy)
        self.setVisible(changed or bool(self.run_bar.line.text().strip()))

    def take_over(self) -> None:
        """Keep the outlines of the current image as they are now."""
        views, folder = self._session.current, self._study.folder
        name = self._study.image_of(views)
        if views is None or folder is None or name is None:
            return
        outlines = np.array(full_size(views.labels))
        settings = views.settings or ClassifySettings()
        body = outlines_body(self._session.engine, folder, name, outlines, views.model, settings)
        started = self._session.start(
            body,
            owner=self._owner,
            layers=(views.image, views.labels),
            on_progress=self.run_bar.advance,
            on_item=self._on_item,
            on_end=self._on_end,
        )
        if started is not None:
            self._name, self._taken, self._outlines = name, None, outlines
            self.run_bar.begin("Keeping the outlines ...")
            self._show()

    def _has(self, name: str, outlines: NDArray[np.integer]) -> bool:
        """Whether the study has these outlines: a run that failed may have kept them before."""
        study = self._study.study
        if study is None:
            return False
        try:
            return bool(np.array_equal(study.labels(name), outlines))
        except CytoDiffusionError:
            return False

    def _on_item(self, taken: TakenOver) -> None:
        self._taken = taken

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        name, self._name = self._name, None
        said = {
            "cancelled": "Cancelled. The outlines may be kept, but the changed cells have no class "
            "then: Classify all again gives them one.",
            "failed": "Stopped by an error.",
        }
        text = said.get(outcome, "")
        if self._taken is not None:
            text = " ".join(self._taken.sentences)
        self.run_bar.end(text)
        outlines, self._outlines = self._outlines, None
        if name is not None and outlines is not None and self._has(name, outlines):
            self._study.reload(name, outlines)
            self._study.images_changed.emit()
        self._show()
        if error is not None:
            tell(error)
