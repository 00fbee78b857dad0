"""Images into the open study: chosen, then segmented and classified one after the other."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded, InputError, OutOfMemoryError
from cytodiffusion.image.formats import HEIF_SUFFIXES, IMAGE_SUFFIXES, has_heif, named
from cytodiffusion.settings import SegmentOptions
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import RunBar, ask, plain_note, tell
from napari_cytodiffusion.shared.fold import FoldButton
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.filling import (
    AnalysisRequest,
    Body,
    add_body,
    analysis_request,
    classify_body,
)

if TYPE_CHECKING:
    from cytodiffusion.study.add import Added, Failed

#: Failures that are shown at most; all of them stand in the tooltip.
_SHOWN = 4

#: What becomes of images, in the order in which it is told.
_WORDS = {
    "added": "added",
    "classified": "classified again",
    "there": "there already",
    "failed": "failed",
}


class AddImages(QWidget):
    """Takes images and folders, and adds them to the open study in a queue.

    An image that is in the study is left as it is; one that fails is named, and the others go on.
    """

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session, self._study = session, CurrentStudy.of(session)
        self._owner = parent  # what is docked: the run ends with it
        self._running = False
        self._waiting: list[Path] = []
        self._request: AnalysisRequest | None = None
        self._again = False
        self._first: str | None = None  # image that was added first
        self._counts: Counter[str] = Counter()
        self._failures: dict[str, list[str]] = {}  # sentences, with the images that they are about
        self._warnings: dict[str, list[str]] = {}
        self._build()
        for signal in (self._study.opened, self._study.closed, self._study.images_changed):
            signal.connect(self._show)
        session.busy_changed.connect(self._show)
        self._show()

    def _build(self) -> None:
        self.images_button = QPushButton("Add images ...", self)
        self.folder_button = QPushButton("Add folder ...", self)
        self.images_button.setToolTip("Choose image files; they stay where they are.")
        self.folder_button.setToolTip("Choose a folder; all images in it are taken.")
        self.waiting = plain_note("", self)
        self.clear_button = QPushButton("None of them", self)
        self.clear_button.setToolTip("Take back what was chosen")
        self.form = SettingsForm(
            SegmentOptions,
            ("pixel_size_um", "one_scale"),
            words={"pixel_size_um": {"none": "file or red cells"}},
            more=("pixel_size_um", "one_scale"),
        )
        self.single = QCheckBox("Each image shows one cell", self)
        self.single.setToolTip("Images of one cell each, with the cell in or near the centre.")
        self.settings_line = plain_note("", self)
        self.settings_line.setToolTip(
            "As set in Segment cells and Classify cells where these are open, else in the "
            "preferences."
        )
        self.run_bar = RunBar("Segment and classify", self)
        self.run_bar.follow(self._session)
        self.again_button = QPushButton("Classify all again", self)
        self.again_button.setToolTip(
            "Classify the cells of all images with the model and the settings of Classify cells. "
            "What another model said is kept; so is all that people said."
        )
        self.failed = plain_note("", self)
        self.fold = FoldButton("To read", self)
        self.warnings = plain_note("", self)
        self.fold.toggled.connect(self._show_said)
        row = QHBoxLayout()
        row.addWidget(self.images_button)
        row.addWidget(self.folder_button)
        chosen = QHBoxLayout()
        chosen.addWidget(self.waiting, 1)
        chosen.addWidget(self.clear_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addLayout(chosen)
        layout.addWidget(self.single)
        layout.addWidget(self.form.native)
        layout.addWidget(self.settings_line)
        layout.addWidget(self.run_bar)
        for part in (self.failed, self.fold, self.warnings):
            layout.addWidget(part)
        layout.addWidget(self.again_button)
        self.images_button.clicked.connect(self._on_images)
        self.folder_button.clicked.connect(self._on_folder)
        self.clear_button.clicked.connect(self._on_clear)
        self.again_button.clicked.connect(self.classify_again)
        self.run_bar.run.connect(self.start)
        self.run_bar.cancel.connect(self._session.cancel)

    # -- what is to be added ------------------------------------------------------------------

    def _on_images(self) -> None:
        suffixes = IMAGE_SUFFIXES | (HEIF_SUFFIXES if has_heif() else frozenset())
        kinds = " ".join(f"*{suffix}" for suffix in sorted(suffixes))
        chosen, _ = QFileDialog.getOpenFileNames(
            self, "Add images", self._start_at(), f"Images ({kinds});;All files (*)"
        )
        self.take([Path(path) for path in chosen])

    def _on_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Add all images of a folder", self._start_at()
        )
        self.take([Path(chosen)] if chosen else [])

    def _on_clear(self) -> None:
        self._wait_for(())

    def _start_at(self) -> str:
        """Return where the dialog opens: beside the images that the study has."""
        study = self._study.study
        images = [] if study is None else study.images()
        return str(Path(images[-1].path).parent) if images else str(Path.home())

    def take(self, paths: Sequence[Path]) -> None:
        """Let files and folders wait to be added."""
        self._wait_for([*self._waiting, *(p for p in paths if p not in self._waiting)])

    def _wait_for(self, paths: Sequence[Path]) -> None:
        self._waiting = list(paths)
        self._show()

    def _show(self, _: Any = None) -> None:
        """Offer what can be done now."""
        opened, busy = self._study.writable, self._session.busy
        names = [f"{p.name} (folder)" if p.is_dir() else p.name for p in self._waiting]
        waits = f"{named(names)}: {'waits' if len(names) == 1 else 'wait'} to be added."
        self.waiting.setText(waits if names else "")
        self.waiting.setVisible(bool(names))
        self.clear_button.setVisible(bool(names) and not busy)
        for button in (self.images_button, self.folder_button):
            button.setEnabled(opened)
        for part in (self.single, self.form.native, self.settings_line):
            part.setVisible(bool(names))
        self.run_bar.run_button.setVisible(bool(names))
        self.run_bar.cancel_button.setVisible(bool(names) or self._running)
        self.run_bar.offer(opened and bool(names))
        study = self._study.study
        some = study is not None and bool(study.images())
        self.again_button.setVisible(some)
        self.again_button.setEnabled(opened and not busy)
        self.run_bar.setVisible(bool(names) or self._running or bool(self._counts))
        self._show_said()
        if names:
            self._show_settings()

    def _show_settings(self) -> None:
        try:
            self.settings_line.setText(analysis_request(self._session).words)
        except InputError as error:
            self.settings_line.setText(str(error))

    # -- the queue ----------------------------------------------------------------------------

    def start(self) -> None:
        """Segment and classify the images that wait."""
        self._begin(again=False)

    def classify_again(self) -> None:
        """Classify the cells of all images of the study."""
        self._begin(again=True)

    def _begin(self, *, again: bool, request: AnalysisRequest | None = None) -> None:
        folder = self._study.folder
        if folder is None or not (again or self._waiting):
            return
        try:
            request = request or self._asked()
        except InputError as error:
            tell(error)
            return
        started = self._session.start(
            self._body(folder, request, again),
            owner=self._owner,
            on_progress=self.run_bar.advance,
            on_item=self._on_item,
            on_end=self._on_end,
        )
        if started is not None:
            self._request, self._again, self._running, self._first = request, again, True, None
            self._counts, self._failures, self._warnings = Counter(), {}, {}
            self.run_bar.begin("Starting ...")
            self._show()

    def _asked(self) -> AnalysisRequest:
        """Return model and settings, with the scale that stands here."""
        request = analysis_request(self._session)
        return dataclasses.replace(
            request, options=request.options.model_copy(update=self.form.values())
        )

    def _body(self, folder: Path, request: AnalysisRequest, again: bool) -> Body:
        engine = self._session.engine
        if again:
            return classify_body(engine, folder, request)
        return add_body(engine, folder, tuple(self._waiting), request, self.single.isChecked())

    def _on_item(self, item: Added | Failed | str) -> None:
        if isinstance(item, str):
            self._warnings.setdefault(item, [])
            return
        status = getattr(item, "status", "failed")
        self._counts[status] += 1
        if status == "failed":
            self._failures.setdefault(item.error, []).append(item.path.name)
        else:
            for warning in item.warnings:
                self._warnings.setdefault(warning, []).append(item.image.name)
        if status == "added":
            self._first = self._first or item.image.name
            self._study.images_changed.emit()
        self._show_said()

    def _show_said(self, _: Any = None) -> None:
        """Say what failed; what is to be read besides is folded away."""
        failures, warnings = _lines(self._failures), _lines(self._warnings)
        more = len(failures) - _SHOWN
        shown = failures if more <= 0 else [*failures[:_SHOWN], f"{more:,} more."]
        self.failed.setText("\n".join(shown))
        self.failed.setToolTip("\n".join(failures) if more > 0 else "")
        self.failed.setVisible(bool(failures))
        self.fold.setText(f"To read ({len(warnings):,})")
        self.fold.setVisible(bool(warnings))
        self.warnings.setText("\n".join(warnings))
        self.warnings.setVisible(bool(warnings) and self.fold.isChecked())

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        self._running = False
        self.run_bar.end(self._outcome(outcome))
        if outcome == "done" and not self._again:
            self._waiting = []
        if self._counts:
            self._study.images_changed.emit()
        if self._counts["classified"]:
            self._study.predictions_changed.emit()
        if self._first is not None and not self._study.open_names():
            self._study.open_image(self._first)
        self._show()
        if error is not None:
            self._on_error(error)

    def _outcome(self, outcome: str) -> str:
        """Say what became of the images."""
        counts = [f"{self._counts[s]:,} {word}" for s, word in _WORDS.items() if self._counts[s]]
        done = f"Images: {', '.join(counts)}." if counts else ""
        end = {"failed": "Stopped by an error.", "cancelled": "Cancelled."}.get(outcome, "")
        return " ".join(filter(None, (end, done))) or "There was nothing to do."

    def _on_error(self, error: CytoDiffusionError) -> None:
        request = self._request
        if request is None:
            return
        if isinstance(error, DownloadNeeded) and not request.allow_download:
            if ask(self, "Download a model", f"{error}\n\nDownload it now?"):
                self._begin(
                    again=self._again, request=dataclasses.replace(request, allow_download=True)
                )
            return
        tell(error)
        if isinstance(error, OutOfMemoryError) and request.device != "cpu":
            question = "Go on with the CPU instead? It is slower but has more memory."
            if ask(self, "Out of memory", question):
                self._session.engine.forget_models()
                self._begin(again=self._again, request=dataclasses.replace(request, device="cpu"))


def _lines(said: Mapping[str, Sequence[str]]) -> list[str]:
    """Return sentences, each once, behind the names of the images that it does not name itself."""
    lines = []
    for sentence, names in said.items():
        unsaid = [name for name in dict.fromkeys(names) if name not in sentence]
        lines.append(f"{named(unsaid)}: {sentence}" if unsaid else sentence)
    return lines
