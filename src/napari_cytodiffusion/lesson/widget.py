"""*Lesson*: learn to tell blood cells apart. Make a lesson, play it, see what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.utils import notifications

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.lessons import (
    LearnerSession,
    Lesson,
    LessonAnswers,
    LessonSettings,
    answers_beside,
    open_lesson,
)
from cytodiffusion.lessons.session import Reveal
from napari_cytodiffusion.lesson import jobs as words
from napari_cytodiffusion.lesson.form import KINDS
from napari_cytodiffusion.lesson.play import PlayPage
from napari_cytodiffusion.lesson.result import ResultPage
from napari_cytodiffusion.lesson.start import StartPage
from napari_cytodiffusion.remembered import remember_file
from napari_cytodiffusion.shared.common import tell
from napari_cytodiffusion.shared.sitting_dock import SittingDock, close_all
from napari_cytodiffusion.shared.sitting_start import Sitting
from napari_cytodiffusion.workers import Body


class LessonWidget(SittingDock):
    """Dock widget *Lesson*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    what, kinds, recent = "lesson", KINDS, "lessons/recent"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.lesson: Lesson | None = None
        self.sitting: LearnerSession | None = None
        self.start_page = StartPage(self.pages)
        self.play_page = PlayPage(self.pages)
        self.result_page = ResultPage(self.pages)
        self._add_pages(self.start_page, self.play_page, self.result_page)
        self.start_page.export.connect(self._on_export)
        self.play_page.left.connect(self.leave)
        self.play_page.finished.connect(self._on_finished)
        self.result_page.back.connect(self.leave)
        self.result_page.look.connect(self._on_look)

    # -- making and opening -------------------------------------------------------------------

    def make_body(self, settings: LessonSettings) -> Body:
        """Return the body of a `Job` that makes a lesson and yields its path."""
        return words.make_body(words.NewLesson(settings, self._session.engine))

    def tell_maker(self) -> None:
        """Say what was noticed of a lesson that was just made."""
        if self.lesson is not None:
            self.start_page.show_remarks(self.lesson.content.made.get("notes", []))

    def open(self, path: str | Path) -> None:
        """Open a lesson."""
        try:
            lesson = open_lesson(path)
        except CytoDiffusionError as error:
            tell(error)
            return
        self._close_answers()
        self.lesson = lesson
        remember_file(self.recent, lesson.path)
        self.start_page.show_remarks(())
        self._show_start()

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
            answers = self.keeper["answers"] = LessonAnswers(self.lesson)
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
        close_all(self.keeper)

    def _on_finished(self) -> None:
        if self.sitting is not None:
            self.result_page.show_session(self.sitting)
            self.pages.setCurrentIndex(2)

    def _on_look(self, told: Reveal) -> None:
        if self.sitting is not None:
            self.pages.setCurrentIndex(1)
            self.play_page.look_at(self.sitting, told)

    # -- results ------------------------------------------------------------------------------

    def export(self, folder: Path) -> None:
        """Write what came of the lesson to a folder."""
        if self.lesson is not None:
            body = words.export_body(self._session.engine, self.lesson, folder)
            self._run(body, lambda said: notifications.show_info(f"{said} Saved in {folder}."))


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
