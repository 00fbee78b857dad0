"""*Lesson*: learn to tell blood cells apart. Make a lesson, play it, see what came of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.utils import notifications
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QFileDialog, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded
from cytodiffusion.lessons import (
    LearnerSession,
    Lesson,
    LessonAnswers,
    LessonSettings,
    answers_beside,
    open_lesson,
)
from cytodiffusion.lessons.session import Reveal
from cytodiffusion.lessons.settings import SUFFIX
from napari_cytodiffusion.lesson import jobs as words
from napari_cytodiffusion.lesson.play import PlayPage
from napari_cytodiffusion.lesson.result import ResultPage
from napari_cytodiffusion.lesson.start import Sitting, StartPage
from napari_cytodiffusion.remembered import recent_files, remember_file
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import Pace, TallArea, ask, tell
from napari_cytodiffusion.workers import Body

#: What is remembered of the lessons that were opened before.
_RECENT = "lessons/recent"

_KINDS = f"Lesson (*{SUFFIX})"


class LessonWidget(QWidget):
    """Dock widget *Lesson*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self.lesson: Lesson | None = None
        self.sitting: LearnerSession | None = None
        self._asked: LessonSettings | None = None
        self._pace = Pace()
        self.pages = QStackedWidget(self)
        self.start_page = StartPage(self.pages)
        self.start_page.form.run_bar.follow(self._session)
        self.play_page = PlayPage(self.pages)
        self.result_page = ResultPage(self.pages)
        self.pages.addWidget(TallArea(self.start_page, self.pages))
        self.pages.addWidget(self.play_page)
        self.pages.addWidget(self.result_page)
        # else napari leaves the lower half of the dock empty
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(self)
        layout.addWidget(self.pages)
        # the connection to the file must not outlive the dock
        self._keeper: dict[str, LessonAnswers] = {}
        self.destroyed.connect(partial(_close_all, self._keeper))
        self._connect()

    def _connect(self) -> None:
        start, play, result = self.start_page, self.play_page, self.result_page
        start.browse.connect(self._on_browse)
        start.recent.aboutToShow.connect(self._offer_recent)
        start.form.asked.connect(self.make)
        start.form.cancelled.connect(self._session.cancel)
        start.begin.connect(self.begin)
        start.export.connect(self._on_export)
        play.left.connect(self.leave)
        play.finished.connect(self._on_finished)
        result.back.connect(self.leave)
        result.look.connect(self._on_look)

    def sizeHint(self) -> QSize:
        """Wide enough for a cell and for a table."""
        return QSize(460, 760)

    # -- making and opening -------------------------------------------------------------------

    def make(self, settings: LessonSettings) -> None:
        """Make a lesson, and open it."""
        job = self._session.start(
            words.make_body(words.NewLesson(settings, self._session.engine)),
            owner=self,
            on_progress=self.start_page.form.run_bar.advance,
            on_item=self.open,
            on_end=self._on_made,
        )
        if job is not None:
            self._asked, self._pace = settings, Pace()
            self.start_page.form.run_bar.begin("Starting ...")

    def _on_made(self, outcome: str, error: CytoDiffusionError | None) -> None:
        bar, asked = self.start_page.form.run_bar, self._asked
        if outcome == "done":
            bar.end(f"Made in {self._pace.seconds:.0f} s.")
            if self.lesson is not None:
                self.start_page.show_remarks(self.lesson.content.made.get("notes", []))
            return
        bar.end("Cancelled; no lesson was written." if outcome == "cancelled" else "Not made.")
        if isinstance(error, DownloadNeeded) and asked is not None and not asked.allow_download:
            if ask(self, "Download a model", f"{error}\n\nDownload it now?"):
                self.make(asked.model_copy(update={"allow_download": True}))
        elif error is not None:
            bar.end(str(error))
            tell(error)

    def open(self, path: str | Path) -> None:
        """Open a lesson."""
        try:
            lesson = open_lesson(path)
        except CytoDiffusionError as error:
            tell(error)
            return
        self._close_answers()
        self.lesson = lesson
        remember_file(_RECENT, lesson.path)
        self.start_page.show_remarks(())
        self._show_start()

    def _offer_recent(self) -> None:
        nothing = "no lesson was opened yet"
        self.start_page.open_button.offer_recent(recent_files(_RECENT), self.open, nothing)

    def _on_browse(self) -> None:
        found, _ = QFileDialog.getOpenFileName(self, "Lesson", "", _KINDS)
        if found:
            self.open(found)

    def _show_start(self) -> None:
        if self.lesson is not None:
            sittings: list[Sitting] = []
            try:
                sittings = _sittings(self.lesson)
            except CytoDiffusionError as error:
                tell(error)
            lesson = self.lesson
            self.start_page.show_lesson(words.headline(lesson), words.about(lesson), sittings)
        self.pages.setCurrentIndex(0)

    # -- playing ------------------------------------------------------------------------------

    def begin(self, name: str, mode: str) -> None:
        """Begin a lesson, or go on with it."""
        if self.lesson is None:
            return
        self._close_answers()
        try:
            answers = self._keeper["answers"] = LessonAnswers(self.lesson)
            self.sitting = LearnerSession(answers, name, mode)
        except CytoDiffusionError as error:
            self._close_answers()
            tell(error)
            return
        self.start_page.show_remarks(())
        self.pages.setCurrentIndex(1)
        self.play_page.begin(self.sitting)

    def leave(self) -> None:
        """Go back to the first page; every answer is in the file."""
        self._close_answers()
        self._show_start()

    def _close_answers(self) -> None:
        self.play_page.end()
        self.sitting = None
        _close_all(self._keeper)

    def _on_finished(self) -> None:
        if self.sitting is not None:
            self.result_page.show_session(self.sitting)
            self.pages.setCurrentIndex(2)

    def _on_look(self, told: Reveal) -> None:
        if self.sitting is not None:
            self.pages.setCurrentIndex(1)
            self.play_page.look_at(self.sitting, told)

    # -- results ------------------------------------------------------------------------------

    def _on_export(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.export(Path(folder))

    def export(self, folder: Path) -> None:
        """Write what came of the lesson to a folder."""
        if self.lesson is not None:
            body = words.export_body(self._session.engine, self.lesson, folder)
            self._run(body, lambda said: notifications.show_info(f"{said} Saved in {folder}."))

    def _run(self, body: Body, on_item: Callable[[Any], None]) -> None:
        self._session.start(
            body,
            owner=self,
            on_progress=lambda share, text: None,
            on_item=on_item,
            on_end=self._on_end,
        )

    def _on_end(self, _: str, error: CytoDiffusionError | None) -> None:
        if error is not None:
            tell(error)


def _sittings(lesson: Lesson) -> list[Sitting]:
    """Return who has begun a lesson, and how far they are."""
    if not answers_beside(lesson.path).is_file():
        return []
    with LessonAnswers(lesson, writable=False) as answers:
        return [
            Sitting(
                one.participant,
                one.mode,
                one.started,
                len(lesson) - len(answers.left(one)),
                len(lesson),
            )
            for one in answers.sittings()
        ]


def _close_all(keeper: dict[str, LessonAnswers], *_: Any) -> None:
    """Close the files that are open."""
    for answers in keeper.values():
        answers.close()
    keeper.clear()
