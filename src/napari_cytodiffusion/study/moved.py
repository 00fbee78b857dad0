"""Images of the study whose files were moved, found again by their checksums."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.image.formats import named
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import plain_note, tell
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.filling import find_body
from napari_cytodiffusion.workers import Job


class FindMoved(QWidget):
    """A button that looks for moved images in a folder, and what was found."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._study = CurrentStudy.of(session)
        self._job: Job | None = None
        self.button = QPushButton("Find moved images in a folder ...", self)
        self.button.setToolTip("Images are known again by their content, whatever they are called.")
        self.said = plain_note("", self)
        self.said.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.said)
        self.button.clicked.connect(self._on_click)
        self._study.closed.connect(self.said.hide)

    def _on_click(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Where the images may be", str(Path.home()))
        if chosen:
            self.look(Path(chosen))

    def look(self, place: Path) -> None:
        """Look through a folder and all folders in it."""
        folder = self._study.folder
        if folder is None or self._job is not None:
            return
        job = self._job = Job(find_body(folder, place), self)
        # bound methods and no closures, which would keep this alive
        job.yielded.connect(self._on_found)
        job.failed.connect(tell)
        job.ended.connect(self._on_ended)
        self.button.setEnabled(False)
        self._say(f"Looking through {place.name} ...")
        job.start()

    def _on_found(self, names: tuple[str, ...]) -> None:
        self._say(f"Found again: {named(names)}." if names else "No moved image was found there.")
        if names:
            self._study.images_changed.emit()

    def _on_ended(self, outcome: str) -> None:
        self._job = None
        self.button.setEnabled(True)
        if outcome != "done":
            self.said.hide()

    def _say(self, text: str) -> None:
        self.said.setText(text)
        self.said.show()
