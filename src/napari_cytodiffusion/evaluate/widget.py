"""*Report*: an evaluation in the window, opened from its folder or made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils import notifications
from qtpy.QtCore import QSettings, QSize, Qt, QUrl
from qtpy.QtGui import QDesktopServices, QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded, InputError
from napari_cytodiffusion.evaluate import jobs
from napari_cytodiffusion.evaluate.form import EvaluateForm
from napari_cytodiffusion.evaluate.pages import ReportPage
from napari_cytodiffusion.layers.placement import NOTE, note_of
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import OpenButton, Pace, ask, note, tell
from napari_cytodiffusion.workers import Job

if TYPE_CHECKING:
    from cytodiffusion.evaluation.settings import EvaluateSettings
    from cytodiffusion.evaluation.stored import StoredReport

#: How many reports are remembered.
_RECENT = 8

_EMPTY = "Open the folder of a report, drop it here, or evaluate a model on labelled cells."


class ReportWidget(QWidget):
    """Dock widget *Report*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self.report: StoredReport | None = None
        self._request: EvaluateSettings | None = None
        self._pace = Pace()
        self._jobs: list[Job] = []
        self.setAcceptDrops(True)
        self._build()

    # -- layout -------------------------------------------------------------------------------

    def _build(self) -> None:
        tip = "Folder or metrics.json of a report; the arrow: recent ones"
        self.open_button = OpenButton("Open report ...", tip, self)
        self.recent = self.open_button.recent
        self.evaluate_button = QPushButton("Evaluate ...", self)
        self.evaluate_button.setCheckable(True)
        self.evaluate_button.setToolTip("Measure a model on labelled cells")
        buttons = QHBoxLayout()
        buttons.addWidget(self.open_button, 2)
        buttons.addWidget(self.evaluate_button, 1)
        self.title = QLabel("", self)
        self.title.setWordWrap(True)
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hint = note(_EMPTY, self)
        self.form = EvaluateForm(self)
        self.form.run_bar.follow(self._session)
        self.form.hide()
        self.problem = note("", self)
        self.problem.hide()
        self.page = ReportPage(self)
        self.page.hide()
        layout = QVBoxLayout(self)
        layout.addLayout(buttons)
        layout.addWidget(self.problem)
        layout.addWidget(self.form, 1)
        layout.addWidget(self.title)
        layout.addWidget(self.hint)
        layout.addWidget(self.page, 1)
        layout.addStretch(0)
        self.open_button.clicked.connect(self._on_browse)
        self.recent.aboutToShow.connect(self._fill_recent)
        self.page.page_asked.connect(self._open_page)
        self.evaluate_button.toggled.connect(self._on_form)
        self.form.asked.connect(self._evaluate)
        self.form.cancelled.connect(self._session.cancel)
        self.page.cell_asked.connect(self.open_image)
        # else napari fills what it takes for spare room, more of it with each dock opened before
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Wide enough to read the plots."""
        return QSize(440, 700)

    def minimumSizeHint(self) -> QSize:
        """Wide enough for the form, whose buttons would be cut off, and for the plots."""
        return super().minimumSizeHint().expandedTo(QSize(340, 0))

    # -- opening ------------------------------------------------------------------------------

    def open(self, path: str | Path) -> None:
        """Open a report: its folder, its ``metrics.json`` or its ``report.html``."""
        job = Job(jobs.read_body(self._session.engine, Path(path)), self)
        job.yielded.connect(self.show_report)
        job.failed.connect(self._fail)
        self._start(job)

    def _fail(self, error: CytoDiffusionError) -> None:
        """Say what went wrong, here and where one looks; what was shown stays."""
        self.problem.setText(str(error))
        self.problem.show()
        tell(error)

    def _start(self, job: Job) -> None:
        self._jobs = [j for j in self._jobs if j.is_running] + [job]
        job.start()

    def show_report(self, report: StoredReport) -> None:
        """Show a report."""
        try:
            self.page.set_report(report)
            title = report.title
        except (KeyError, TypeError, ValueError, AttributeError):
            self._fail(
                InputError(
                    f"The figures in {report.folder} are not those of a report of this version: "
                    "open its report.html in a browser, or evaluate again."
                )
            )
            return
        self.report = report
        self.problem.hide()
        self.title.setText(title)
        self.title.setToolTip(str(report.folder))
        self.hint.hide()
        self.page.show()
        self.evaluate_button.setChecked(False)
        self._remember(report.folder)

    def _on_browse(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Folder of a report")
        if found:
            self.open(found)

    def _open_page(self) -> None:
        if self.report is None or self.report.page is None:
            return
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.report.page.resolve()))):
            notifications.show_warning(f"No browser could be started; open {self.report.page}.")

    def open_image(self, path: str) -> None:
        """Open the image of a cell as a layer, or go to it where it is open already."""
        viewer = self._session.viewer
        if viewer is None:
            return
        for layer in viewer.layers:
            if note_of(layer).get("path") == path:
                viewer.layers.selection.active = layer
                return
        job = Job(jobs.image_body(Path(path)), self)
        job.yielded.connect(lambda pixels: self._add_image(path, pixels))
        job.failed.connect(tell)
        self._start(job)

    def _add_image(self, path: str, pixels: Any) -> None:
        viewer = self._session.viewer
        if viewer is not None:
            viewer.add_image(
                pixels, name=Path(path).stem, rgb=True, metadata={NOTE: {"path": path}}
            )
            viewer.fit_to_view()

    # -- recent and dropped -------------------------------------------------------------------

    def _settings(self) -> QSettings:
        return QSettings("cytodiffusion", "napari-cytodiffusion")

    def recent_reports(self) -> list[str]:
        """Return the folders of reports that were opened before and are still there."""
        value = self._settings().value("reports/recent", [])
        folders = [value] if isinstance(value, str) else list(value or [])
        return [folder for folder in folders if (Path(folder) / "metrics.json").is_file()]

    def _remember(self, folder: Path) -> None:
        path = str(folder.resolve())
        others = [f for f in self.recent_reports() if f != path]
        self._settings().setValue("reports/recent", [path, *others][:_RECENT])

    def _fill_recent(self) -> None:
        self.recent.clear()
        for folder in self.recent_reports():
            action = self.recent.addAction(folder)
            action.triggered.connect(lambda _=False, path=folder: self.open(path))
        if self.recent.isEmpty():
            self.recent.addAction("no report was opened yet").setEnabled(False)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take folders and files."""
        if event is not None and event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Open what was dropped."""
        urls = event.mimeData().urls() if event is not None else []
        if event is not None and urls and urls[0].isLocalFile():
            event.acceptProposedAction()
            self.open(urls[0].toLocalFile())

    # -- evaluating ---------------------------------------------------------------------------

    def _on_form(self, shown: bool) -> None:
        self.form.setVisible(shown)
        self.page.setVisible(not shown and self.report is not None)
        self.hint.setVisible(not shown and self.report is None)
        self.title.setVisible(not shown)

    def _evaluate(self, settings: EvaluateSettings) -> None:
        job = self._session.start(
            jobs.evaluate_body(self._session.engine, settings),
            owner=self,
            on_progress=self.form.run_bar.advance,
            on_item=self.show_report,
            on_end=self._on_end,
        )
        if job is not None:
            self._request, self._pace = settings, Pace()
            self.form.run_bar.begin("Starting ...")

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        if outcome == "done":
            self.form.run_bar.end(f"Evaluated in {self._pace.seconds:.0f} s.")
            return
        request = self._request
        if outcome == "cancelled":
            kept = (
                " What was trained is kept." if request is not None and jobs.trains(request) else ""
            )
            self.form.run_bar.end(f"Cancelled; no report was written.{kept}")
            return
        sentence = "Stopped by an error." if error is None else jobs.in_window(str(error))
        self.form.run_bar.end(sentence)
        if isinstance(error, DownloadNeeded) and request is not None and not request.allow_download:
            if ask(self, "Download a model", f"{error}\n\nDownload it now?"):
                self._evaluate(request.model_copy(update={"allow_download": True}))
        elif error is not None:
            tell(error)
