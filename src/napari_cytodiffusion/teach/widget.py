"""*Teach*: a new version of the model from the classes that people gave the cells of a study."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, QTimer
from qtpy.QtWidgets import QPushButton, QSizePolicy, QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError, InputError
from cytodiffusion.teaching.settings import TeachSettings
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import Pace, RunBar, ask, note, tell
from napari_cytodiffusion.shared.defaults import default, defaults
from napari_cytodiffusion.shared.fold import RestArea
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.shared.table import FigureTable
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.filling import analysis_request, classify_body
from napari_cytodiffusion.teach import jobs, texts
from napari_cytodiffusion.teach.curve import TRAINING, AccuracyCurve
from napari_cytodiffusion.teach.versions import VersionList, fit_rows
from napari_cytodiffusion.workers import Job

if TYPE_CHECKING:
    from cytodiffusion.teaching import Version
    from napari_cytodiffusion.teach.jobs import Overview

_EMPTY = (
    "A model learns here from the classes that you gave the cells of a study. Open a study in the "
    "dock Study first."
)

#: Rows of the form, which is folded away: nobody has to turn anything.
_ROWS = ("held_back", "steps", "rehearsal", "rehearsed", "seed", "device")

_DRAWN = "drawn by the model"

#: Milliseconds of quiet after which the labels are counted anew.
_QUIET_MS = 400
#: Milliseconds between two looks at the log of a thorough training.
_LOG_MS = 3000

_FAST_TIP = (
    "In a minute: the network stays as it is, and a head on its features learns the labels. It may "
    "learn new classes, and is held to what it knew of the others."
)
_DEEP_TIP = (
    "In hours, while you go on working: all weights are trained. What was trained is kept when it "
    "is stopped, and goes on from there while labels and settings are the same."
)


class TeachWidget(QWidget):
    """Dock widget *Teach*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self._current = CurrentStudy.of(self._session)
        self.overview: Overview | None = None
        self._jobs: list[Job] = []
        self._looking: Job | None = None
        self._deep: Job | None = None
        self._again = False
        self._wanted: int | None = None
        self._pace = Pace()
        self._failed: list[str] = []
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(_QUIET_MS)
        self._quiet.timeout.connect(self.look)
        self._log = QTimer(self)
        self._log.setInterval(_LOG_MS)
        self._log.timeout.connect(self._read_log)
        self._build()
        for signal in (self._current.opened, self._current.closed):
            signal.connect(self._on_study)
        for signal in (
            self._current.annotated,
            self._current.classes_changed,
            self._current.images_changed,
        ):
            signal.connect(self._look_soon)
        self._on_study()

    # -- layout -------------------------------------------------------------------------------

    def _build(self) -> None:
        self.hint = note(_EMPTY, self)
        self.study_button = QPushButton("Study ...", self)
        self.study_button.setToolTip("Open the dock Study")
        self.inside = QWidget(self)
        self.labels_line = note("", self.inside)
        self.table = FigureTable(True, self.inside)
        self.remarks = note("", self.inside)
        self.form = SettingsForm(
            TeachSettings,
            _ROWS,
            words={"held_back": {"percent": True, "step": 0.05}, "rehearsal": {"hint": _DRAWN}},
            start=defaults("classification", "device"),
            more=_ROWS,
        )
        self.fast_bar = RunBar("Teach", self.inside)
        self.fast_bar.set_text("Teach", _FAST_TIP)
        self.fast_bar.follow(self._session)
        self.deep_bar = RunBar("Teach thoroughly", self.inside)
        self.deep_bar.set_text("Teach thoroughly", _DEEP_TIP)
        self.curve = AccuracyCurve(TRAINING, self.inside)
        self.versions = VersionList(self.inside)
        inner = QVBoxLayout(self.inside)
        inner.setContentsMargins(0, 0, 4, 0)
        for part in (
            self.labels_line,
            self.table,
            self.remarks,
            self.form.native,
            self.fast_bar,
            self.deep_bar,
            self.curve,
            self.versions,
        ):
            inner.addWidget(part)
        inner.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addWidget(self.hint)
        layout.addWidget(self.study_button)
        self.area = RestArea(self.inside, self)
        layout.addWidget(self.area, 1)
        layout.addStretch(0)
        self.study_button.clicked.connect(lambda: self._session.open_dock("Study"))
        self.fast_bar.run.connect(partial(self.teach, False))
        self.fast_bar.cancel.connect(self._session.cancel)
        self.deep_bar.run.connect(partial(self.teach, True))
        self.deep_bar.cancel.connect(self._cancel_deep)
        self.versions.used.connect(self.use)
        self.versions.discarded.connect(self.discard)
        self.versions.chosen.connect(self._draw)
        self.form.changed.connect(self._look_soon)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Wide enough to read the tables."""
        return QSize(400, 640)

    # -- what there is to learn from ----------------------------------------------------------

    @property
    def source(self) -> str:
        """Model that a new version starts from: the one in use."""
        used = None if self.overview is None else self.overview.used
        return _original() if used is None else str(used.folder)

    def settings(self, deep: bool) -> TeachSettings:
        """Return what the form says."""
        found: TeachSettings = self.form.settings(deep=deep)
        return found

    def _on_study(self) -> None:
        """Show the study that is open now, or that there is none."""
        opened = self._current.study is not None
        self.hint.setVisible(not opened)
        self.study_button.setVisible(not opened)
        self.area.setVisible(opened)
        self._wanted = None
        self.overview = None
        if opened:
            self.look()

    def _look_soon(self, _: object = None) -> None:
        """Count anew once nothing more is said for a moment."""
        self._quiet.start()

    def look(self) -> None:
        """Count labels and versions anew, in a thread."""
        folder = self._current.folder
        if folder is None:
            return
        if self._looking is not None:
            self._again = True
            return
        try:
            settings = self.settings(False)
        except InputError as error:
            self.remarks.setText(str(error))
            return
        body = jobs.look_body(self._session.engine, folder, _original(), settings)
        job = self._looking = Job(body, self)
        job.yielded.connect(self._show)
        job.failed.connect(self._on_trouble)
        job.ended.connect(self._on_looked)
        job.start()

    def _start(self, job: Job) -> None:
        self._jobs = [j for j in self._jobs if j.is_running] + [job]
        job.start()

    def _on_looked(self, _: str) -> None:
        self._looking = None
        if self._again:
            self._again = False
            self.look()

    def _on_trouble(self, error: CytoDiffusionError) -> None:
        self.remarks.setText(str(error))
        self.remarks.show()

    def _show(self, overview: Overview) -> None:
        if self._current.study is None:
            return
        self.overview = overview
        self.labels_line.setText(texts.labels_line(overview))
        colors = {one.name: one.color for one in overview.classes if one.color}
        self.table.set_table(texts.labels_table(overview), colors, text_columns=2)
        self.table.setVisible(bool(overview.classes))
        fit_rows(self.table)
        remarks = overview.problem or "\n".join(overview.notes)
        self.remarks.setText(remarks)
        self.remarks.setVisible(bool(remarks) and bool(overview.classes))
        can = self._current.writable and not overview.problem
        self.fast_bar.offer(can)
        self.deep_bar.offer(can and self._deep is None)
        self.versions.set_versions(overview.versions, self._wanted)
        self._wanted = None

    # -- teaching -----------------------------------------------------------------------------

    def teach(self, deep: bool) -> None:
        """Make a new version: fast, or thoroughly in the background."""
        folder = self._current.folder
        if folder is None:
            return
        try:
            settings = self.settings(deep)
        except InputError as error:
            (self.deep_bar if deep else self.fast_bar).line.setText(str(error))
            return
        body = jobs.teach_body(self._session.engine, folder, self.source, settings)
        if deep:
            self._teach_deep(body)
            return
        job = self._session.start(
            body,
            owner=self,
            on_progress=self.fast_bar.advance,
            on_item=self._on_taught,
            on_end=self._on_end,
        )
        if job is not None:
            self._pace = Pace()
            self.fast_bar.begin("Starting ...")

    def _on_taught(self, version: Version) -> None:
        self._wanted = version.number
        self.look()

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        if outcome == "done":
            self.fast_bar.end(f"Taught in {self._pace.seconds:.0f} s.")
        elif outcome == "cancelled":
            self.fast_bar.end("Cancelled; no version was made.")
        else:
            self.fast_bar.end("Stopped by an error." if error is None else str(error))

    def _teach_deep(self, body: Any) -> None:
        """Train in the background: the session stays free for other work."""
        job = self._deep = Job(body, self)
        job.progressed.connect(self.deep_bar.advance)
        job.yielded.connect(self._on_taught)
        job.failed.connect(self._on_deep_failed)
        job.ended.connect(self._on_deep_end)
        self.destroyed.connect(job.abandon)
        self.deep_bar.begin("Starting ...")
        job.start()
        self._log.start()

    def _cancel_deep(self) -> None:
        if self._deep is not None:
            self._deep.cancel()

    def _on_deep_failed(self, error: CytoDiffusionError) -> None:
        self.deep_bar.end(str(error))
        tell(error)

    def _on_deep_end(self, outcome: str) -> None:
        self._read_log()
        self._log.stop()
        self._deep = None
        if outcome == "done":
            self.deep_bar.end("Taught thoroughly.")
        elif outcome == "cancelled":
            self.deep_bar.end("Stopped; what was trained is kept, and goes on from there.")
        self._quiet.start()

    def _read_log(self) -> None:
        """Show how far the thorough training is."""
        study = self._current.study
        rows = [] if study is None else jobs.training_log(study)
        if rows:
            self.curve.set_rows(rows)

    # -- versions -----------------------------------------------------------------------------

    def _draw(self, version: Version | None) -> None:
        """Show the plots of a version."""
        if version is None:
            self.versions.set_plots(None, ())
            return
        job = Job(jobs.plots_body(version), self)
        job.yielded.connect(partial(self.versions.set_plots, version))
        job.failed.connect(tell)
        self._start(job)

    def use(self, version: Version | None) -> None:
        """Let the study go on with a version, None being the model before all of them."""
        folder = self._current.folder
        if folder is None:
            return
        number = None if version is None else version.number
        job = Job(jobs.keep_body(folder, number), self)
        job.yielded.connect(partial(self._on_used, version))
        job.failed.connect(tell)
        self._wanted = number
        self._start(job)

    def _on_used(self, version: Version | None, _: object) -> None:
        self._quiet.start()
        study = self._current.study
        cells = 0 if study is None else len(study.effective())
        question = (
            f"Classify the {cells:,} cells of the study anew with "
            f"{texts.version_name(version).lower()}?\n\nWhat people said of them stays."
        )
        if cells and ask(self, "Classify the study anew", question):
            self.classify(version)

    def classify(self, version: Version | None) -> None:
        """Classify all cells of the study with a version."""
        folder = self._current.folder
        if folder is None:
            return
        source = _original() if version is None else str(version.folder)
        try:
            request = dataclasses.replace(analysis_request(self._session), source=source)
        except InputError as error:
            tell(error)
            return
        self._failed = []
        job = self._session.start(
            classify_body(self._session.engine, folder, request),
            owner=self,
            on_progress=self.fast_bar.advance,
            on_item=self._on_classified,
            on_end=self._on_classify_end,
        )
        if job is not None:
            self._pace = Pace()
            self.fast_bar.begin("Starting ...")

    def _on_classified(self, item: Any) -> None:
        error = getattr(item, "error", None)
        if error is not None:
            self._failed.append(f"{item.path.name}: {error}")

    def _on_classify_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        words = {
            "done": f"Classified anew in {self._pace.seconds:.0f} s.",
            "cancelled": "Stopped; images that were done keep their new classes.",
        }
        said = words.get(outcome, str(error or "Stopped by an error."))
        self.fast_bar.end("\n".join([said, *self._failed]))
        self._current.predictions_changed.emit()

    def discard(self, version: Version) -> None:
        """Delete a version, after asking."""
        folder = self._current.folder
        question = f"Delete {texts.version_name(version).lower()} of the model for good?"
        if version.kept:
            question += "\n\nIt is in use: the study goes on with the original model."
        if folder is None or not ask(self, "Discard a version", question):
            return
        job = Job(jobs.discard_body(folder, version.number), self)
        job.yielded.connect(self._look_soon)
        job.failed.connect(tell)
        self._start(job)


def _original() -> str:
    """Return the model before all versions: the one that is classified with by default."""
    return str(default("classification", "model"))
